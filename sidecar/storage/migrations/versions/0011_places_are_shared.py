"""The upstream's places are shared by all nodes: who may use how many."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
readable_from = "0005"


def upgrade() -> None:
    op.create_table(
        "place_leases",
        sa.Column("node", sa.String(length=200), nullable=False),
        sa.Column("granted", sa.Integer(), nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("node"),
    )
