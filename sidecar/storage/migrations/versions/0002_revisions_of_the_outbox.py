"""Entries and aliases tell of which revision of the outbox they are; what is there already is older than any."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
readable_from = "0002"


def upgrade() -> None:
    for table in ("aliases", "outbox"):
        op.add_column(table, sa.Column("revision", sa.BigInteger(), server_default="0", nullable=False))
        op.create_index(f"ix_{table}_revision", table, ["revision"])
