"""A process that is told to end, however often and whenever it is told."""

from __future__ import annotations

import signal
import threading
from queue import SimpleQueue
from typing import Final

ENDS: Final = (signal.SIGTERM, signal.SIGINT)


def ends(stop: threading.Event) -> None:
    """From now on SIGTERM and SIGINT set `stop`. Called in the main thread.

    A handler interrupts the main thread anywhere, also while it holds the event's own lock: `Event.set` would wait for
    ever. `SimpleQueue.put` may be called at any moment (Python's documentation calls it reentrant), so the handler
    tells a thread, which sets the event.
    """
    told: SimpleQueue[None] = SimpleQueue()

    def wait() -> None:
        told.get()
        stop.set()

    threading.Thread(target=wait, name="signals", daemon=True).start()
    for number in ENDS:
        signal.signal(number, lambda *_: told.put(None))
