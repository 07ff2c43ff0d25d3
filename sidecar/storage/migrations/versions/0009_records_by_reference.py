"""Records are found by what they refer to, and those in doubt or changed lately without reading all of them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
readable_from = "0005"


def upgrade() -> None:
    op.create_table(
        "record_references",
        sa.Column("type", sa.String(100), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("value", sa.String(100), nullable=False),
        sa.Column("id", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("type", "name", "value", "id"),
    )
    op.create_index("record_references_by_id", "record_references", ["type", "id"])
    op.add_column("records", sa.Column("indexed", sa.BigInteger(), nullable=True))
    where = sa.text("indexed IS NULL OR indexed <> stamp")
    op.create_index("records_unindexed", "records", ["type"], sqlite_where=where, postgresql_where=where)
    op.create_index("records_by_state", "records", ["type", "state"])
    op.create_index("records_by_stamp", "records", ["type", "stamp"])
    op.create_index("outbox_by_action", "outbox", ["type", "action"])
