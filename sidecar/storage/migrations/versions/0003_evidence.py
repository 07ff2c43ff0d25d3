"""Evidence for each derivation, literal replies, and how each record came to be known."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
readable_from = "0003"


def upgrade() -> None:
    op.create_table(
        "evidence",
        sa.Column("endpoint", sa.String(200), nullable=False),
        sa.Column("derivation", sa.String(200), nullable=False),
        sa.Column("agreements", sa.Integer(), nullable=False),
        sa.Column("inputs", sa.Text(), nullable=False),
        sa.Column("told_apart", sa.Text(), nullable=False),
        sa.Column("differences", sa.Integer(), nullable=False),
        sa.Column("difference", sa.Text(), nullable=True),
        sa.Column("refuted", sa.Boolean(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("endpoint", "derivation"),
    )
    op.create_table(
        "literals",
        sa.Column("question", sa.String(64), nullable=False),
        sa.Column("endpoint", sa.String(200), nullable=False),
        sa.Column("selected", sa.String(64), nullable=False),
        sa.Column("vary", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("stamp", sa.BigInteger(), nullable=False),
        sa.Column("observed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("question"),
    )
    op.create_index("ix_literals_endpoint", "literals", ["endpoint"])
    op.create_index("ix_literals_observed", "literals", ["observed"])
    op.add_column("records", sa.Column("source", sa.String(10), server_default="", nullable=False))
    op.add_column("records", sa.Column("caller", sa.String(200), nullable=True))
    op.add_column("collections", sa.Column("caller", sa.String(200), nullable=True))
    op.add_column("collections", sa.Column("digest", sa.String(64), nullable=True))
    op.add_column("collections", sa.Column("listed", sa.Integer(), server_default="0", nullable=False))
