"""Who writes to a record goes in the order of coming; who gives up makes room."""

from __future__ import annotations

import asyncio
import time

from sidecar.gateway.record_line import RecordLines


def test_first_come_first_served() -> None:
    lines, served = RecordLines(), list[int]()

    async def write(number: int) -> None:
        async with lines.first("note", time.monotonic() + 5) as first:
            assert first
            served.append(number)

    async def all_of_them() -> None:
        writing = []
        async with lines.first("note", time.monotonic()) as first:
            assert first
            for number in range(5):
                writing.append(asyncio.create_task(write(number)))
                await asyncio.sleep(0)
            async with lines.first("other", 0) as other:
                assert other, "another record's line is its own"
            async with lines.first("note", time.monotonic()) as late:
                assert not late
            assert served == []
        await asyncio.gather(*writing)

    asyncio.run(all_of_them())
    assert served == [0, 1, 2, 3, 4]
    assert not lines._lines
