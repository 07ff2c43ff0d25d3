"""What is tried for one request: the first call, retries and a hedge within the budget; writes once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from sidecar.exchange import Attempt, Outcome
from sidecar.http.messages import Response
from sidecar.upstream.call import LATE, MAX_ATTEMPTS, UpstreamCall
from sidecar.upstream.concurrency import Slots
from sidecar.upstream.connection import Call, Done, Sent
from sidecar.upstream.scheduler import Priority, Result, RetryBudget, Upstream

READ = Call("GET", "/notes/1", [], repeatable=True)
WRITE = Call("POST", "/notes", [], b"{}")
GOOD: Sent = (Attempt(0, 1, Outcome.SUCCESS, 200), Response(200))
BAD: Sent = (Attempt(0, 1, Outcome.FAILURE, 500, "status"), Response(500))


class Wires:
    """Says what it is told to, one after the other; None: nothing, ever."""

    def __init__(self, *says: Sent | None) -> None:
        self.says = list(says)
        self.sent = 0

    def start(self, call: Call, done: Done) -> None:
        self.sent += 1
        said = self.says.pop(0)
        if said is not None:
            attempt, response = said
            made = Attempt(attempt.started, attempt.duration, attempt.outcome, attempt.status, attempt.error)
            asyncio.get_running_loop().call_soon(done, (made, response))

    def close(self) -> None:
        return


def made(
    path: Path, wires: Wires, test: Callable[[UpstreamCall], Awaitable[None]], call: Call = READ, *, share: float = 1.0,
    hedge_after: float = 60.0, judge: Callable[[Result, bool], Awaitable[None] | None] = lambda result, late: None,
) -> None:  # fmt: skip
    async def run() -> None:
        upstream = Upstream(Slots(path / "places", 4, longest=60), wires)
        budget = RetryBudget(share)
        await test(UpstreamCall(upstream, call, 1, Priority.USER, judge, budget, hedge_after=hedge_after))
        await upstream.close(0)

    asyncio.run(run())


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def test_a_read_is_tried_again_and_a_write_is_not(tmp_path: Path) -> None:
    wires = Wires(BAD, BAD, GOOD)

    async def read(call: UpstreamCall) -> None:
        result = await call.result(soon())
        assert result is not None
        assert [attempt.outcome for attempt in call.attempts] == [Outcome.FAILURE, Outcome.FAILURE, Outcome.SUCCESS]

    made(tmp_path, wires, read)
    assert wires.sent == 3
    wires = Wires(BAD, GOOD)

    async def write(call: UpstreamCall) -> None:
        result = await call.result(soon())
        assert result is not None
        assert result.attempt.outcome is Outcome.FAILURE

    made(tmp_path, wires, write, WRITE)
    assert wires.sent == 1


def test_it_is_tried_no_more_often_than_may_be_nor_beyond_the_budget(tmp_path: Path) -> None:
    async def fails(call: UpstreamCall) -> None:
        result = await call.result(soon())
        assert result is not None
        assert result.attempt.outcome is Outcome.FAILURE

    for share, times in ((1.0, MAX_ATTEMPTS), (0.0, 1)):
        wires = Wires(*[BAD] * 10)
        made(tmp_path, wires, fails, share=share)
        assert wires.sent == times


def test_a_call_that_is_slow_is_asked_once_more_and_the_quicker_answer_is_the_answer(tmp_path: Path) -> None:
    wires = Wires(None, GOOD)

    async def test(call: UpstreamCall) -> None:
        result = await call.result(soon())
        assert result is not None
        assert result.attempt.hedge
        call.give_up()
        assert [(attempt.hedge, attempt.error) for attempt in call.attempts] == [(True, None), (False, LATE)]

    made(tmp_path, wires, test, hedge_after=0.01)
    assert wires.sent == 2


def test_who_no_longer_waits_takes_back_what_has_not_begun(tmp_path: Path) -> None:
    other = Slots(tmp_path / "places", 4, longest=60)
    taken = [other.take([number]) for number in (1, 2, 3, 4)]

    async def test(call: UpstreamCall) -> None:
        assert await call.result(soon(0.02)) is None
        assert call.give_up()
        assert call.attempts == []

    wires = Wires(GOOD)
    made(tmp_path, wires, test)
    assert (len(list(filter(None, taken))), wires.sent) == (4, 0)


def test_what_waits_for_a_place_is_not_under_way(tmp_path: Path) -> None:
    other = Slots(tmp_path / "places", 4, longest=60)
    taken = [other.take([number]) for number in (1, 2, 3, 4)]

    async def test(call: UpstreamCall) -> None:
        assert await call.result(soon(0.1)) is None
        assert call.under_way() == 0
        given = time.monotonic()
        other.give(taken[0][0] if taken[0] is not None else -1)
        assert await call.result(soon(0.3)) is None
        assert 0 < call.under_way() <= time.monotonic() - given
        assert not call.give_up()
        assert call.under_way() > 0, "it goes on"

    made(tmp_path, Wires(None), test)


def test_who_leaves_takes_back_what_waits_and_is_not_waited_for(tmp_path: Path) -> None:
    other = Slots(tmp_path / "places", 4, longest=60)
    assert [other.take([number]) is not None for number in (1, 2, 3, 4)] == [True] * 4

    async def test(call: UpstreamCall) -> None:
        asyncio.get_running_loop().call_later(0.01, call.leave)
        assert await call.result(soon(60)) is None
        assert (call.taken_back, call.attempts) == (True, [])

    wires = Wires(GOOD)
    made(tmp_path, wires, test)
    assert wires.sent == 0


def test_what_is_under_way_goes_on_when_who_asked_leaves_and_is_not_repeated(tmp_path: Path) -> None:
    for says, hedge_after in (([BAD, GOOD], 60.0), ([None, GOOD], 0.05)):
        learned: list[Result] = []
        wires = Wires(*says)

        async def test(call: UpstreamCall) -> None:
            call.leave()
            await call.result(soon(0.2))
            assert not call.taken_back

        def learn(result: Result, late: bool) -> None:
            learned.append(result)  # noqa: B023 - used within its round

        made(tmp_path, wires, test, hedge_after=hedge_after, judge=learn)
        assert (wires.sent, len(learned)) == (1, 1 if says[0] else 0)


def test_nothing_is_tried_again_where_nobody_is_waited_for(tmp_path: Path) -> None:
    wires = Wires(BAD, GOOD)

    async def test(call: UpstreamCall) -> None:
        result = await call.result(soon(), lambda: call.in_line)
        assert result is not None
        assert result.attempt.outcome is Outcome.FAILURE

    made(tmp_path, wires, test)
    assert wires.sent == 1


def test_a_result_is_seen_once_it_has_been_judged_beside_the_loop(tmp_path: Path) -> None:
    judged: list[bool] = []

    async def slowly() -> None:
        await asyncio.sleep(0.02)
        judged.append(True)

    async def test(call: UpstreamCall) -> None:
        assert await call.result(soon(0.005)) is None
        assert await call.result(soon()) is not None
        assert judged == [True]

    made(tmp_path, Wires(GOOD), test, judge=lambda result, late: slowly())
