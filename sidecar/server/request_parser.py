# pure
"""A client's bytes, read as HTTP/1.1 requests (RFC 9112): what is not certain is refused, and nothing is mended.

Fed with bytes in any pieces, asked for one event at a time: what was sent ahead of its turn stays as it is. The grammar
is that of the RFCs with nothing lenient in it. llhttp was tried for it and knows only registered methods; it reads the
upstream's answers (upstream/response_parser.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from sidecar.http.messages import Headers

Why = tuple[int, str, str]
"""What is wrong: the status of the refusal, the reason in one word, and a sentence for the client."""
TOO_LARGE: Final[Why] = (431, "head_too_large", "The head of the request is too large, or has too many fields.")
BAD_HEAD: Final[Why] = (400, "bad_head", "The head of the request is malformed.")
BAD_BODY: Final[Why] = (400, "bad_framing", "The body is malformed.")
CUT_SHORT: Final[Why] = (400, "client_aborted", "The body ended before its end was announced.")
EXPECTATION: Final[Why] = (417, "expectation", "The only expectation that is met is 100-continue.")
LONGEST_LINE: Final = 8190
"""Bytes of a chunk's size with its extensions."""
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED: Final = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_LINE: Final = re.compile(rb"([!$%&'*+\-.^_`|~0-9A-Z]{3,20}) ([\x21-\x7e]+) HTTP/1\.([0-9])")
_FIELD: Final = re.compile(rb"(" + _TOKEN + rb"):([^\x00-\x08\x0a-\x1f\x7f]*)")
_CHUNK: Final = re.compile(
    rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[ \t]*" + _TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*"
)
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_NOT_IN_TRAILERS: Final = frozenset(("host", "content-length", "transfer-encoding", "trailer", "authorization", "te"))
"""Fields that would change routing, framing or who it is (RFC 9110, 6.5.1)."""
_ONCE: Final = ("content-length", "content-type", "transfer-encoding")
"""Of which a second would leave it open what is meant. Host is looked at with what it says."""


class Malformed(Exception):
    """This is no request, or none that is taken; nothing that follows it is looked at."""

    def __init__(self, why: Why) -> None:
        super().__init__(why[1])
        self.why = why


@dataclass(slots=True)
class Head:
    """A request's head. `length`: bytes of the body, None: chunked. `raw`: its bytes. The fields are not to be changed:
    the next head of the connection may have the same."""

    method: str
    target: str
    version: str
    headers: Headers
    length: int | None
    raw: bytes = field(repr=False)
    expects: bool = False
    """The client waits to be told to go on."""


class End:
    """The body is whole."""


END: Final = End()
Event = Head | bytes | End


