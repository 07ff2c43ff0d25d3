"""One call on the wire: a connection in one thread's hands at a time, kept alive between calls.

A call under way can change hands: who waits for it works on it (`go_on`) as long as they care to, and another thread
goes on where they left it. Promises: the target's bytes, the fields and the body go out as given; nothing is decoded
or followed. A request that must not be repeated always gets a connection of its own, and is sent once. A repeatable
one goes out on the kept connection, and once more on a new one where that had died before a byte of the answer.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from sidecar.exchange import Attempt, Outcome
from sidecar.http.messages import Headers, Response, SpooledBody
from sidecar.http.spooled_body import PIECE
from sidecar.upstream.dialer import NAMES, Names, Steps, Unconnected, connected, secured, trusting
from sidecar.upstream.response_parser import Malformed, Reading, TooLarge

REST: Final = 60.0
"""Seconds after which a connection that was not used is not used again."""
_NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_WITH_BODY: Final = frozenset(("POST", "PUT", "PATCH"))


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
    spool: SpooledBody | None = None
    """The body, where it is too large for memory."""


Sent = tuple[Attempt, Response | None]


class _Lost(Exception):
    """Something was sent, and no whole answer came: reset, closed, truncated, timeout, too_large or broken."""

    def __init__(self, word: str, reading: Reading, *, heard: bool = True) -> None:
        super().__init__(word)
        self.word, self.status, self.heard = word, reading.status, heard


class Wire:
    """Calls one upstream, one call at a time."""

    def __init__(
        self, base: str, *, connect_timeout: float, timeout: float, max_answer: int,
        host: str | None = None, names: Names = NAMES, trust: Callable[[], ssl.SSLContext] = trusting,
    ) -> None:  # fmt: skip
        """Times in seconds, `max_answer` in bytes of a body. `host`: the Host of every call; None: each call's own."""
        parts = urlsplit(base)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port or (443 if self._secure else 80)
        self._authority = parts.netloc.rpartition("@")[2]
        self._told = host
        self._prefix = parts.path.rstrip("/")
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._max_answer = max_answer
        self._names, self._trust = names, trust
        self._poll = select.poll()
        self._socket: socket.socket | None = None
        self._rests_since = 0.0

    def close(self) -> None:
        if self._socket is not None:
            self._poll.unregister(self._socket)
            self._socket.close()
            self._socket = None

    def send(self, call: Call) -> Sent:
        """Sends the call and waits for its whole answer: `begin`, and `go_on` to the end."""
        self.begin(call)
        sent = self.go_on()
        assert sent is not None
        return sent

    def begin(self, call: Call) -> None:
        """Starts the call: what can be sent at once is sent."""
        self._started, self._clock = time.time_ns(), time.monotonic_ns()
        self._steps = self._exchange(call, time.monotonic() + self._timeout)
        self._sent: Sent | None = None
        self._advance(None)

    def go_on(self, until: float | None = None) -> Sent | None:
        """Works on the call to its end; None: it is still under way at `until`, of time.monotonic().

        The attempt's outcome is success for any whole answer (its worth is judged elsewhere), failure when nothing was
        sent, unknown when something was sent and no whole answer came.
        """
        while self._sent is None:
            now = time.monotonic()
            if until is not None and now >= until:
                return None
            due = self._due if until is None else min(until, self._due)
            ready = self._poll.poll(max(0.0, due - now) * 1000)
            if ready or time.monotonic() >= self._due:
                self._advance([descriptor for descriptor, _ in ready])
        sent = self._sent
        del self._steps, self._sent  # a wire at rest holds no bodies
        return sent

    def _advance(self, ready: list[int] | None) -> None:
        try:
            self._due = self._steps.send(ready)  # type: ignore[arg-type]  # None starts them
        except StopIteration as end:
            self._sent = end.value

    def _exchange(self, call: Call, until: float) -> Steps[Sent]:
        reading, kept = None, False
        try:
            if call.repeatable and self._is_open():
                try:
                    reading, kept = yield from self._ask(call, until)
                except _Lost as lost:
                    if lost.heard:
                        raise
            if reading is None:
                yield from self._connect(until)
                reading, kept = yield from self._ask(call, until)
            return self._attempt(Outcome.SUCCESS, reading.status), reading.response()
        except Unconnected as error:
            return self._attempt(Outcome.FAILURE, None, error.word), None
        except _Lost as lost:
            return self._attempt(Outcome.UNKNOWN, lost.status, lost.word), None
        finally:
            self._rests_since = time.monotonic()
            if not kept:
                self.close()

    def _attempt(self, outcome: Outcome, status: int | None, word: str | None = None) -> Attempt:
        return Attempt(self._started, time.monotonic_ns() - self._clock, outcome, status, word)

    # The connection --------------------------------------------------------------------------------------------------

    def _is_open(self) -> bool:
        """Whether the kept connection can be used: it is not old, the upstream has not ended it, and said nothing."""
        if self._socket is None or time.monotonic() - self._rests_since > REST:
            return False
        if not self._poll.poll(0):
            return True
        try:
            self._socket.recv(1)
        except _NOT_NOW:
            return True  # TLS had something to say, to itself
        except OSError:
            return False
        return False

    def _connect(self, until: float) -> Steps[None]:
        self.close()
        until = min(until, time.monotonic() + self._connect_timeout)
        addresses = yield from self._names.addresses(self._host, self._port, self._poll, until)
        made = yield from connected(addresses, self._poll, until)
        if self._secure:
            made = yield from secured(made, self._host, self._trust(), self._poll, until)
        self._socket = made
        self._poll.register(made, select.POLLIN)

    # What goes over it -----------------------------------------------------------------------------------------------

    def _ask(self, call: Call, until: float) -> Steps[tuple[Reading, bool]]:
        """The answer, and whether the connection can be used again. Raises _Lost, Unconnected."""
        if call.fence is not None and not call.fence():
            raise Unconnected("fenced")
        reading = Reading(head=call.method == "HEAD", limit=self._max_answer)
        whole = True
        for piece in self._pieces(call):
            whole = yield from self._put(piece, reading, until)
            if not whole:
                break
        while not reading.complete:
            if not (yield until):
                raise _Lost("timeout", reading)
            self._take(reading)
        return reading, whole and reading.kept

    def _put(self, piece: bytes, reading: Reading, until: float) -> Steps[bool]:
        """Sends a piece. False: the upstream has answered before it had all, or takes no more."""
        assert self._socket is not None
        rest = memoryview(piece)
        while True:
            try:
                rest = rest[self._socket.send(rest) :]
            except _NOT_NOW:
                pass
            except OSError:
                return False  # what it said before that can be read
            if not rest:
                return True
            self._poll.modify(self._socket, select.POLLIN | select.POLLOUT)
            try:
                if not (yield until):
                    raise _Lost("timeout", reading)
            finally:
                self._poll.modify(self._socket, select.POLLIN)
            self._take(reading)
            if reading.complete:
                return False

    def _take(self, reading: Reading) -> None:
        """Reads what has come."""
        assert self._socket is not None
        while not reading.complete:
            try:
                data = self._socket.recv(PIECE)
            except _NOT_NOW:
                return
            except OSError:
                raise _Lost("reset", reading, heard=reading.begun) from None
            if not data:
                if reading.end():
                    return
                raise _Lost("truncated" if reading.begun else "closed", reading, heard=reading.begun)
            try:
                reading.feed(data)
            except TooLarge:
                raise _Lost("too_large", reading) from None
            except Malformed:
                raise _Lost("broken", reading) from None

    def _pieces(self, call: Call) -> Iterator[bytes]:
        """The request's bytes."""
        if call.spool is None:
            yield self._head(call, len(call.body)) + call.body
        else:
            yield self._head(call, call.spool.size)
            yield from call.spool.pieces()

    def _head(self, call: Call, size: int) -> bytes:
        lines = [f"{call.method} {self._prefix}{call.target} HTTP/1.1"]
        given = {name.lower() for name, _ in call.headers}
        if self._told is not None or "host" not in given:
            lines.append(f"Host: {self._told or self._authority}")
        lines += [f"{name}: {value}" for name, value in call.headers if self._told is None or name.lower() != "host"]
        if "content-length" not in given and (size or call.method in _WITH_BODY):
            lines.append(f"Content-Length: {size}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
