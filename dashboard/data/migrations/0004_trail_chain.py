"""The trail is a chain, signed entry by entry. What is older stays unsigned."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
readable_from = "0004"


def upgrade() -> None:
    for name, length in (("previous", 64), ("hash", 64), ("signer", 64), ("signature", 128)):
        op.add_column("dashboard_trail", sa.Column(name, sa.String(length=length), nullable=True))
