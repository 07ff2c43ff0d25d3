"""What people see of the outbox."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from sqlalchemy import update

from sidecar.http.messages import Request
from sidecar.standby.answer import Answer
from sidecar.standby.outbox import entries as box
from sidecar.standby.outbox.entries import State, outbox
from sidecar.standby.outbox.review import Desk, Tally, Undecidable
from tests.unit.sidecar.standby.outbox.test_replay import CONTRACT, Leader


def test_a_change_behind_a_parked_creation_says_so_and_is_not_about_to_be_settled(tmp_path: Path) -> None:
    leader = Leader(tmp_path)
    desk = Desk(leader.engine, leader.standby.outbox, leader.standby.seal)
    target = f"/notes/{desk.entries()['entries'][0]['provisional_id']}"
    body = b'{"body":"worse"}'
    request = Request("PATCH", target, [("Host", "x"), ("Content-Type", "application/json")], body, host="x")
    write = leader.standby.begin_write(CONTRACT.match("PATCH", target), request, "Dr Holt")
    taken = leader.standby.intents.accept(
        write, request, "r2", request.headers, "Dr Holt", sent=False, answered=False, under_way=False
    )
    assert isinstance(taken, Answer)
    told = desk.entries()
    assert (told["pending"], [entry["reason"] for entry in told["entries"]]) == (2, [None, None])
    with leader.engine.begin() as connection:
        connection.execute(update(outbox).where(outbox.c.action == "create").values(state=State.PARKED))
    told = desk.entries()
    (parked,) = told["parked"]
    change = told["entries"][-1]
    assert (told["pending"], change["reason"]) == (0, f"waits for {parked['id']}, which is parked")
    oldest = min(entry["accepted_at"] for entry in told["entries"])
    assert desk.tally() == Tally(2, 1, oldest)


def test_a_conflict_is_merged_by_who_has_seen_it_as_it_is(tmp_path: Path) -> None:
    leader = Leader(tmp_path)
    desk = Desk(leader.engine, leader.standby.outbox, leader.standby.seal)
    (made,) = desk.entries()["entries"]
    ident, theirs = made["id"], {"id": 7, "title": "Theirs"}
    with pytest.raises(Undecidable, match="only parked entries"):
        desk.merge(ident, "Ms Pell", made["revision"], ["title"])
    with leader.engine.begin() as connection:
        box.change(connection, ident, state=State.PARKED, reason="conflict")
    with pytest.raises(Undecidable, match="is no conflict"):
        desk.merge(ident, "Ms Pell", desk.entry(ident)["revision"], ["title"])
    with leader.engine.begin() as connection:
        box.change(connection, ident, theirs=orjson.dumps(theirs).decode())
    seen = desk.entry(ident)
    assert seen["theirs"] == theirs
    with leader.engine.begin() as connection:
        box.change(connection, ident, theirs=orjson.dumps({**theirs, "title": "Theirs, later"}).decode())
    with pytest.raises(Undecidable, match="has changed since you looked"):
        desk.merge(ident, "Ms Pell", seen["revision"], ["title"])
    merged = desk.merge(ident, "Ms Pell", desk.entry(ident)["revision"], ["title"])
    assert (merged["state"], merged["before"]["title"], merged["theirs"]) == (State.PENDING, "Theirs, later", None)
    with pytest.raises(Undecidable, match="only parked entries"):
        desk.merge(ident, "Ms Pell", merged["revision"], ["title"])
    leader.standby.close()
    leader.engine.dispose()
