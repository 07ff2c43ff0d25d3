"""${message}"""

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
# The oldest version whose programs go on working, truthfully, with what this leaves. Older ones are refused at a start.
readable_from = ${repr(up_revision)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
