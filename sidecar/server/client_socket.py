"""What the kernel knows of a client's connection: what the client has yet to take, and whether it is still there."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
import sys
import termios
import time
from typing import Any, Final

BEGINNING: Final = b"HTTP/1."
"""What each answer begins with, whatever it says."""
ECHO: Final = 0.25
"""Seconds for the client's host to confirm that it has these bytes, or to say that nobody is there."""
_LOOK: Final = 0.002
_UNACKED: Final = struct.Struct("=24xI")
"""Where Linux's struct tcp_info counts segments that are not confirmed (linux/tcp.h)."""
_ESTABLISHED: Final = (1, 8)
"""TCP_ESTABLISHED and TCP_CLOSE_WAIT."""
_RESET: Final = struct.pack("ii", 1, 0)


class ClientSocket:
    """Of one connection, whose transport does all else with it."""

    __slots__ = ("_fd", "ahead")

    def __init__(self, of: Any) -> None:
        """`of`: the transport's socket; uvloop's does little more than name its descriptor."""
        self._fd: int = of.fileno()
        self.ahead = 0
        """Bytes of BEGINNING that are out already."""

    def on_its_way(self) -> int:
        """Bytes that the kernel has of ours, and the client's host has not confirmed."""
        try:
            return int.from_bytes(fcntl.ioctl(self._fd, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        except OSError:
            return 0

    def reset_at_close(self) -> None:
        """The client will see that the connection broke."""
        with self._borrowed() as borrowed:
            borrowed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    async def still_takes(self) -> bool:
        """Whether a client who has closed its half takes an answer yet: one who has left refuses the first bytes of it,
        BEGINNING, which say nothing. False also where nobody can say."""
        if not hasattr(socket, "TCP_INFO") or self.ahead:
            return False
        try:
            with self._borrowed() as borrowed:
                if borrowed.send(BEGINNING, socket.MSG_DONTWAIT) != len(BEGINNING):
                    return False
                self.ahead = len(BEGINNING)
                until = time.monotonic() + ECHO
                while time.monotonic() < until:
                    info = borrowed.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
                    if info[0] not in _ESTABLISHED or borrowed.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                        return False
                    if _UNACKED.unpack_from(info)[0] == 0:
                        return True
                    await asyncio.sleep(_LOOK)
        except OSError:
            return False
        return False

    def _borrowed(self) -> socket.socket:
        """The same connection under another descriptor, to be closed."""
        return socket.socket(fileno=os.dup(self._fd))
