"""Alerts know how often they flap and of what they are a part; silences by matchers, also of what is not there yet."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
readable_from = "0003"


def upgrade() -> None:
    op.add_column("alerts", sa.Column("flaps", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("alerts", sa.Column("part_of", sa.String(length=16), nullable=False, server_default=""))
    op.create_table(
        "alert_silences",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("matchers", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