class RequestParser:
    """Of one connection."""

    __slots__ = (
        "_ahead", "_block", "_buffer", "_fields", "_framed",
        "_largest", "_left", "_most", "_phase", "_scanned", "_trailers",
        "ended",
    )  # fmt: skip

    def __init__(self, largest_head: int, most_fields: int) -> None:
        """`largest_head`: bytes."""
        self._largest, self._most = largest_head, most_fields
        self._buffer = bytearray()
        self._scanned = 0
        self._phase = "head"
        self._left = 0
        self._ahead = False
        """An empty line before the head was passed over."""
        self._trailers = 0
        self._framed: tuple[bytes, int | None, bool] | None = None
        self._block, self._fields = b"", list[tuple[str, str]]()
        """The fields of the last head, and what they were read as: most connections say the same each time."""
        self.ended = False
        """The client will send no more."""

    def feed(self, data: bytes) -> None:
        """More has come."""
        self._buffer += data

    def end(self) -> None:
        """No more will come."""
        self.ended = True

    @property
    def held(self) -> int:
        """Bytes that have come and are not read yet."""
        return len(self._buffer)

    @property
    def begun(self) -> bool:
        """Whether anything of a head is there."""
        return self._ahead or bool(self._buffer)

    def head_so_far(self) -> bytes:
        """What has come of a head that is not read."""
        return bytes(self._buffer[: self._largest])

    def next(self) -> Event | None:
        """The next event; None: more has to come first. Raises Malformed."""
        if self._phase == "head":
            return self._head()
        event = self._piece() if self._phase == "length" else self._chunked()
        if event is None and self.ended:
            raise Malformed(CUT_SHORT)
        return event

    def _head(self) -> Head | None:
        buffer = self._buffer
        if not self._ahead and buffer[:2] == b"\r\n":  # one empty line is passed over (RFC 9112, 2.2)
            del buffer[:2]
            self._ahead = True
        end = buffer.find(b"\r\n\r\n", max(0, self._scanned - 3))
        if end > self._largest or (end < 0 and len(buffer) > self._largest):
            raise Malformed(TOO_LARGE)
        if buffer[:2] == b"\r\n" or (end < 0 and _BARE_LF.search(buffer, self._scanned)):
            raise Malformed(BAD_HEAD)  # of a whole head each line is looked at, and more of another would be in vain
        if end < 0:
            self._scanned = len(buffer)
            return None
        raw = bytes(buffer[: end + 4])
        head = self._read(raw, end)
        del buffer[: end + 4]
        self._scanned, self._ahead = 0, False
        self._phase, self._left = ("size", 0) if head.length is None else ("length", head.length)
        return head

    def _read(self, raw: bytes, end: int) -> Head:
        line_end = raw.find(b"\r\n")
        line = _LINE.fullmatch(raw, 0, line_end)
        if line is None:
            raise Malformed(BAD_HEAD)
        block = raw[line_end + 2 : end]
        if block != self._block:
            self._fields, self._block = fields_of(block, self._most), block
            self._framed = None
        method, target, minor = line.groups()
        if self._framed is None or self._framed[0] != minor:
            self._framed = minor, *_framing(self._fields, minor)
        _, length, expects = self._framed
        return Head(
            method.decode("ascii"), target.decode("ascii"), f"HTTP/1.{minor.decode()}", self._fields, length, raw,
            expects,
        )  # fmt: skip

    def _piece(self) -> bytes | End | None:
        if self._left == 0:
            self._phase = "head"
            return END
        if not self._buffer:
            return None
        piece = bytes(self._buffer[: self._left])
        del self._buffer[: self._left]
        self._left -= len(piece)
        return piece

    def _chunked(self) -> bytes | End | None:
        buffer = self._buffer
        while True:
            if self._phase == "chunk":
                if self._left and buffer:
                    piece = bytes(buffer[: self._left])
                    del buffer[: self._left]
                    self._left -= len(piece)
                    return piece
                if self._left or len(buffer) < 2:
                    if not self._left and buffer and buffer[0] != 13:
                        raise Malformed(BAD_BODY)
                    return None
                if buffer[:2] != b"\r\n":
                    raise Malformed(BAD_BODY)
                del buffer[:2]
                self._phase = "size"
            line = self._line()
            if line is None:
                return None
            if self._phase == "trailers":
                if not line:
                    self._phase, self._trailers = "head", 0
                    return END
                self._trailer(line)
                continue
            size = _CHUNK.fullmatch(line)
            if size is None:
                raise Malformed(BAD_BODY)
            self._left = int(size[1], 16)
            self._phase = "chunk" if self._left else "trailers"

    def _line(self) -> bytes | None:
        """The next line of what frames a body, without its end."""
        buffer = self._buffer
        end = buffer.find(b"\n")
        if end < 0:
            if len(buffer) > LONGEST_LINE:
                raise Malformed(BAD_BODY)
            return None
        if end > LONGEST_LINE or end == 0 or buffer[end - 1] != 13:
            raise Malformed(BAD_BODY)
        line = bytes(buffer[: end - 1])
        del buffer[: end + 1]
        return line

    def _trailer(self, line: bytes) -> None:
        """Trailers are read, and go no further."""
        self._trailers += len(line) + 2
        if self._trailers > self._largest:
            raise Malformed(TOO_LARGE)
        found = _FIELD.fullmatch(line)
        if found is None or found[1].decode("ascii").lower() in _NOT_IN_TRAILERS:
            raise Malformed(BAD_BODY)


def fields_of(block: bytes, most: int) -> Headers:
    """The fields of a head, in order. Those with an underscore in their names are dropped: some take it for a hyphen.
    Raises Malformed."""
    if not block:
        return []
    lines = block.split(b"\r\n")
    if len(lines) > most:
        raise Malformed(TOO_LARGE)
    fields = []
    for line in lines:
        found = _FIELD.fullmatch(line)
        if found is None:
            raise Malformed(BAD_HEAD)
        name = found[1].decode("ascii")
        if "_" not in name:
            fields.append((name, found[2].strip(b" \t").decode("latin-1")))
    return fields


def _framing(fields: Headers, minor: bytes) -> tuple[int | None, bool]:
    """How long the body is (None: chunked), and whether the client waits to be told to go on. Raises Malformed."""
    length: int | None = 0
    expects, seen = False, set[str]()
    for name, value in fields:
        lower = name.lower()
        if lower in _ONCE:
            if lower in seen:
                raise Malformed(BAD_HEAD)
            seen.add(lower)
            if lower == "content-length":
                if not (value.isascii() and value.isdecimal() and len(value) <= 18):
                    raise Malformed((400, "bad_framing", "Content-Length is not one number."))
                length = int(value)
            elif lower == "transfer-encoding":
                if value.lower() != "chunked":
                    raise Malformed((501, "bad_framing", "The only transfer coding taken is chunked."))
                if minor == b"0":
                    raise Malformed((400, "bad_framing", "HTTP/1.0 has no transfer codings."))
        elif lower == "expect":
            if value.lower() != "100-continue":
                raise Malformed(EXPECTATION)
            expects = minor != b"0"
    if "transfer-encoding" in seen:
        if "content-length" in seen:
            raise Malformed((400, "bad_framing", "Content-Length and Transfer-Encoding exclude each other."))
        length = None
    return length, expects
