"""From an upstream's address to a connection: names, addresses (RFC 8305), TLS. Nothing here holds up the loop."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from typing import Any, Final, TypeVar

P = TypeVar("P", bound=asyncio.BaseProtocol)
Address = tuple[socket.AddressFamily, Any]
HEAD_START: Final = 0.25
"""Seconds that one address is tried alone before the next is tried beside it (RFC 8305, 5), and that a name server has
before the addresses known before are tried."""


class Unconnected(Exception):
    """Nothing was sent, and why: refused, unresolved, connect_timeout, certificate, tls or fenced."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


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
        self._lookups: dict[tuple[str, int], Future[list[Address]]] = {}

    async def addresses(self, host: str, port: int, until: float) -> list[Address]:
        """In the order in which to try them; `until`: of time.monotonic(). Raises Unconnected."""
        try:
            return _taken(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
        except socket.gaierror:
            pass  # a name
        with self._lock:
            since, known = self._known.get((host, port), (0.0, []))
            if known and time.monotonic() - since < self._kept:
                return known
            lookup = self._lookups.get((host, port)) or self._start(host, port)
        left = until - time.monotonic()
        answered = asyncio.wrap_future(lookup)
        found, _ = await asyncio.wait([answered], timeout=min(left, HEAD_START) if known else left)
        if not (found or known):
            raise Unconnected("connect_timeout")
        addresses = (answered.result() if found else None) or known
        if not addresses:
            raise Unconnected("unresolved")
        return addresses

    def _start(self, host: str, port: int) -> Future[list[Address]]:
        lookup: Future[list[Address]] = Future()
        self._lookups[host, port] = lookup
        threading.Thread(target=self._look_up, args=(host, port, lookup), name="names", daemon=True).start()
        return lookup

    def _look_up(self, host: str, port: int, lookup: Future[list[Address]]) -> None:
        addresses: list[Address] = []
        try:
            addresses = _taken(self._ask(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError):
            pass  # it has no addresses, or nobody can say
        with self._lock:
            del self._lookups[host, port]
            if addresses:
                self._known[host, port] = time.monotonic(), addresses
        lookup.set_result(addresses)


NAMES: Final = Names()
"""This process's."""


async def connected(addresses: list[Address], until: float) -> socket.socket:
    """The first connection that stands, by `until` of time.monotonic(). Raises Unconnected."""
    left, trying = list(addresses), set[asyncio.Task[socket.socket]]()
    try:
        while left or trying:
            if left:
                trying.add(asyncio.create_task(_connect(left.pop(0))))
            patience = until - time.monotonic()
            ended, trying = await asyncio.wait(
                trying, timeout=min(HEAD_START, patience) if left else patience, return_when=asyncio.FIRST_COMPLETED
            )
            for attempt in ended:
                if attempt.exception() is None:
                    return attempt.result()
            if time.monotonic() >= until and not ended:
                raise Unconnected("connect_timeout")
    finally:
        for attempt in trying:
            attempt.cancel()
    raise Unconnected("refused")


async def _connect(address: Address) -> socket.socket:
    """Raises OSError."""
    made = socket.socket(address[0], socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(made, address[1])
    except BaseException:
        made.close()
        raise
    return made


async def spoken(
    made: socket.socket, protocol: Callable[[], P], host: str, context: ssl.SSLContext | None, until: float
) -> P:
    """The protocol on the connection, over TLS with a host whose certificate is good if there is a `context`. Raises
    Unconnected; the connection is closed then."""
    loop = asyncio.get_running_loop()
    if context is None:
        return (await loop.create_connection(protocol, sock=made))[1]
    try:
        patience = max(0.001, until - time.monotonic())
        secured = loop.create_connection(
            protocol, sock=made, ssl=context, server_hostname=host, ssl_handshake_timeout=patience + 1
        )
        return (await asyncio.wait_for(secured, patience))[1]
    except TimeoutError:
        raise Unconnected("connect_timeout") from None
    except ssl.SSLCertVerificationError:
        raise Unconnected("certificate") from None
    except OSError:
        raise Unconnected("tls") from None


@cache
def trusting() -> ssl.SSLContext:
    """Trusts whom this machine trusts (SSL_CERT_FILE, SSL_CERT_DIR). Made once: it reads many certificates."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _taken(found: list[Any]) -> list[Address]:
    return [(entry[0], entry[4]) for entry in found]
