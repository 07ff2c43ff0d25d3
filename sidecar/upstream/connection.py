"""Calls on the wire: connections to one upstream on the event loop, kept between calls that may be repeated.

Promises: the target's bytes, the fields and the body go out as given; nothing is decoded or followed. A request that
must not be repeated always gets a connection of its own, which is closed after it, and is sent once. A repeatable one
goes out on a kept connection, and once more on a new one where that had died before a byte of the answer. Every call
comes to its end, which is told once.

So no more connections are kept than calls were in flight at once, and none for longer than REST: an upstream may have
one worker for each.
"""

from __future__ import annotations

import asyncio
import logging
import select
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import urlsplit

from sidecar.exchange import Attempt, Outcome
from sidecar.http.content import LARGEST_KEPT
from sidecar.http.messages import Headers, Response, SpooledBody
from sidecar.upstream.dialer import NAMES, Names, Unconnected, connected, spoken, trusting
from sidecar.upstream.passing_on import PassingOn
from sidecar.upstream.response_parser import Malformed, Reading

log = logging.getLogger(__name__)
REST: Final = 60.0
"""Seconds after which a connection that was not used is closed."""
IN_FLOW: Final = 1.0
"""Seconds after its head in which an answer that is not passed on yet is expected to be whole."""
_PASSED_ON: Final = (200, 203, 206)
_EVENTS: Final = "text/event-stream"
_WITH_BODY: Final = frozenset(("POST", "PUT", "PATCH"))


@dataclass(slots=True)
class Patience:
    """Whether an answer may be passed on before it is whole: a good one that is too large to learn from, or one that
    tells of events; and once it is `over`, one that is still coming IN_FLOW after its head."""

    over: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """What to send: fields include Host; `repeatable` says whether sending it twice changes nothing.

    `fence` is asked, in a thread, when the connection stands and the first byte is next: False, and nothing is sent.
    """

    method: str
    target: str
    headers: Headers
    body: bytes = b""
    repeatable: bool = False
    fence: Callable[[], bool] | None = None
    spool: SpooledBody | None = None
    """The body, where it is too large for memory."""
    patience: Patience | None = None
    """For the whole of its answer; None: without end."""


Sent = tuple[Attempt, Response | None]
"""The attempt's outcome is success for any whole answer (its worth is judged elsewhere), failure when nothing was
sent, unknown when something was sent and no whole answer came."""
Done = Callable[[Sent], None]


