"""A write's moment is kept by the clock that never goes back, too."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
readable_from = "0005"


def upgrade() -> None:
    op.add_column("outbox", sa.Column("accepted_stamp", sa.BigInteger()))
