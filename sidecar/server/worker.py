"""gunicorn's thread worker, ending without losing a connection that it was given.

What gunicorn 27 does itself: requests under way are finished, and a request that comes on a kept-alive connection
within two seconds is answered with `Connection: close`. What is added: connections that wait to be accepted are taken
before the socket is closed, and it is closed at once and not after the last request. And who opens many connections at
once has them spread over all workers, not all at the one that woke first.
"""

from __future__ import annotations

import socket
import time
from typing import Final

from sidecar.server.deliveries import DeliveriesWorker

SWEEP: Final = 1000
"""Connections taken at the end, at most: another process may go on serving the same socket."""

HANDFUL: Final = 4
"""Connections above which a worker pauses after each new one, so that its siblings get the next."""
BREATH: Final = 0.0005
"""Seconds of that pause."""


class Worker(DeliveriesWorker):
    """One worker."""

    sockets: list[socket.socket]

    def set_accept_enabled(self, enabled: bool) -> None:
        """Also the last act of accepting: a worker that ends leaves nobody waiting."""
        ending = not enabled and not self.alive
        if ending and self._accepting:
            for listener in self.sockets:
                self._sweep(listener)
        super().set_accept_enabled(enabled)
        if ending:
            for listener in self.sockets:
                listener.close()
            self.sockets = []

    def accept(self, listener: socket.socket) -> bool:
        taken = super().accept(listener)
        if taken and self.alive and self.nr_conns > HANDFUL:
            time.sleep(BREATH)
        return taken

    def _sweep(self, listener: socket.socket) -> None:
        for _ in range(SWEEP):
            if not self.accept(listener):
                return
