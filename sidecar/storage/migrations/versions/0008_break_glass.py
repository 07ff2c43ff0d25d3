"""Break-glass: who may for some hours do what access policies would deny. Conflicts keep what the upstream shows."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
readable_from = "0005"


def upgrade() -> None:
    op.create_table(
        "break_glass",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("user", sa.String(length=200), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_break_glass_user", "break_glass", ["user"], unique=False)
    op.add_column("outbox", sa.Column("theirs", sa.Text()))
