"""A client's connection: what the client does not take at once waits here, and holds no thread.

A thread gives an answer away for PATIENCE at the most. The rest goes out as the client takes it, by `flush`, which
never waits. And it can be asked whether a client who has closed its half of the connection is still there.
"""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import sys
import termios
import time
from typing import Any, Final

PATIENCE: Final = 0.1
"""Seconds for which a thread waits for its client to take an answer."""
BEGINNING: Final = b"HTTP/1."
"""What each answer begins with, whatever it says."""
ECHO: Final = 0.25
"""Seconds for the client's host to confirm that it has these bytes, or to say that nobody is there."""
_LOOK: Final = 0.002
_UNACKED: Final = struct.Struct("=24xI")
"""Where Linux's struct tcp_info counts segments that are not confirmed (linux/tcp.h)."""
_ESTABLISHED: Final = (1, 8)
"""TCP_ESTABLISHED and TCP_CLOSE_WAIT."""


class ClientSocket(socket.socket):
    """Takes the place of the socket that was accepted, `taken`."""

    def __init__(self, taken: socket.socket) -> None:
        super().__init__(taken.family, taken.type, taken.proto, taken.detach())
        self._unsent: list[memoryview] = []
        self._ahead = 0
        """Bytes of BEGINNING that are out already."""

    @property
    def owed(self) -> int:
        """Bytes that the client has yet to take."""
        return sum(len(piece) for piece in self._unsent)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Gives it to the client, or keeps what the client does not take within PATIENCE. Raises OSError when the
        connection is gone."""
        rest = memoryview(data)
        if self._ahead:
            rest, self._ahead = rest[self._ahead :], 0
        if not self._unsent:
            rest = self._push(rest, flags)
        if rest:
            self._unsent.append(memoryview(bytes(rest)))

    def _push(self, rest: memoryview, flags: int) -> memoryview:
        until = None
        while rest:
            try:
                rest = rest[self.send(rest, flags | socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                now = time.monotonic()
                until = now + PATIENCE if until is None else until
                poll = select.poll()
                poll.register(self, select.POLLOUT)
                if now >= until or not poll.poll(max(1, int((until - now) * 1000))):
                    break
        return rest

    def flush(self) -> None:
        """Gives away as much as is taken at once. Raises OSError."""
        while self._unsent:
            try:
                sent = self.send(self._unsent[0], socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            self._unsent[0] = self._unsent[0][sent:]
            if not self._unsent[0]:
                del self._unsent[0]

    def on_its_way(self) -> int:
        """Bytes that the kernel has of ours, and the client's host has not confirmed. Raises OSError."""
        return int.from_bytes(fcntl.ioctl(self, termios.TIOCOUTQ, bytes(4)), sys.byteorder)

    def forget(self) -> None:
        """Nothing more is given away."""
        self._unsent.clear()

    def still_takes(self) -> bool:
        """Whether a client who has closed its half takes an answer yet: one who has left refuses the first bytes of it,
        BEGINNING, which say nothing. False also where nobody can say."""
        if not hasattr(socket, "TCP_INFO") or self._ahead or self._unsent:
            return False
        try:
            if self.send(BEGINNING, socket.MSG_DONTWAIT) != len(BEGINNING):
                return False
            self._ahead = len(BEGINNING)
            until = time.monotonic() + ECHO
            while time.monotonic() < until:
                info = self.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
                if info[0] not in _ESTABLISHED or self.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    return False
                if _UNACKED.unpack_from(info)[0] == 0:
                    return True
                time.sleep(_LOOK)
        except OSError:
            return False
        return False
