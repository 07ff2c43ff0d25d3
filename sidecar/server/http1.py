"""A client's connection on the event loop: requests in, one at a time and whole; answers out, in their order.

Nothing is asked of the application before a request is whole, and nothing of a next one before the last is answered:
what a client sends ahead waits in its connection. Slow and silent clients cost memory alone, and of that there is a
bound: a head, a body and the taking of an answer each have their time, and where a worker holds too much, who has
waited longest for their client makes room (server/clients.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, cast

from sidecar.http.headers import wants_close
from sidecar.http.messages import Cut, PassedOnBody, Request, Response
from sidecar.http.problem import phrase, problem
from sidecar.http.spooled_body import IN_MEMORY, PIECE, Spool
from sidecar.server.client_socket import ClientSocket
from sidecar.server.clients import LEAST_RATE, Clients
from sidecar.server.framing import Admitted, Limits, Refusal, admitted, too_large
from sidecar.server.request_parser import CUT_SHORT, END, Head, Malformed, RequestParser, Why
from sidecar.storage.off_loop import NeedsDatabase

log = logging.getLogger(__name__)
AHEAD: Final = 64 * 1024
"""Bytes that are taken of what a client sends ahead of its turn."""
AT_A_TIME: Final = 500
"""Pieces of a body that are taken before others have their turn."""
IN_ONE_PIECE: Final = 64 * 1024
"""Bytes of a body up to which it is put together with its head: two pieces would wake the client twice."""
GO_ON: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
Arrived = Request | Refusal
"""A whole request; or why what came is none that goes further."""


@dataclass(slots=True)
class Reply:
    """What the client is told. `close`: its connection serves no more."""

    response: Response
    close: bool = False


class Application(Protocol):
    """What is served."""

    def answer(self, head: Head, arrived: Arrived, client: Http1) -> Awaitable[Reply]:
        """The answer to a request, or to what turned out to be none after its head."""

    def refuse(self, why: Why, head: bytes, remote: str) -> Awaitable[Response]:
        """The answer to what is no request. `head`: what came of it; `remote`: the peer's address."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What all connections of a worker have in common. Times in seconds."""

    application: Application
    limits: Limits
    folder: Path
    """Where large bodies are spooled."""
    body_timeout: float
    """In which so much of a body must come as LEAST_RATE says, again and again."""
    write_timeout: float
    at_end: Callable[[], Awaitable[None]]
    """What is done on the loop once all clients have left."""


