"""Nodes are known: each keeps a row of its own, and a write of it proves that the database takes writes."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
readable_from = "0005"


def upgrade() -> None:
    op.create_table(
        "nodes",
        sa.Column("node", sa.String(length=200), nullable=False),
        sa.Column("instance", sa.String(length=40), nullable=False),
        sa.Column("beats", sa.BigInteger(), nullable=False),
        sa.Column("began", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("version", sa.String(length=50), nullable=False),
        sa.Column("contract", sa.String(length=64), nullable=False),
        sa.Column("control", sa.String(length=200), nullable=False),
        sa.Column("skew", sa.BigInteger(), nullable=True),
        sa.Column("unshipped", sa.BigInteger(), nullable=True),
        sa.Column("head", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("node"),
    )
    op.create_table(
        "clocks",
        sa.Column("name", sa.String(length=20), nullable=False),
        sa.Column("bias", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
