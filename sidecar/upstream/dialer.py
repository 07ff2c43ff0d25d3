"""From an upstream's address to a connection, without blocking: names, addresses (RFC 8305), TLS.

`Steps` are work that waits. They yield the time, of time.monotonic(), at which they go on at the latest, and are sent
the descriptors, of those they have registered with the poll, on which something has happened. Whoever drives them may
stop at any time, and another thread go on.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Generator
from functools import cache
from typing import Any, Final, TypeVar

T = TypeVar("T")
Steps = Generator[float, list[int], T]
Address = tuple[socket.AddressFamily, Any]
HEAD_START: Final = 0.25
"""Seconds that one address is tried alone before the next is tried beside it (RFC 8305, 5), and that a name server has
before the addresses known before are tried."""
_UNDER_WAY: Final = (0, errno.EINPROGRESS)


class Unconnected(Exception):
    """Nothing was sent, and why: refused, unresolved, connect_timeout, certificate, tls or fenced."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


class _Lookup:
    """One question that a thread asks. Any number may wait for it: `over` is readable from its end on."""

    def __init__(self) -> None:
        self.over = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.addresses: list[Address] = []
        weakref.finalize(self, os.close, self.over)


class Names:
    """The addresses of hosts. getaddrinfo cannot be told how long it may take, so a thread waits for it.

    Where a name is not found any more, or not within HEAD_START, what was last known of it is tried: name servers fail,
    and fall silent, too (RFC 8767).
    """

    def __init__(self, ask: Callable[..., Any] = socket.getaddrinfo, kept: float = 60.0) -> None:
        """`kept`: seconds for which what was found is taken for right."""
        self._ask = ask
        self._kept = kept
        self._lock = threading.Lock()
        self._known: dict[tuple[str, int], tuple[float, list[Address]]] = {}
        self._lookups: dict[tuple[str, int], _Lookup] = {}

    def addresses(self, host: str, port: int, poll: select.poll, until: float) -> Steps[list[Address]]:
        """In the order in which to try them. Raises Unconnected."""
        try:
            return _taken(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
        except socket.gaierror:
            pass  # a name
        with self._lock:
            since, known = self._known.get((host, port), (0.0, []))
            if known and time.monotonic() - since < self._kept:
                return known
            lookup = self._lookups.get((host, port)) or self._start(host, port)
        poll.register(lookup.over, select.POLLIN)
        try:
            over = yield min(until, time.monotonic() + HEAD_START) if known else until
            if not (over or known):
                raise Unconnected("connect_timeout")
        finally:
            poll.unregister(lookup.over)
        if not (lookup.addresses or known):
            raise Unconnected("unresolved")
        return lookup.addresses or known

    def _start(self, host: str, port: int) -> _Lookup:
        lookup = self._lookups[host, port] = _Lookup()
        threading.Thread(target=self._look_up, args=(host, port, lookup), name="names", daemon=True).start()
        return lookup

    def _look_up(self, host: str, port: int, lookup: _Lookup) -> None:
        try:
            lookup.addresses = _taken(self._ask(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError):
            pass  # it has no addresses, or nobody can say
        with self._lock:
            del self._lookups[host, port]
            if lookup.addresses:
                self._known[host, port] = time.monotonic(), lookup.addresses
        os.eventfd_write(lookup.over, 1)


NAMES: Final = Names()
"""This process's."""


def connected(addresses: list[Address], poll: select.poll, until: float) -> Steps[socket.socket]:
    """The first connection that stands; it does not block. Raises Unconnected."""
    left, trying = list(addresses), dict[int, socket.socket]()
    next_try = 0.0
    try:
        while True:
            if left and (not trying or time.monotonic() >= next_try):
                _try(left.pop(0), trying, poll)
                next_try = time.monotonic() + HEAD_START
            if trying:
                ready = yield min(until, next_try) if left else until
                for descriptor in ready:
                    found = trying.pop(descriptor)
                    poll.unregister(descriptor)
                    if found.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                        return found
                    found.close()
            if not (trying or left):
                raise Unconnected("refused")
            if time.monotonic() >= until:
                raise Unconnected("connect_timeout")
    finally:
        for descriptor, given_up in trying.items():
            poll.unregister(descriptor)
            given_up.close()


def _try(address: Address, trying: dict[int, socket.socket], poll: select.poll) -> None:
    try:
        made = socket.socket(address[0], socket.SOCK_STREAM)
    except OSError:
        return  # a family that this machine does not have
    made.setblocking(False)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if made.connect_ex(address[1]) in _UNDER_WAY:
        trying[made.fileno()] = made
        poll.register(made, select.POLLOUT)
    else:
        made.close()


def secured(
    plain: socket.socket, host: str, context: ssl.SSLContext, poll: select.poll, until: float
) -> Steps[ssl.SSLSocket]:
    """TLS with a host whose certificate is good. Raises Unconnected; the connection is closed then."""
    made = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False, suppress_ragged_eofs=False)
    try:
        while (events := _shake_hands(made)) is not None:
            poll.register(made, events)
            try:
                if not (yield until):
                    raise Unconnected("connect_timeout")
            finally:
                poll.unregister(made)
    except BaseException:
        made.close()
        raise
    return made


def _shake_hands(made: ssl.SSLSocket) -> int | None:
    """What the handshake waits for; None: it is done."""
    try:
        made.do_handshake()
    except ssl.SSLWantReadError:
        return select.POLLIN
    except ssl.SSLWantWriteError:
        return select.POLLOUT
    except ssl.SSLCertVerificationError:
        raise Unconnected("certificate") from None
    except OSError:
        raise Unconnected("tls") from None
    return None


@cache
def trusting() -> ssl.SSLContext:
    """Trusts whom this machine trusts (SSL_CERT_FILE, SSL_CERT_DIR). Made once: it reads many certificates."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _taken(found: list[Any]) -> list[Address]:
    return [(entry[0], entry[4]) for entry in found]
