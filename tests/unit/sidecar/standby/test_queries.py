"""What requests ask of what is known."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert

from sidecar.standby import queries
from sidecar.standby.numbers import bump
from sidecar.standby.tables import writes
from sidecar.storage.database import open_memory
from tests.support.tables import lay


@pytest.mark.parametrize(
    ("outcome", "ended", "may_have_effect"),
    [
        ("open", None, True),
        ("unknown", None, True),
        ("unknown", 6, True),
        ("unknown", 5, False),
        ("done", 6, False),  # that it was done, the number beside says
    ],
)
def test_a_resource_is_written_after_a_stamp_while_a_write_may_take_effect_yet(
    outcome: str, ended: int | None, may_have_effect: bool
) -> None:
    engine = open_memory()
    lay(engine)
    row: dict[str, Any] = {"id": "w", "type": "notes", "record": "1", "endpoint": "e", "process": "p"}
    with engine.connect() as connection, connection.begin():
        connection.execute(insert(writes).values(**row, accepted_at=0, started=0, ended=ended, outcome=outcome))
        earlier = {**row, "id": "earlier"}
        connection.execute(insert(writes).values(**earlier, accepted_at=0, started=0, ended=1, outcome="unknown"))
        assert queries.written_after(connection, 5) == ({"notes"} if may_have_effect else set())
    engine.dispose()


def test_a_resource_is_written_after_a_stamp_if_its_last_write_ended_later() -> None:
    engine = open_memory()
    lay(engine)
    with engine.connect() as connection, connection.begin():
        for name, stamp in (("wrote:notes", 6), ("wrote:patients", 5), ("touched:staffs", 9)):
            bump(connection, name, stamp)
        assert queries.written_after(connection, 5) == {"notes"}
    engine.dispose()
