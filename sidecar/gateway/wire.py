"""One call on the wire: a pycurl handle kept by one thread, its connection kept alive between calls.

Promises: the target's bytes, the fields and the body go out as given; nothing is decoded, followed or sent a second
time by the library. libcurl re-sends a request whose kept-alive connection died before an answer, so a request that
must not be repeated always gets a connection of its own.
"""

from __future__ import annotations

import time
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


@dataclass(frozen=True, slots=True)
class Call:
    """What to send: fields include Host; `repeatable` says whether sending it twice changes nothing."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""
    repeatable: bool = False
    spool: Spool | None = None
    """The body, where it is too large for memory."""


class Wire:
    """Calls one upstream, one at a time. Not shared between threads."""

    def __init__(self, base: str, *, connect_timeout: float, timeout: float, max_answer: int) -> None:
        parts = urlsplit(base)
        self._base = base
        self._prefix = parts.path.rstrip("/")
        self._connect_ms = max(1, int(connect_timeout * 1000))
        self._timeout_ms = max(1, int(timeout * 1000))
        self._max_answer = max_answer
        self._curl = pycurl.Curl()

    def close(self) -> None:
        self._curl.close()

    def send(self, call: Call) -> tuple[Attempt, Response | None]:
        """Sends the call and waits for its whole answer.

        The attempt's outcome is success for any whole answer (its worth is judged elsewhere), failure when nothing was
        sent, unknown when something was sent and no whole answer came.
        """
        answer = _Answer(self._max_answer)
        try:
            return self._perform(call, answer)
        finally:
            self._curl.reset()  # lets go of the bodies; the connection stays

    def _perform(self, call: Call, answer: _Answer) -> tuple[Attempt, Response | None]:
        self._prepare(call, answer)
        started, clock = time.time_ns(), time.monotonic_ns()
        try:
            self._curl.perform()
        except pycurl.error as error:
            number = error.args[0]
            unsent = number in _NOT_SENT or self._never_connected(number)
            outcome = Outcome.FAILURE if unsent else Outcome.UNKNOWN
            word = (
                "connect_timeout" if unsent and number == pycurl.E_OPERATION_TIMEDOUT else _WORDS.get(number, "broken")
            )
            return Attempt(started, time.monotonic_ns() - clock, outcome, answer.status, word), None
        response = Response(answer.status or 0, answer.headers, b"".join(answer.chunks))
        return Attempt(started, time.monotonic_ns() - clock, Outcome.SUCCESS, response.status), response

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


class _Answer:
    """Collects an answer as libcurl hands it over; interim (1xx) answers are forgotten when the next one begins."""

    __slots__ = ("chunks", "headers", "left", "status")

    def __init__(self, limit: int) -> None:
        self.status: int | None = None
        self.headers: Headers = []
        self.chunks: list[bytes] = []
        self.left = limit

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


def _field(name: str, value: str) -> bytes:
    return f"{name}: {value}".encode("latin-1") if value else f"{name};".encode("latin-1")
