"""On the thread of a loop that serves no database is opened; what needs one is done in a thread instead."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from sidecar.storage.database import open_file
from sidecar.storage.off_loop import NeedsDatabase, OffLoop


def test_a_step_is_done_on_the_loop_from_memory_and_in_a_thread_where_it_needs_the_database(tmp_path: Path) -> None:
    engine = open_file(tmp_path / "test.db")
    tried: list[int] = []

    def step(known: int | None) -> int:
        tried.append(threading.get_ident())
        if known is not None:
            return known
        try:
            with engine.connect() as connection, connection.begin():
                return int(connection.scalar(text("SELECT 7")) or 0)
        except Exception:  # what a step does where its database fails
            return -1

    async def serve() -> None:
        beside, here = OffLoop(2), threading.get_ident()
        beside.serve()
        try:
            assert await beside.quick(step, 3) == 3
            assert tried == [here]
            assert await beside.quick(step, None) == 7
            assert tried[1] == here != tried[2]
            with pytest.raises(NeedsDatabase):
                step(None)
            assert await beside.run(step, None) == 7
        finally:
            beside.close()
        assert step(None) == 7  # it serves no more

    asyncio.run(serve())
    engine.dispose()
