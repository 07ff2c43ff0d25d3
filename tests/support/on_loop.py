"""What runs on an event loop, for tests that do not: a loop in a thread, and calls to an upstream made on it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

from sidecar.server.loop import new_loop
from sidecar.upstream.connection import Call, Connections, Sent

T = TypeVar("T")


class Loop:
    """A loop of the kind that serves, in a thread, until it is closed."""

    def __init__(self) -> None:
        self.loop = new_loop()
        self._thread = threading.Thread(target=self._run, name="loop", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def run(self, work: Coroutine[Any, Any, T], timeout: float = 60) -> T:
        return self.begin(work).result(timeout)

    def close(self) -> None:
        self.run(self.loop.shutdown_default_executor())  # here, for in the caller's thread another loop may run
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


class Wire:
    """Calls to one upstream, each waited for."""

    def __init__(self, base: str, **given: Any) -> None:
        self._loop = Loop()
        settings = {"connect_timeout": 1.0, "timeout": 5.0, "max_answer": 100_000, **given}
        self.connections = Connections(base, **settings)

    def send(self, call: Call) -> Sent:
        return self.begin(call).result(60)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """On the loop of the calls."""
        return self._loop.run(work)

    def begin(self, call: Call) -> Future[Sent]:
        return self._loop.begin(self.connections.send(call))

    def close(self) -> None:
        async def close() -> None:
            self.connections.close()
            await asyncio.sleep(0.01)

        self._loop.run(close())
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()
