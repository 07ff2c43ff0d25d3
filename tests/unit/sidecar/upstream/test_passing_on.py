"""A body that is passed on: in order, bounded at hand, and over once, however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from sidecar.http.messages import Cut
from sidecar.upstream.passing_on import AT_HAND, LEFT, PassingOn


class Sending:
    """The upstream's side."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.over: list[str | None] = []

    def body(self, idle: float = 60.0) -> PassingOn:
        noted = self.told.append
        body = PassingOn(
            None, idle, pause=lambda: noted("pause"), resume=lambda: noted("resume"), cut=lambda: noted("cut")
        )
        body.when_over(self.over.append)
        return body


def on_loop(test: Callable[[Sending], Coroutine[Any, Any, None]]) -> Sending:
    sending = Sending()
    asyncio.run(test(sending))
    return sending


async def all_of(body: PassingOn) -> bytes:
    return b"".join([piece async for piece in body.pieces()])


def test_what_comes_is_taken_in_order_and_the_upstream_waits_for_whoever_takes_it() -> None:
    async def test(sending: Sending) -> None:
        body = sending.body()
        taker = asyncio.create_task(all_of(body))
        body.add([b"a", b"b"])
        await asyncio.sleep(0)
        body.add([b"c" * (AT_HAND + 1)])
        body.add([b"d"])
        assert sending.told == ["pause"]
        await asyncio.sleep(0)
        assert sending.told == ["pause", "resume"]
        body.end(None)
        assert await taker == b"ab" + b"c" * (AT_HAND + 1) + b"d"

    assert on_loop(test).over == [None]


def test_what_was_cut_gives_all_that_came_and_then_says_so() -> None:
    async def test(sending: Sending) -> None:
        body, got = sending.body(), list[bytes]()
        body.add([b"a", b"b"])
        body.end("reset")
        body.end(None)
        with pytest.raises(Cut, match="reset"):
            got += [piece async for piece in body.pieces()]
        assert sending.told == []

    assert on_loop(test).over == ["reset"]


def test_nobody_who_takes_it_cuts_it_off_once() -> None:
    async def test(sending: Sending) -> None:
        body = sending.body()
        body.add([b"a"])
        body.close()
        body.close()
        body.end(None)
        assert sending.told == ["cut"]
        with pytest.raises(Cut):
            await all_of(body)
        told = list[str | None]()
        body.when_over(told.append)
        assert told == [LEFT]

    assert on_loop(test).over == [LEFT]


def test_a_whole_one_that_is_closed_stays_whole() -> None:
    async def test(sending: Sending) -> None:
        body = sending.body()
        body.end(None)
        body.close()
        assert await all_of(body) == b""

    assert (on_loop(test).over, on_loop(test).told) == ([None], [])


def test_when_nothing_moves_it_ends_and_while_something_does_it_goes_on() -> None:
    async def test(sending: Sending) -> None:
        body = sending.body(idle=0.05)
        taker = asyncio.create_task(all_of(body))
        for _ in range(8):
            await asyncio.sleep(0.02)
            body.add([b"a"])
        assert sending.over == []
        with pytest.raises(Cut, match="timeout"):
            await taker

    sending = on_loop(test)
    assert (sending.over, sending.told) == (["timeout"], ["cut"])


def test_while_its_client_takes_nothing_the_upstream_is_not_to_blame() -> None:
    async def test(sending: Sending) -> None:
        body = sending.body(idle=0.02)
        taker = body.pieces()
        body.add([b"taken", b"left"])
        assert await anext(taker) == b"taken"
        await asyncio.sleep(0.1)
        assert sending.over == []
        body.close()

    assert on_loop(test).over == [LEFT]
