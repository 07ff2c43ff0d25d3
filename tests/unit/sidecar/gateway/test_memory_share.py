"""Who waits for memory: in order, never more than may be, and whoever leaves leaves nothing behind."""

from __future__ import annotations

import asyncio
import random
import time

from sidecar.gateway.memory_share import MemoryShare


def test_who_comes_first_has_room_first_and_never_is_there_more_than_may_be() -> None:
    async def test() -> None:
        share, inside, order = MemoryShare(10), 0, list[int]()

        async def one(number: int, size: int) -> None:
            nonlocal inside
            async with share.of(size, time.monotonic() + 60) as has_room:
                assert has_room
                order.append(number)
                inside += min(size, 10)
                assert inside <= 10
                await asyncio.sleep(0)
                inside -= min(size, 10)

        dice = random.Random(7)
        sizes = [dice.randint(1, 14) for _ in range(200)]
        await asyncio.gather(*(one(number, size) for number, size in enumerate(sizes)))
        assert order == list(range(200))
        assert share._taken == 0

    asyncio.run(test())


def test_who_waits_no_longer_holds_up_nobody() -> None:
    async def test() -> None:
        share = MemoryShare(10)

        async def wait(size: int, seconds: float) -> bool:
            async with share.of(size, time.monotonic() + seconds) as has_room:
                return has_room

        async with share.of(8, time.monotonic() + 60):
            cut = asyncio.create_task(wait(9, 60))
            late, small = asyncio.create_task(wait(5, 0.01)), asyncio.create_task(wait(2, 60))
            assert await late is False
            assert not small.done()
            cut.cancel()
            assert await small is True
        assert share._taken == 0
        assert await wait(10, 0) is True

    asyncio.run(test())


def test_who_is_cut_in_the_moment_of_their_turn_gives_it_back() -> None:
    async def test() -> None:
        share = MemoryShare(10)

        async def wait() -> None:
            async with share.of(10, time.monotonic() + 60):
                raise AssertionError

        async with share.of(10, time.monotonic() + 60):
            waits = asyncio.create_task(wait())
            await asyncio.sleep(0)
        waits.cancel()  # its turn has come, and it has not seen it yet
        await asyncio.gather(waits, return_exceptions=True)
        assert share._taken == 0

    asyncio.run(test())