class Http1(asyncio.Protocol):
    """One connection."""

    __slots__ = (
        "_admitted", "_body", "_ended", "_head", "_parser", "_paused", "_request", "_room", "_serving", "_size",
        "_size_before", "_spool", "_spooling", "_task", "_transport", "_turn", "clients", "closing", "due", "noted",
        "owed", "phase", "remote", "socket", "when_lost",
    )  # fmt: skip

    def __init__(self, serving: Serving, clients: Clients) -> None:
        self._serving = serving
        self.clients = clients
        self._parser = RequestParser(serving.limits.max_head, serving.limits.max_fields)
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        """Answers the request that is whole."""
        self._spooling: asyncio.Task[None] | None = None
        self._admitted: Admitted | None = None
        """The request before."""
        self._paused = False
        self._ended = False
        """The client has closed its half."""
        self._room: asyncio.Future[None] | None = None
        """Done when the client has taken what was written of an answer that is passed on."""
        self._turn: asyncio.Handle | None = None
        """More of what has come is looked at when others have had theirs."""
        self.closing = False
        self.noted = 0
        """What of `held` was noted last."""
        self.owed = 0
        """Bytes that the client had yet to take, when that was last looked at."""
        self.due = 0.0
        self.phase: str | None = None
        """What is waited for: kept by `clients`, with the time at which it is `due`."""
        self.remote = ""
        self.when_lost: Callable[[], None] | None = None
        """Hears that nobody can be told anything."""
        self._reset()

    def _reset(self) -> None:
        self._head: Head | None = None
        self._request: Request | None = None
        self._body = bytearray()
        """What is in memory of its body, however small the pieces in which it came."""
        self._spool: Spool | None = None
        self._size = self._size_before = 0
        """Bytes of its body so far, and when that was last looked at."""

    # What the transport calls ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by name
        peer = transport.get_extra_info("peername")
        self.remote = str(peer[0]) if peer else ""
        self.socket = ClientSocket(transport.get_extra_info("socket"))
        self._transport.set_write_buffer_limits(0)  # whatever the client does not take at once is owed
        self.clients.add(self)
        self.clients.wait("head", self)

    def data_received(self, data: bytes) -> None:
        if self.closing:  # closed before it has sent all of it, a client may not read why
            return
        self._parser.feed(data)
        if self._is_busy:
            if self._parser.held > AHEAD:
                self._pause()
            return
        self._advance()

    def eof_received(self) -> bool:
        """True: an answer may yet be owed, and the other half stays open."""
        self._ended = True
        self._parser.end()
        if self.closing:
            return self.owes
        if not self._is_busy:
            self._advance()
        return not self.is_gone

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self._wake()
        self.clients.remove(self)
        if self.when_lost is not None:
            self.when_lost()
        if self._head is not None:  # in the middle of a body, which is recorded
            self._arrived(Refusal(*CUT_SHORT))

    def pause_writing(self) -> None:
        """More of an answer waits for the client than the kernel takes."""
        self.clients.owe(self)

    def resume_writing(self) -> None:
        self.clients.settle(self)
        self._wake()
        if self.closing:
            self._shut()
        elif self._task is None:
            self._advance()

    def _wake(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    # Of the client ---------------------------------------------------------------------------------------------------

    @property
    def is_gone(self) -> bool:
        """Whether nobody can be told anything."""
        return self._transport is None or self._transport.is_closing()

    @property
    def owes(self) -> bool:
        """Whether some of an answer waits here for the client."""
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    @property
    def held(self) -> int:
        """Bytes in memory of what it has sent."""
        return self._parser.held + len(self._body)

    @property
    def come(self) -> int:
        """Bytes of its body since it is waited for."""
        return self._size - self._size_before

    @property
    def _is_busy(self) -> bool:
        """Whether something has to come before more of what has come is looked at."""
        return self._task is not None or self._spooling is not None or self._turn is not None

    @property
    def to_take(self) -> int:
        """Bytes of answers that it has yet to take, also from the kernel."""
        if self._transport is None:
            return 0
        return self._transport.get_write_buffer_size() + self.socket.on_its_way()

    async def has_left(self) -> bool:
        """Whether the client has gone. One that has closed its half alone still takes the answer."""
        if self.is_gone:
            return True
        if not self._ended or self._parser.held or self.owes:
            return False
        return not await self.socket.still_takes()

    def abort(self) -> None:
        """Ends the connection at once; what is left of an answer must not look like its end."""
        if self._transport is not None:
            if self.owes:
                self.socket.reset_at_close()
            self._transport.abort()

    def is_late(self) -> None:
        """What is waited for has not come in its time."""
        if self.phase == "head" and self._parser.begun:
            self._refuse((408, "head_too_slow", "The head of the request took too long."))
        elif self.phase == "body":
            enough = self.come >= LEAST_RATE * self._serving.body_timeout
            self._size_before = self._size
            if enough:
                self.clients.wait("body", self)
            else:
                self._arrived(Refusal(*CUT_SHORT))
        else:
            self.abort()

    # A request, as it arrives ----------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Reads on, until something has to come first, or a request is whole."""
        if self.owes:  # one answer after the other
            return
        left = AT_A_TIME
        try:
            while not self._is_busy and not self.closing:
                if left == 0:
                    self._pause()
                    self._turn = asyncio.get_running_loop().call_soon(self._go_on)
                    break
                left -= 1
                event = self._parser.next()
                if event is None:
                    break
                if isinstance(event, Head):
                    self._begin(event)
                elif event is END:
                    self._whole()
                else:
                    self._take(cast("bytes", event))
        except Malformed as error:
            if self._head is None:
                self._refuse(error.why)
            else:
                self._arrived(Refusal(*error.why))
        except Refusal as refusal:
            self._arrived(refusal)
        else:
            if not self._is_busy and not self.closing:
                self._wait()

    def _go_on(self) -> None:
        """Others have had their turn."""
        self._turn = None
        if not self._is_busy and not self.is_gone:
            self._advance()

    def _wait(self) -> None:
        """For the client."""
        if self._ended:
            self.abort()
        elif self._head is not None:
            if self.phase != "body":
                self.clients.wait("body", self)
        elif self._parser.begun and self.phase != "head":
            self.clients.wait("head", self)
        elif self.phase is None:
            self.clients.wait("idle", self)
        if self._paused and not self.is_gone:
            self._paused = False
            cast("asyncio.Transport", self._transport).resume_reading()
        if self.held or self.noted:
            self.clients.note_held(self)

    def _begin(self, head: Head) -> None:
        """A head is there: whether its body is waited for. Raises Refusal."""
        self._head = head
        self.clients.leave(self)
        self._admitted = admitted(head, self.remote, self._serving.limits, self._admitted)
        self._request = self._admitted.request
        if head.expects and head.length != 0 and not self._parser.held and self._transport is not None:
            self._transport.write(GO_ON)

    def _take(self, piece: bytes) -> None:
        """A piece of a body. Raises Refusal."""
        assert self._head is not None
        self._size += len(piece)
        if self._size > self._serving.limits.max_body:
            raise too_large(self._serving.limits)
        self._body += piece
        expected = self._size if self._head.length is None else self._head.length
        if expected > IN_MEMORY and (self._spool is None or len(self._body) >= 4 * PIECE):
            self._spool_some()

    def _spool_some(self, then_whole: bool = False) -> None:
        """Has a thread write what has come of a large body; the client waits meanwhile."""
        self._pause()
        come, self._body = self._body, bytearray()
        self._spooling = asyncio.get_running_loop().create_task(self._spooled(come, then_whole))

    async def _spooled(self, come: bytearray, then_whole: bool) -> None:
        def write() -> Spool:
            spool = self._spool or Spool(self._serving.folder)
            spool.write(come)
            return spool

        refusal = None
        try:
            self._spool = await asyncio.get_running_loop().run_in_executor(None, write)
        except OSError:
            refusal = Refusal(503, "no_room", "There is no room to take a body of this size.")
        self._spooling = None
        if refusal is not None:
            self._arrived(refusal)
        elif then_whole:
            self._whole()
        else:
            self._advance()

    def _whole(self) -> None:
        """The request is there."""
        request = self._request
        assert request is not None
        if self._spool is not None and self._body:
            self._spool_some(then_whole=True)
            return
        request.body, request.spool = bytes(self._body), self._spool
        self._arrived(request)

    def _pause(self) -> None:
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    # Answers ---------------------------------------------------------------------------------------------------------

    def _arrived(self, arrived: Arrived) -> None:
        head = self._head
        assert head is not None
        self._reset()
        if self._spooling is not None:  # it is given up
            self._spooling.cancel()
            self._spooling = None
        self.clients.leave(self)
        if self.noted:
            self.clients.note_held(self)
        self._task = asyncio.get_running_loop().create_task(self._answer(head, arrived))

    async def _answer(self, head: Head, arrived: Arrived) -> None:
        try:
            reply = await self._serving.application.answer(head, arrived, self)
        except (Exception, NeedsDatabase):
            log.exception("Error handling request")
            reply = Reply(_plainly(500, "Understudy failed to handle this request."), close=True)
        close = reply.close or isinstance(arrived, Refusal) or self.clients.ending or wants_close_of(head, arrived)
        try:
            if reply.response.passed_on is not None:
                close = not await self._pass_on(head, reply.response, reply.response.passed_on, close) or close
            else:
                close = not self._say(head, reply.response, close) or close
        except Exception:
            log.exception("an answer broke off", extra={"fields": {"event.action": "answer_broke"}})
            self.abort()
        self._task = None
        if close:
            self._close()
        elif not self.is_gone:
            self._advance()

    async def _pass_on(self, head: Head, response: Response, body: PassedOnBody, close: bool) -> bool:
        """An answer whose body is passed on as it comes, no faster than the client takes it. Whether the connection
        serves more: an answer of which neither side can say where it ends, ends with it."""
        chunked = body.size is None and head.version != "HTTP/1.0"
        ends_it = body.size is None and not chunked
        try:
            if chunked:
                response.headers.append(("Transfer-Encoding", "chunked"))
            self._write(self._head_of(response, close or ends_it), b"")
            async for piece in body.pieces():
                if self.is_gone:
                    return False
                self._write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece, b"")
                await self._taken()
            self._write(b"0\r\n\r\n" if chunked else b"", b"")
        except Cut:
            self.socket.reset_at_close()  # it must not look like its end
            self.abort()
        finally:
            body.close()
        return not ends_it and not self.is_gone

    async def _taken(self) -> None:
        """Once the client has taken what was written, or is gone."""
        while self.owes and not self.is_gone:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def _refuse(self, why: Why) -> None:
        """Of what is no request, which ends the connection."""
        head = self._parser.head_so_far()
        log.warning("Invalid request from ip=%s: %s", self.remote, why[1])
        self.clients.leave(self)
        self._task = asyncio.get_running_loop().create_task(self._refused(why, head))

    async def _refused(self, why: Why, head: bytes) -> None:
        try:
            response = await self._serving.application.refuse(why, head, self.remote)
        except (Exception, NeedsDatabase):
            log.exception("Error handling request")
            response = _plainly(500, "Understudy failed to handle this request.")
        self._say(None, response, close=True)
        self._task = None
        self._close()

    def _say(self, head: Head | None, response: Response, close: bool) -> bool:
        """Whether that is what the client is told; else that it cannot be said, and the connection is to be closed."""
        try:
            said = self._head_of(response, close)
        except ValueError:
            log.exception("an answer cannot be written", extra={"fields": {"event.action": "answer_broke"}})
            response = _plainly(500, "Understudy failed to handle this request.")
            self._write(self._head_of(response, close=True), response.body)
            return False
        bare = response.status in (204, 304) or (head is not None and head.method == "HEAD")
        self._write(said, b"" if bare else response.body)
        return True

    def _write(self, head: bytes, body: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        head, self.socket.ahead = head[self.socket.ahead :], 0
        if len(body) > IN_ONE_PIECE:
            self._transport.writelines((head, body))
        else:
            self._transport.write(head + body)

    def _head_of(self, response: Response, close: bool) -> bytes:
        """Raises ValueError: a field that cannot be written."""
        lines = [
            f"HTTP/1.1 {response.status} {phrase(response.status)}",
            "Server: understudy",
            f"Date: {self.clients.date}",
            "Connection: close" if close else "Connection: keep-alive",
        ]
        lines += [f"{name}: {value}" for name, value in response.headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _close(self) -> None:
        """Serves nothing more, and closes the connection once its last answer was taken."""
        self.closing = True
        if not self.owes:
            self._shut()

    def _shut(self) -> None:
        """Closes our half; closed at once, with bytes unread, it would take the answer back."""
        if self.is_gone:
            return
        transport = cast("asyncio.Transport", self._transport)
        if self._ended:
            transport.close()
            return
        transport.write_eof()
        if self._paused:
            self._paused = False
            transport.resume_reading()
        self.clients.wait("closing", self)


def wants_close_of(head: Head, arrived: Arrived) -> bool:
    """Whether the client's own words end its connection."""
    said = next((value for name, value in head.headers if name.lower() == "connection"), "").strip().lower()
    if said == "keep-alive":
        return False
    return head.version == "HTTP/1.0" or said == "close" or (isinstance(arrived, Request) and wants_close(arrived))


def _plainly(status: int, detail: str) -> Response:
    """For an answer that is not recorded."""
    response = problem(status, detail)
    response.headers.append(("Content-Length", str(len(response.body))))
    return response
