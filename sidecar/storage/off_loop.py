"""What may wait goes to threads: on the event loop's own thread no database is ever opened.

A step that most often finds what it needs in memory is tried on the loop (`OffLoop.quick`): where it turns out to need
a database, nothing of it has happened, and it is done again in a thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import ParamSpec, TypeVar

from sqlalchemy.pool import PoolProxiedConnection, QueuePool

P = ParamSpec("P")
T = TypeVar("T")
_loops: set[int] = set()
"""The threads of event loops that serve."""


class NeedsDatabase(BaseException):
    """Somebody on a loop's thread wants a connection. No Exception, which a step might take for the database's."""


class OffLoopPool(QueuePool):
    """Connections for threads, and for no loop."""

    def connect(self) -> PoolProxiedConnection:
        """Raises NeedsDatabase."""
        if threading.get_ident() in _loops:
            raise NeedsDatabase
        return super().connect()


class OffLoop:
    """The threads of one loop, which has to be the caller's."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, "beside")
        self._thread: int | None = None

    def serve(self) -> None:
        """From now on this thread's loop serves: it opens no database."""
        self._thread = threading.get_ident()
        _loops.add(self._thread)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Does it in a thread, which says of what it does that it is of the same trace."""
        context = copy_context()
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: context.run(work, *args, **kwargs)
        )

    async def quick(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Does it here, from memory; in a thread where that cannot be. What it does before it needs a database may
        happen twice."""
        try:
            return work(*args, **kwargs)
        except NeedsDatabase:
            return await self.run(work, *args, **kwargs)

    def close(self) -> None:
        """Waits for what is being done."""
        if self._thread is not None:
            _loops.discard(self._thread)
        self._threads.shutdown()
