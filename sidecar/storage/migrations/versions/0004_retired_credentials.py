"""A person's credentials can be retired up to a moment, and are known to be in use or not."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
readable_from = "0004"


def upgrade() -> None:
    op.add_column("credentials", sa.Column("seen_at", sa.BigInteger(), server_default="0", nullable=False))
    op.create_table(
        "retirements",
        sa.Column("user", sa.String(length=200), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user"),
    )
    op.create_index("ix_retirements_version", "retirements", ["version"])