class Connections:
    """Calls one upstream. All of it runs on one loop."""

    def __init__(
        self, base: str, *, connect_timeout: float, timeout: float, max_answer: int,
        host: str | None = None, names: Names = NAMES, trust: Callable[[], ssl.SSLContext] = trusting,
        rest: float = REST,
    ) -> None:  # fmt: skip
        """Times in seconds, `max_answer` in bytes of a body. `host`: the Host of every call; None: each call's own."""
        parts = urlsplit(base)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port or (443 if self._secure else 80)
        self._authority = parts.netloc.rpartition("@")[2]
        self._told = host
        self._prefix = parts.path.rstrip("/")
        self._connect_timeout = connect_timeout
        self.timeout = timeout
        """Seconds."""
        self._max_answer = max_answer
        self._names, self._trust = names, trust
        self._longest_rest = rest
        self._kept: list[_Connection] = []
        """At rest; the one used last, which is the freshest, is taken first."""
        self._looking: asyncio.TimerHandle | None = None
        """Will close the one that has rested longest."""
        self._opening: set[asyncio.Task[None]] = set()

    def start(self, call: Call, done: Done) -> None:
        """Begins the call; `done` hears of its end, also after any exception."""
        under_way = _UnderWay(call, done, self.timeout)
        kept = self._take_kept() if call.repeatable else None
        if kept is not None:
            kept.begin(under_way)
        else:
            self._open(under_way)

    async def send(self, call: Call) -> Sent:
        """Makes the call, to its end."""
        ended: asyncio.Future[Sent] = asyncio.get_running_loop().create_future()
        self.start(call, lambda sent: None if ended.done() else ended.set_result(sent))
        return await ended

    def close(self) -> None:
        """Closes what is at rest; what is under way is cut off."""
        for opening in self._opening:
            opening.cancel()
        if self._looking is not None:
            self._looking.cancel()
        while self._kept:
            self._kept.pop().abort()

    # Of the connections -----------------------------------------------------------------------------------------------

    def keep(self, connection: _Connection) -> None:
        """It has nothing to do, and may be used again."""
        connection.rests_since = time.monotonic()
        self._kept.append(connection)
        if self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(self._longest_rest, self._close_rested)

    def has_rested(self, connection: _Connection) -> bool:
        """Whether it was not used for too long."""
        return time.monotonic() - connection.rests_since >= self._longest_rest

    def forget(self, connection: _Connection) -> None:
        """It cannot be used again."""
        if connection in self._kept:
            self._kept.remove(connection)

    def again(self, under_way: _UnderWay) -> None:
        """The kept connection had died before a byte of the answer."""
        self._open(under_way)

    def too_much(self, reading: Reading) -> bool:
        """Whether more has come of an answer than is ever held."""
        return reading.size > self._max_answer

    def passes_on(self, reading: Reading, patience: Patience, since: float) -> bool:
        """Whether what has come of an answer, its head since so many seconds, is passed on now."""
        if reading.status not in _PASSED_ON:
            return False
        kind = reading.media_type()
        if kind == _EVENTS or (patience.over and since > IN_FLOW):
            return True
        return reading.size > (self._max_answer if kind.endswith("json") else min(LARGEST_KEPT, self._max_answer))

    def head(self, call: Call, size: int) -> bytes:
        """The call's head on the wire."""
        lines = [f"{call.method} {self._prefix}{call.target} HTTP/1.1"]
        given = {name.lower() for name, _ in call.headers}
        if self._told is not None or "host" not in given:
            lines.append(f"Host: {self._told or self._authority}")
        lines += [f"{name}: {value}" for name, value in call.headers if self._told is None or name.lower() != "host"]
        if "content-length" not in given and (size or call.method in _WITH_BODY):
            lines.append(f"Content-Length: {size}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _close_rested(self) -> None:
        self._looking = None
        while self._kept and self.has_rested(self._kept[0]):
            self._kept.pop(0).abort()
        if self._kept:
            left = self._kept[0].rests_since + self._longest_rest - time.monotonic()
            self._looking = asyncio.get_running_loop().call_later(max(0.0, left), self._close_rested)

    def _take_kept(self) -> _Connection | None:
        while self._kept:
            connection = self._kept.pop()
            if connection.is_open():
                return connection
            connection.abort()
        return None

    def _open(self, under_way: _UnderWay) -> None:
        opening = asyncio.get_running_loop().create_task(self._opened(under_way))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _opened(self, under_way: _UnderWay) -> None:
        connection = None
        try:
            connection = await self._connect(under_way.until)
            fence = under_way.call.fence
            if fence is not None and not await asyncio.get_running_loop().run_in_executor(None, fence):
                raise Unconnected("fenced")
            connection.begin(under_way)
            connection = None
        except Unconnected as error:
            under_way.end(Outcome.FAILURE, None, error.word)
        except Exception:
            log.exception("a call to the upstream broke", extra={"fields": {"event.action": "upstream_broke"}})
            under_way.end(Outcome.UNKNOWN, None, "broken")
        except asyncio.CancelledError:
            under_way.end(Outcome.UNKNOWN, None, "broken")
            raise
        finally:
            if connection is not None:
                connection.abort()

    async def _connect(self, until: float) -> _Connection:
        until = min(until, time.monotonic() + self._connect_timeout)
        addresses = await self._names.addresses(self._host, self._port, until)
        made = await connected(addresses, until)
        context = self._trust() if self._secure else None
        return await spoken(made, lambda: _Connection(self), self._host, context, until)


class _UnderWay:
    """A call that has begun. Times of time.monotonic()."""

    __slots__ = ("_clock", "_done", "_started", "call", "until")

    def __init__(self, call: Call, done: Done, timeout: float) -> None:
        self.call = call
        self._done: Done | None = done
        self._started, self._clock = time.time_ns(), time.monotonic_ns()
        self.until = time.monotonic() + timeout

    def end(self, outcome: Outcome, status: int | None, word: str | None, response: Response | None = None) -> None:
        """Tells what came of it, the first time."""
        done, self._done = self._done, None
        if done is not None:
            done((Attempt(self._started, time.monotonic_ns() - self._clock, outcome, status, word), response))


class _Connection(asyncio.Protocol):
    """One connection, with one call at a time."""

    __slots__ = (
        "_headed",
        "_owner",
        "_passing",
        "_poll",
        "_pump",
        "_reading",
        "_room",
        "_timer",
        "_transport",
        "_used",
        "_way",
        "rests_since",
    )

    def __init__(self, owner: Connections) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._way: _UnderWay | None = None
        self._reading: Reading | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pump: asyncio.Task[None] | None = None
        """Sends a body that is not in memory."""
        self._room: asyncio.Event | None = None
        """Set while the upstream takes more of such a body."""
        self._passing: PassingOn | None = None
        """Takes what comes of an answer that is passed on."""
        self._headed = 0.0
        """When its answer's head had come."""
        self._used = False
        """It has carried a call before."""
        self.rests_since = 0.0

    def is_open(self) -> bool:
        """Whether it can be used: the upstream has not ended it, and said nothing unasked, up to this moment."""
        return (
            self._transport is not None
            and not self._transport.is_closing()
            and not self._owner.has_rested(self)
            and not self._poll.poll(0)
        )

    def begin(self, under_way: _UnderWay) -> None:
        """Sends a call. Raises what its fields cannot be written with."""
        assert self._transport is not None
        call = under_way.call
        head = self._owner.head(call, len(call.body) if call.spool is None else call.spool.size)
        self._way, self._reading, self._headed = under_way, Reading(head=call.method == "HEAD"), 0.0
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.0, under_way.until - time.monotonic()), self._lost, "timeout")
        self._transport.write(head + call.body)
        if call.spool is not None:
            self._room = asyncio.Event()
            self._room.set()
            self._pump = loop.create_task(self._send(call.spool))

    def abort(self) -> None:
        """Closes it, whatever is on its way."""
        if self._transport is not None:
            self._transport.abort()

    async def _send(self, spool: SpooledBody) -> None:
        assert self._room is not None
        assert self._transport is not None
        pieces, loop = iter(spool.pieces()), asyncio.get_running_loop()
        try:
            while piece := await loop.run_in_executor(None, next, pieces, b""):
                await self._room.wait()
                self._transport.write(piece)
        except OSError:
            self._lost("broken")

    # What the transport calls ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by name
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def pause_writing(self) -> None:
        if self._room is not None:
            self._room.clear()

    def resume_writing(self) -> None:
        if self._room is not None:
            self._room.set()

    def data_received(self, data: bytes) -> None:
        reading = self._reading
        if reading is None:  # nobody has asked
            self._owner.forget(self)
            self.abort()
            return
        try:
            reading.feed(data)
        except Malformed:
            self._lost("broken")
        else:
            if self._passing is not None:
                self._passing.add(reading.take())
            elif reading.status is not None and (not reading.complete or self._owner.too_much(reading)):
                self._in_part(reading)
            if reading.complete and self._way is not None:
                self._answered()

    def eof_received(self) -> None:
        self._owner.forget(self)
        if self._reading is not None:
            if self._was_cut():
                self._gone("reset")
            elif self._reading.end():
                self._answered()
            else:
                self._gone("truncated" if self._reading.begun else "closed")

    def connection_lost(self, error: Exception | None) -> None:
        self._owner.forget(self)
        if self._way is not None:
            assert self._transport is not None
            cut = error is not None or self._transport.get_extra_info("ssl_object") is not None
            self._gone("reset" if cut else "closed")
        self._transport = None

    def _in_part(self, reading: Reading) -> None:
        """Some of an answer is there: whether it is passed on as it comes, or is more than may be held."""
        way, now = self._way, time.monotonic()
        assert way is not None
        self._headed = self._headed or now
        patience = way.call.patience
        if patience is not None and self._owner.passes_on(reading, patience, now - self._headed):
            self._pass_on(way, reading)
        elif self._owner.too_much(reading):
            self._lost("too_large")

    def _pass_on(self, way: _UnderWay, reading: Reading) -> None:
        transport = self._transport
        assert transport is not None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        passing = PassingOn(
            reading.length(), self._owner.timeout,
            pause=transport.pause_reading, resume=transport.resume_reading, cut=self._cut,
        )  # fmt: skip
        passing.add(reading.take())
        self._passing, answer = passing, reading.head()
        answer.passed_on = passing
        way.end(Outcome.SUCCESS, reading.status, None, answer)

    def _cut(self) -> None:
        """Nobody takes the rest of what is passed on, or it does not come."""
        if self._way is not None:
            self._rest()
        self.abort()

    # What becomes of the call ----------------------------------------------------------------------------------------

    def _was_cut(self) -> bool:
        """Whether a secured connection ended without the end that TLS tells: anybody on the way can do that."""
        assert self._transport is not None
        secured = self._transport.get_extra_info("ssl_object")
        if secured is None:
            return False
        try:
            return bool(secured.read(1))
        except ssl.SSLZeroReturnError:
            return False
        except (ssl.SSLError, OSError):
            return True

    def _answered(self) -> None:
        reading, whole = self._reading, self._pump is None or self._pump.done()
        assert reading is not None
        assert self._transport is not None
        whole = whole and self._transport.get_write_buffer_size() == 0
        passing = self._passing
        response = reading.response() if passing is None else None
        way = self._rest()
        reusable = way.call.repeatable and reading.kept and whole and passing is None
        if reusable and not self._transport.is_closing():
            self._used = True
            self._owner.keep(self)
        else:
            self.abort()
        if passing is not None:
            passing.end(None)
        else:
            way.end(Outcome.SUCCESS, reading.status, None, response)

    def _gone(self, word: str) -> None:
        """The upstream, or the way to it, has ended the connection."""
        if self._used and self._reading is not None and not self._reading.begun:
            way = self._rest()
            self.abort()
            self._owner.again(way)
        else:
            self._lost("truncated" if word == "closed" and self._reading and self._reading.begun else word)

    def _lost(self, word: str) -> None:
        """Something was sent, and no whole answer came."""
        status = self._reading.status if self._reading is not None else None
        passing, way = self._passing, self._rest()
        self.abort()
        if passing is not None:
            passing.end(word)
        else:
            way.end(Outcome.UNKNOWN, status, word)

    def _rest(self) -> _UnderWay:
        """Leaves the call: a connection at rest holds no bodies."""
        way = self._way
        assert way is not None
        if self._reading is not None:
            self._reading.take()
        self._way = self._reading = self._room = self._passing = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pump is not None:
            self._pump.cancel()
            self._pump = None
        return way
