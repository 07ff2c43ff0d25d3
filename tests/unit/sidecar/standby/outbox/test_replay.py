"""Who lost the lease sends nothing more, however late it notices: the fence is asked when the first byte is next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, update

from sidecar.clock import stamp
from sidecar.contract import Contract, Endpoint
from sidecar.exchange import Attempt, Outcome
from sidecar.http.messages import Request, Response
from sidecar.settings import Settings
from sidecar.standby.answer import Answer
from sidecar.standby.high_water import bring_forward
from sidecar.standby.numbers import bump
from sidecar.standby.outbox.entries import RESTORED, State, outbox, taken_directly
from sidecar.standby.outbox.replay import GIVE_UP, Replayer
from sidecar.standby.outbox.watermark import Mark
from sidecar.standby.promotion import NotFit, Promotion
from sidecar.standby.standby import Standby
from sidecar.standby.tables import owners, writes
from sidecar.storage.database import open_engine
from sidecar.storage.lease import TTL, Lease, leases
from sidecar.timeunits import SECOND
from sidecar.upstream.connection import Call
from sidecar.upstream.scheduler import Result
from tests.support.on_loop import Wire
from tests.support.stack import until
from tests.support.tables import lay
from tests.support.upstream import Upstream

CONTRACT = Contract.load("hosp")


class Leader:
    """A replayer with one entry to send. `meanwhile` happens between its claim and the fence."""

    def __init__(self, data: Path) -> None:
        self.settings = Settings(data=data, seal_key=data / "seal-key", upstream="http://127.0.0.1:1")
        self.engine: Engine = open_engine(self.settings)
        lay(self.engine)
        self.standby = Standby(CONTRACT, self.engine, self.settings)
        self.lease, self.other = (Lease(self.engine, "replay", name) for name in ("one", "two"))
        self.meanwhile: Callable[[], object] = lambda: None
        self.sent: list[bytes] = []
        self.upstream_is_well = True
        self.says: Result | None = None
        """What comes of a call, instead of success."""
        self.replayer = Replayer(
            CONTRACT, self.engine, self.standby.intents, self.standby.outbox, self.standby.seal(), self.lease,
            self._send, lambda _endpoint: self.upstream_is_well, None,
        )  # fmt: skip
        body = b'{"title":"Round"}'
        request = Request("POST", "/notes", [("Host", "x"), ("Content-Type", "application/json")], body, host="x")
        write = self.standby.begin_write(CONTRACT.match("POST", "/notes"), request, "Dr Holt")
        taken = self.standby.intents.accept(
            write, request, "r", request.headers, "Dr Holt", sent=False, answered=False, under_way=False
        )
        assert isinstance(taken, Answer)

    def _send(self, _endpoint: Endpoint, call: Call, _request_id: str) -> Result:
        """As the wire does, up to the bytes themselves."""
        self.meanwhile()
        if call.fence is not None and not call.fence():
            return Result(Attempt(0, 0, Outcome.FAILURE, None, "fenced"), None, 0)
        if self.says is not None:
            return self.says
        self.sent.append(call.body)
        return Result(Attempt(0, 0, Outcome.SUCCESS, 201), Response(201, [], b'{"id":7,"title":"Round"}'), 0)

    def lapse(self) -> None:
        """What a stop for longer than the lease lasts comes to."""
        with self.engine.begin() as connection:
            connection.execute(update(leases).values(until=0))

    def row(self) -> tuple[str, int, int]:
        with self.engine.connect() as connection:
            return tuple(connection.execute(select(outbox.c.state, outbox.c.token, outbox.c.due)).one())


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[Leader]:
    made = Leader(tmp_path)
    assert made.lease.hold()
    yield made
    made.standby.close()
    made.engine.dispose()


def test_a_leader_that_is_not_disturbed_sends_once(leader: Leader) -> None:
    assert leader.replayer.step("notes")
    assert leader.sent == [b'{"title":"Round"}']
    assert leader.row()[0] == State.SETTLED


def test_what_was_handed_out_before_the_circuit_opened_is_not_sent(leader: Leader) -> None:
    (ident,) = leader.replayer.ready()
    leader.upstream_is_well = False
    assert not leader.replayer.work(ident)
    assert leader.sent == []
    leader.upstream_is_well = True
    assert leader.replayer.work(ident)
    assert leader.sent == [b'{"title":"Round"}']


def test_a_leader_that_was_stopped_between_its_claim_and_the_first_byte_sends_nothing(leader: Leader) -> None:
    leader.meanwhile = lambda: (leader.lapse(), leader.other.hold())
    leader.replayer.step("notes")
    assert leader.sent == []
    state, token, _ = leader.row()
    assert (state, token) == (State.SENDING, leader.lease.token)  # the successor takes it for unclear, and looks first


def test_a_lapsed_lease_that_nobody_took_is_no_lease(leader: Leader) -> None:
    leader.meanwhile = leader.lapse
    leader.replayer.step("notes")
    assert leader.sent == []


def test_a_lease_is_renewed_in_time_and_not_at_every_look(leader: Leader) -> None:
    def ends() -> int:
        with leader.engine.connect() as connection:
            return int(connection.execute(select(leases.c.until)).scalar_one())

    first = ends()
    assert leader.lease.hold()
    assert ends() == first
    until(lambda: leader.lease.hold() and ends() > first, TTL / 1e9, "renewed before it ends")
    leader.lapse()
    assert leader.other.hold()
    until(lambda: not leader.lease.hold(), TTL / 1e9, "known to be lost")


def test_a_lease_that_was_given_back_is_taken_by_another_at_once(leader: Leader) -> None:
    leader.lease.release()
    assert leader.other.hold()
    assert not leader.lease.hold()


@pytest.mark.parametrize("late", [False, True])
def test_the_successor_looks_no_sooner_than_a_call_that_passed_the_fence_can_last(leader: Leader, late: bool) -> None:
    """Whether it was sent as soon as it was claimed, or had waited for a place until only half of its time was left."""
    seen: list[int] = []

    def wait() -> None:
        seen.append(leader.row()[2] - stamp())
        if late:
            with leader.engine.begin() as connection:
                connection.execute(update(outbox).values(due=stamp() + patience // 2))

    patience = leader.standby.intents.patience
    leader.meanwhile = wait
    original = leader._send

    def send(endpoint: Endpoint, call: Call, request_id: str) -> Result:
        result = original(endpoint, call, request_id)
        seen.append(leader.row()[2] - stamp())
        return result

    leader.replayer._send = send
    assert leader.replayer.step("notes")
    assert len(leader.sent) == 1
    claimed, fenced = (left / SECOND for left in seen)
    assert claimed > patience / SECOND, "what is sent soon need not be written down once more"
    assert fenced > patience / SECOND - 1


def test_the_fence_keeps_nobody_from_writing(leader: Leader) -> None:
    """Nor does it wait for those who write."""
    with ThreadPoolExecutor(1) as thread, leader.engine.connect() as writer:
        leader.meanwhile = writer.begin
        done = thread.submit(leader.replayer.step, "notes")
        until(lambda: leader.sent, 4, "sent while another writes")
        writer.rollback()
        assert done.result(10)
    assert leader.row()[0] == State.SETTLED


def test_a_write_that_was_decided_before_a_promotion_and_begins_after_it_is_not_sent(leader: Leader) -> None:
    request = Request("PATCH", "/patients/17", [("Host", "x"), ("Content-Type", "application/json")], b"{}", host="x")
    match = CONTRACT.match("PATCH", "/patients/17")
    assert not leader.standby.begin_write(match, request, "Dr Holt").queued
    with leader.engine.begin() as connection:
        connection.execute(update(writes).values(ended=1))
        connection.execute(insert(owners).values(type="patients", since=1, by="Ms Pell", reason=""))
    assert leader.standby.begin_write(match, request, "Dr Holt").queued


def test_nothing_is_promoted_while_the_upstream_may_yet_make_a_record(leader: Leader) -> None:
    """Its id would be given to another record here."""
    standby = leader.standby
    promotion = Promotion(
        CONTRACT, leader.engine, standby.outbox, _all_known, lambda _: None, lambda _: None, least_parity=0.99
    )
    request = Request("POST", "/patients", [("Host", "x"), ("Content-Type", "application/json")], b"{}", host="x")
    write = standby.begin_write(CONTRACT.match("POST", "/patients"), request, "Dr Holt")
    with pytest.raises(NotFit, match="1 writes of patients are under way"):
        promotion.promote("patients", "Ms Pell", "", force=False)
    standby.end_write(write, None, Outcome.FAILURE, "Dr Holt")
    assert promotion.promote("patients", "Ms Pell", "", force=False) == []


def _all_known() -> dict[str, dict[str, Any]]:
    return {"patients": {"complete": True, "verified": True, "in_doubt": 0}}


def test_the_wire_asks_when_the_connection_stands_and_sends_nothing_against_the_fence() -> None:
    with Upstream() as upstream:
        wire = Wire(upstream.url, connect_timeout=1, timeout=5, max_answer=1000)
        asked: list[int] = []

        def fence() -> bool:
            asked.append(len(upstream.state.connections))
            return False

        attempt, response = wire.send(Call("POST", "/notes", [("Host", "x")], b"{}", fence=fence))
        assert (attempt.outcome, attempt.error, response) == (Outcome.FAILURE, "fenced", None)
        assert len(asked) == 1
        assert upstream.seen("/notes") == []
        attempt, _ = wire.send(Call("POST", "/notes", [("Host", "x")], b"{}", fence=lambda: True))
        assert attempt.outcome is Outcome.SUCCESS
        assert len(upstream.seen("/notes")) == 1
        wire.close()


@pytest.mark.parametrize(
    "says",
    [
        Result(Attempt(0, 0, Outcome.FAILURE, None, "refused"), None, 0),
        Result(Attempt(0, 0, Outcome.SUCCESS, 429), Response(429, [], b""), 0),
    ],
    ids=["nobody there", "later, please"],
)
def test_no_outage_is_so_long_that_a_write_which_was_never_looked_at_is_parked(leader: Leader, says: Result) -> None:
    leader.says = says
    for _ in range(2 * GIVE_UP):
        with leader.engine.begin() as connection:
            bump(connection, taken_directly("notes.create"), stamp())  # others of its kind are taken
            connection.execute(update(outbox).values(due=0))
        assert leader.replayer.step("notes")
        assert leader.row()[0] == State.PENDING
    leader.says = None
    with leader.engine.begin() as connection:
        connection.execute(update(outbox).values(due=0))
    leader.replayer.step("notes")
    assert leader.row()[0] == State.SETTLED
    assert len(leader.sent) == 1


@pytest.mark.parametrize(("real", "state"), [("7", State.SETTLED), ("-", State.PARKED)])
def test_what_was_recorded_as_done_is_not_sent_from_a_database_that_went_back(
    leader: Leader, real: str, state: State
) -> None:
    done = {("r", "notes.create"): real}
    leader.replayer.settle_recorded(done)
    assert leader.row()[0] == State.PENDING, "it did not go back"
    with leader.engine.begin() as connection:
        assert bring_forward(connection, Mark(10**6, 0)) is not None
        assert connection.scalar(select(outbox.c.token)) == RESTORED
    leader.standby.outbox.touch()
    leader.replayer.settle_recorded({("r", "notes.update"): real, ("another", "notes.create"): real})
    assert leader.row()[0] == State.UNCLEAR
    leader.replayer.settle_recorded(done)
    assert leader.row()[0] == state
    assert not leader.replayer.step("notes")
    assert leader.sent == []
    if state is State.SETTLED:
        assert leader.standby.outbox.real("notes", "2000000000") == "7"


def test_nothing_is_sent_from_a_database_that_went_back_and_was_not_brought_forward(leader: Leader) -> None:
    leader.meanwhile = lambda: leader.standby.mark.raise_to(Mark(10**6, 0))  # it was put back just now
    leader.replayer.step("notes")
    assert leader.sent == []
    assert not leader.replayer.step("notes")
