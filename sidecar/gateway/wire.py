"""One call on the wire: a pycurl handle in one thread's hands at a time, its connection kept alive between calls.

A call under way can change hands: who waits for it works on it (`go_on`) as long as they care to, and another thread
goes on where they left it. Promises: the target's bytes, the fields and the body go out as given; nothing is decoded,
followed or sent a second time by the library. libcurl re-sends a request whose kept-alive connection died before an
answer, so a request that must not be repeated always gets a connection of its own.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import pycurl

from sidecar.gateway.exchange import Attempt, Headers, Outcome, Response
from sidecar.gateway.spool import Spool

_NOT_SENT: Final = frozenset(
    (pycurl.E_COULDNT_CONNECT, pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_SSL_CONNECT_ERROR)
    + (pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_COULDNT_RESOLVE_PROXY)
)
_WORDS: Final = {
    pycurl.E_COULDNT_CONNECT: "refused",
    pycurl.E_COULDNT_RESOLVE_HOST: "unresolved",
    pycurl.E_OPERATION_TIMEDOUT: "timeout",
    pycurl.E_RECV_ERROR: "reset",
    pycurl.E_SEND_ERROR: "reset",
    pycurl.E_GOT_NOTHING: "closed",
    pycurl.E_PARTIAL_FILE: "truncated",
    pycurl.E_WRITE_ERROR: "too_large",
    pycurl.E_SSL_CONNECT_ERROR: "tls",
    pycurl.E_PEER_FAILED_VERIFICATION: "certificate",
}
_WAITS: Final = {
    pycurl.POLL_NONE: 0,
    pycurl.POLL_IN: select.POLLIN,
    pycurl.POLL_OUT: select.POLLOUT,
    pycurl.POLL_INOUT: select.POLLIN | select.POLLOUT,
}


@dataclass(frozen=True, slots=True)
class Call:
    """What to send: fields include Host; `repeatable` says whether sending it twice changes nothing.

    `fence` is asked when the connection stands and the first byte is next: False, and nothing is sent.
    """

    method: str
    target: str
    headers: Headers
    body: bytes = b""
    repeatable: bool = False
    fence: Callable[[], bool] | None = None
    spool: Spool | None = None
    """The body, where it is too large for memory."""


class Wire:
    """Calls one upstream, one call at a time."""

    def __init__(self, base: str, *, connect_timeout: float, timeout: float, max_answer: int) -> None:
        parts = urlsplit(base)
        self._base = base
        self._prefix = parts.path.rstrip("/")
        self._connect_ms = max(1, int(connect_timeout * 1000))
        self._timeout_ms = max(1, int(timeout * 1000))
        self._max_answer = max_answer
        self._curl = pycurl.Curl()
        self._sockets = select.poll()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._running = 0

    def close(self) -> None:
        self._curl.close()
        self._multi.close()

    def send(self, call: Call) -> tuple[Attempt, Response | None]:
        """Sends the call and waits for its whole answer: `begin`, and `go_on` to the end."""
        self.begin(call)
        sent = self.go_on()
        assert sent is not None
        return sent

    def begin(self, call: Call) -> None:
        """Starts the call: what can be sent at once is sent."""
        self._answer = _Answer(self._max_answer)
        self._prepare(call, self._answer)
        self._started, self._clock = time.time_ns(), time.monotonic_ns()
        self._multi.add_handle(self._curl)
        _, self._running = self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)

    def go_on(self, until: float | None = None) -> tuple[Attempt, Response | None] | None:
        """Works on the call to its end; None: it is still under way at `until`, of time.monotonic().

        The attempt's outcome is success for any whole answer (its worth is judged elsewhere), failure when nothing was
        sent, unknown when something was sent and no whole answer came.
        """
        while self._running:
            left = None if until is None else (until - time.monotonic()) * 1000
            if left is not None and left <= 0:
                return None
            self._step(left)
        try:
            return self._end()
        finally:
            self._multi.remove_handle(self._curl)
            self._curl.reset()  # lets go of the bodies; the connection stays
            del self._answer

    def _end(self) -> tuple[Attempt, Response | None]:
        took, answer = time.monotonic_ns() - self._clock, self._answer
        _, _, failed = self._multi.info_read()
        if not failed:
            response = Response(answer.status or 0, answer.headers, b"".join(answer.chunks))
            return Attempt(self._started, took, Outcome.SUCCESS, response.status), response
        number = failed[0][1]
        if answer.fenced:
            return Attempt(self._started, took, Outcome.FAILURE, None, "fenced"), None
        unsent = number in _NOT_SENT or self._never_connected(number)
        outcome = Outcome.FAILURE if unsent else Outcome.UNKNOWN
        word = "connect_timeout" if unsent and number == pycurl.E_OPERATION_TIMEDOUT else _WORDS.get(number, "broken")
        return Attempt(self._started, took, outcome, answer.status, word), None

    def _step(self, left: float | None) -> None:
        """Waits for the connection or for a time of libcurl's own, for `left` milliseconds at the most."""
        due = self._multi.timeout()
        ready = self._sockets.poll(left if due < 0 else due if left is None else min(left, due))
        for descriptor, events in ready:
            _, self._running = self._multi.socket_action(descriptor, _happened(events))
        if not ready:
            _, self._running = self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)

    def _watch(self, what: int, descriptor: int, _multi: object, _data: object) -> None:
        """libcurl says which connection it waits for, and what for."""
        if what == pycurl.POLL_REMOVE:
            self._sockets.unregister(descriptor)
        else:
            self._sockets.register(descriptor, _WAITS[what])

    def _never_connected(self, number: int) -> bool:
        return bool(number == pycurl.E_OPERATION_TIMEDOUT and self._curl.getinfo(pycurl.PRETRANSFER_TIME) == 0)

    def _prepare(self, call: Call, answer: _Answer) -> None:
        curl = self._curl
        curl.setopt(pycurl.URL, self._base)
        curl.setopt(pycurl.REQUEST_TARGET, (self._prefix + call.target).encode("latin-1"))
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.PROXY, "")
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, self._connect_ms)
        curl.setopt(pycurl.TIMEOUT_MS, self._timeout_ms)
        curl.setopt(pycurl.HEADERFUNCTION, answer.header)
        curl.setopt(pycurl.WRITEFUNCTION, answer.write)
        fields = [_field(name, value) for name, value in call.headers]
        if call.spool is not None:
            source = _Source(call.spool)
            curl.setopt(pycurl.POST, 1)
            curl.setopt(pycurl.POSTFIELDSIZE_LARGE, call.spool.size)
            curl.setopt(pycurl.READFUNCTION, source.read)
            curl.setopt(pycurl.SEEKFUNCTION, source.seek)
            fields += [b"Expect:"]
        elif call.body or call.method in ("POST", "PUT", "PATCH"):
            curl.setopt(pycurl.POST, 1)
            curl.setopt(pycurl.POSTFIELDSIZE_LARGE, len(call.body))
            curl.setopt(pycurl.POSTFIELDS, call.body)
            fields += [b"Expect:"]
        if call.method == "HEAD":
            curl.setopt(pycurl.NOBODY, 1)
        else:
            curl.setopt(pycurl.CUSTOMREQUEST, call.method)
        sent = {name.lower() for name, _ in call.headers}
        fields += [
            name.encode() + b":" for name in ("Accept", "User-Agent", "Content-Type") if name.lower() not in sent
        ]
        curl.setopt(pycurl.HTTPHEADER, fields)
        if not call.repeatable:
            curl.setopt(pycurl.FRESH_CONNECT, 1)
        if call.fence is not None:
            curl.setopt(pycurl.PREREQFUNCTION, answer.gate(call.fence))


