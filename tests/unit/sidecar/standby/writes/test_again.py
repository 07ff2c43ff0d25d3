"""What failed at the database is tried again, whether it had been committed or not: a write is accepted once, and
answered as it was; what became of one is kept once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, select
from sqlalchemy.exc import OperationalError

from sidecar.clock import stamp
from sidecar.contract import Contract
from sidecar.exchange import Outcome
from sidecar.http.messages import Request, Response
from sidecar.settings import Settings
from sidecar.standby.answer import Answer, DontKnow
from sidecar.standby.outbox.entries import outbox
from sidecar.standby.standby import Standby
from sidecar.standby.tables import KNOWN, records, writes
from sidecar.storage.database import open_engine
from tests.support.tables import lay

HOSP = Contract.load("hosp")
WAYS = {"POST": "/notes", "PATCH": "/notes/1", "DELETE": "/notes/1"}


class World:
    """A standby that knows a note."""

    def __init__(self, data: Path) -> None:
        settings = Settings(
            data=data, seal_key=data / "seal-key", upstream="http://127.0.0.1:1", unproven="serve", unverified="serve"
        )
        self.engine: Engine = open_engine(settings)
        lay(self.engine)
        self.standby = Standby(HOSP, self.engine, settings)
        seen = Response(200, [("Content-Type", "application/json")], b'{"id":1,"title":"Limps","body":"left"}')
        read = self.request("GET", "/notes/1")
        self.standby.learn(HOSP.match("GET", "/notes/1"), read, seen, "Dr Holt", stamp())
        self.standby.flush()

    def request(self, method: str, target: str, body: bytes = b"") -> Request:
        fields = [("Host", "x"), ("Content-Type", "application/json"), ("Accept", "application/json")]
        return Request(method, target, fields, body, host="x")

    def asked(self, method: str) -> Request:
        return self.request(method, WAYS[method], b"" if method == "DELETE" else b'{"title":"Well"}')

    def accept(self, write: Any, request: Request, **given: bool) -> Answer | DontKnow | None:
        return self.standby.accept(
            write, request, "r", request.headers, "Dr Holt", "secret", sent=False, answered=False, under_way=False,
            **given,
        )  # fmt: skip

    def rows(self, table: Any) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(select(table)).all())

    @contextmanager
    def lost(self, when: str) -> Iterator[None]:
        """The connection is, just before or just after it is committed what became of a write."""
        about: set[int] = set()

        def note(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
            if statement.startswith(("INSERT INTO outbox", "UPDATE writes")):
                about.add(id(connection.connection))

        def fail(connection: Connection) -> None:
            if id(connection.connection) not in about:
                return
            if when == "after":
                connection.connection.commit()
            raise OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))

        event.listen(self.engine, "before_cursor_execute", note)
        event.listen(self.engine, "commit", fail)
        try:
            yield
        finally:
            event.remove(self.engine, "commit", fail)
            event.remove(self.engine, "before_cursor_execute", note)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.standby.close()
    made.engine.dispose()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("method", WAYS)
@pytest.mark.parametrize("begun", [True, False], ids=["begun", "planned"])
def test_a_write_is_accepted_once_and_answered_as_it_was(world: World, method: str, when: str, begun: bool) -> None:
    request, match = world.asked(method), HOSP.match(method, WAYS[method])
    start = world.standby.begin_write if begun else lambda *given: world.standby.plan(*given[:2])
    write = start(match, request, "Dr Holt")
    with world.lost(when):
        assert world.accept(write, request) == DontKnow("database")
    assert len(world.rows(outbox)) == (when == "after")
    answer = world.accept(write, request, again=True)
    (entry,) = world.rows(outbox)
    assert isinstance(answer, Answer)
    other = World(world.standby._settings.data / "other")
    untroubled = other.accept(other.standby.begin_write(match, request, "Dr Holt"), request)
    other.standby.close()
    other.engine.dispose()
    assert answer == untroubled
    assert entry.state == "pending"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("method", WAYS)
def test_what_became_of_a_write_is_kept(world: World, method: str, when: str) -> None:
    request = world.asked(method)
    write = world.standby.begin_write(HOSP.match(method, WAYS[method]), request, "Dr Holt")
    assert write is not None
    known = {"POST": b'{"id":7,"title":"Well"}', "PATCH": b'{"id":1,"title":"Well","body":"left"}', "DELETE": b""}
    said = Response(204 if method == "DELETE" else 200, [("Content-Type", "application/json")], known[method])
    with world.lost(when), pytest.raises(OperationalError):
        world.standby.end_write(write, said, Outcome.SUCCESS, "Dr Holt")
    world.standby.end_write(write, said, Outcome.SUCCESS, "Dr Holt")
    assert [row.outcome for row in world.rows(writes)] == ["success"]
    shown = {row.id: row.body for row in world.rows(records) if row.state == KNOWN}
    expected = {"POST": ["1", "7"], "PATCH": ["1"], "DELETE": []}
    assert sorted(shown) == expected[method]
    assert method == "DELETE" or "Well" in "".join(shown.values())


def test_a_seal_key_that_cannot_be_read_is_named_and_nothing_is_kept(world: World) -> None:
    """It is not the database that fails: to try again at once does not help."""
    (world.standby._settings.seal_key_file).mkdir()
    request, match = world.asked("POST"), HOSP.match("POST", "/notes")
    write = world.standby.begin_write(match, request, "Dr Holt")
    assert world.accept(write, request) == DontKnow("seal_key")
    assert world.rows(outbox) == []
