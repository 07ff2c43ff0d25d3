"""gunicorn's worker of ours: one event loop, from the connection that is taken to the answer that has left.

It ends without losing a connection that it was given: those that wait to be accepted are taken before the socket is
closed, requests under way are finished, and a request that comes on a kept-alive connection within IDLE seconds is
answered with `Connection: close`. What is not finished in its time is cut, and LAST seconds are left to
write that down. Who opens many connections at once has them spread over all workers.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from gunicorn.workers.base import Worker

from sidecar.server.clients import Clients
from sidecar.server.http1 import Application, Http1, Serving
from sidecar.server.loop import new_loop

SWEEP: Final = 1000
"""Connections taken at the end, at most: another process may go on serving the same socket."""
HANDFUL: Final = 4
"""Connections above which a worker pauses after each new one, so that its siblings get the next."""
BREATH: Final = 0.0005
"""Seconds of that pause."""
FULL: Final = 0.02
"""Seconds for which nobody is taken where there is no room."""
IDLE: Final = 2.0
"""Seconds that a worker which ends waits for those who have said nothing."""
LAST: Final = 5.0
"""Seconds, at the end of gunicorn's own graceful timeout, in which nobody is answered any more (`Serving.at_end`)."""
LOOK: Final = 0.25
"""Seconds between looks at those that had their time."""
ENDED: Final = 0.01
"""Seconds between looks at whether all clients have left."""
_FULL: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class LoopWorker(Worker):  # type: ignore[misc]
    """One worker. Subclasses say what is `serving`."""

    sockets: list[socket.socket]
    wsgi: Application
    new_serving: Callable[[Application], Serving]

    def init_process(self) -> None:
        self.loop = new_loop()
        asyncio.set_event_loop(self.loop)
        super().init_process()

    def init_signals(self) -> None:
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGABRT, self.handle_abort)
        self.loop.add_signal_handler(signal.SIGTERM, self._end)
        self.loop.add_signal_handler(signal.SIGINT, self._quit)
        self.loop.add_signal_handler(signal.SIGQUIT, self._quit)
        self.loop.add_signal_handler(signal.SIGUSR1, self.log.reopen_files)

    def run(self) -> None:
        self._serving = type(self).new_serving(self.wsgi)
        self._clients = Clients(
            self._serving.body_timeout, self._serving.write_timeout, int(self.cfg.worker_connections)
        )
        self._until: float | None = None
        self._begun = set[asyncio.Task[Any]]()
        for listener in self.sockets:
            listener.setblocking(False)
            self.loop.add_reader(listener.fileno(), self._readable, listener)
        self._beat()
        self._look()
        try:
            self.loop.run_forever()
        finally:
            self._clients.cut()
            self.loop.run_until_complete(self._serving.at_end())

    def _readable(self, listener: socket.socket) -> None:
        """Takes a connection, where there is room for one; else who comes waits outside."""
        if not self._clients.have_room():
            self._rest(listener, FULL)
        elif self._accept(listener) and int(self.cfg.workers) > 1 and len(self._clients) > HANDFUL:
            self._rest(listener, BREATH)

    def _rest(self, listener: socket.socket, seconds: float) -> None:
        """Takes nobody for so long."""
        self.loop.remove_reader(listener.fileno())
        self.loop.call_later(seconds, self._go_on, listener)

    def _go_on(self, listener: socket.socket) -> None:
        if self.alive:
            self.loop.add_reader(listener.fileno(), self._readable, listener)

    def _accept(self, listener: socket.socket) -> bool:
        """Whether somebody was waiting."""
        try:
            client, _ = listener.accept()
        except OSError as error:
            if error.errno in _FULL:
                made = self._clients.make_room()
                if self.alive and not made:
                    self._rest(listener, FULL)
                return made
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return error.errno == errno.ECONNABORTED
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begun = self.loop.create_task(
            self.loop.connect_accepted_socket(lambda: Http1(self._serving, self._clients), client)
        )
        self._begun.add(begun)
        begun.add_done_callback(self._begun.discard)
        return True

    def _beat(self) -> None:
        """Once a second: the master hears that we live, and we look whether it does."""
        self.notify()
        self._clients.tell_time()
        if self.ppid != os.getppid():
            self.log.info("Parent changed, shutting down: %s", self)
            self._quit()
            return
        self.loop.call_later(1.0, self._beat)

    def _look(self) -> None:
        self._clients.look()
        self.loop.call_later(LOOK, self._look)

    def _end(self) -> None:
        """Takes who waits, and nobody after that; the loop ends with the last client."""
        if self._until is not None:
            return
        self.alive = False
        self._until = time.monotonic() + float(self.cfg.graceful_timeout) - LAST
        for listener in self.sockets:
            self.loop.remove_reader(listener.fileno())
            for _ in range(SWEEP):
                if not self._accept(listener):
                    break
            listener.close()
        self.sockets = []
        self.loop.call_soon(self._begin_to_end)

    def _begin_to_end(self) -> None:
        if self._begun:  # their protocols are made within this very moment
            self.loop.call_soon(self._begin_to_end)
            return
        self._clients.end(IDLE)
        self._look_for_the_last()

    def _look_for_the_last(self) -> None:
        assert self._until is not None
        self._clients.look()
        if len(self._clients) == 0 or time.monotonic() >= self._until:
            self.loop.stop()
        else:
            self.loop.call_later(ENDED, self._look_for_the_last)

    def _quit(self) -> None:
        self.alive = False
        self.loop.stop()


def settle_memory() -> None:
    """When all is loaded: what is here now stays, and is not looked through again."""
    gc.collect()
    gc.set_threshold(10_000, 10, 10)  # a request leaves few cycles
    gc.freeze()