class _Answer:
    """Collects an answer as libcurl hands it over; interim (1xx) answers are forgotten when the next one begins."""

    __slots__ = ("chunks", "fenced", "headers", "left", "status")

    def __init__(self, limit: int) -> None:
        self.status: int | None = None
        self.headers: Headers = []
        self.chunks: list[bytes] = []
        self.left = limit
        self.fenced = False

    def gate(self, fence: Callable[[], bool]) -> Callable[..., int]:
        """libcurl's question before the first byte."""

        def may(*_addresses: object) -> int:
            self.fenced = not fence()
            return int(pycurl.PREREQFUNC_ABORT if self.fenced else pycurl.PREREQFUNC_OK)

        return may

    def header(self, line: bytes) -> None:
        text = line.decode("latin-1").rstrip("\r\n")
        if text.startswith("HTTP/"):
            self.status, self.headers, self.chunks = int(text.split()[1]), [], []
        elif text:
            name, _, value = text.partition(":")
            self.headers.append((name, value.strip()))

    def write(self, chunk: bytes) -> int:
        self.left -= len(chunk)
        if self.left < 0:
            return 0  # libcurl takes it for a write error and ends the call
        self.chunks.append(chunk)
        return len(chunk)


class _Source:
    """A spooled body as libcurl reads it: from the start again when it has to send it on another connection."""

    __slots__ = ("_at", "_spool")

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._at = 0

    def read(self, size: int) -> bytes:
        piece = self._spool.read(self._at, size)
        self._at += len(piece)
        return piece

    def seek(self, offset: int, _origin: int) -> int:
        """libcurl seeks from the start only."""
        self._at = offset
        return int(pycurl.SEEKFUNC_OK)


def _happened(events: int) -> int:
    """What poll saw, in libcurl's words: a connection that broke can be read, and says so."""
    read = pycurl.CSELECT_IN if events & ~select.POLLOUT else 0
    return int(read | (pycurl.CSELECT_OUT if events & select.POLLOUT else 0))


def _field(name: str, value: str) -> bytes:
    return f"{name}: {value}".encode("latin-1") if value else f"{name};".encode("latin-1")
