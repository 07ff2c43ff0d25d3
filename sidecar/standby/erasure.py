"""Erasing what the standby remembers of bodies: answers to calls, the upstream's own words, and settled writes.

What is forgotten is unknown from then on, and honestly answered as such. Records are the upstream's present state, and
are not touched; nor are writes that are not settled.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from sqlalchemy import Engine, delete, select, tuple_, update

from sidecar.standby.literals import literals
from sidecar.standby.outbox.entries import State, outbox
from sidecar.standby.tables import calls, replies

SHORTEST: Final = 2
"""Characters of a body below which it tells nothing: `{}`."""


def forget(engine: Engine, contents: AbstractSet[str], request_ids: AbstractSet[str]) -> int:
    """Forgets replies with these bodies, and what was sent in settled writes of these requests. Returns how many."""
    wanted = {content.encode() for content in contents if len(content) > SHORTEST}
    with engine.begin() as connection:
        forgotten = 0
        for table, name in ((calls, calls.c.input), (replies, replies.c.kind), (literals, literals.c.question)):
            keys = (table.c.endpoint, name)
            rows = connection.execute(select(*keys, table.c.body))
            gone = [tuple(row[:2]) for row in rows if any(bytes(row[2]).startswith(content) for content in wanted)]
            if gone:
                forgotten += connection.execute(delete(table).where(tuple_(*keys).in_(gone))).rowcount
        over = outbox.c.state.in_((State.SETTLED, State.DISCARDED)) & outbox.c.request_id.in_(sorted(request_ids))
        values = {"fields": "{}", "body": None, "base": None, "theirs": None, "proposal": None}
        return forgotten + connection.execute(update(outbox).where(over).values(values)).rowcount
