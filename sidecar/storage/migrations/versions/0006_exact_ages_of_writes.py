"""A write's age is exact while the machine stays up. The highest ids are counted anew, less those asked for in vain."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
readable_from = "0005"


def upgrade() -> None:
    op.add_column("outbox", sa.Column("accepted_boot", sa.String(40)))
    op.add_column("outbox", sa.Column("accepted_uptime", sa.BigInteger()))
    op.execute("DELETE FROM standby_meta WHERE name LIKE 'highest:%'")
