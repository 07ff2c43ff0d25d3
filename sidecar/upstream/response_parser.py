"""An answer as it is read from the upstream: pure, and whole only when its framing says so. The parser is llhttp.

What real servers send and every client takes is taken: lines that end with LF alone, and a length beside a chunked
body, which is not heeded (RFC 9112, 2.2 and 6.3). The connection is not used again after the latter, nor after an
answer to HEAD, or a 204 or 304 that names a length: some servers send that body.
"""

from __future__ import annotations

from typing import Final

import httptools

from sidecar.http.content import media_type
from sidecar.http.messages import Headers, Response, first

LARGEST_HEAD: Final = 256 * 1024
_FRAMING: Final = {len(name): name for name in ("content-length", "transfer-encoding")}
"""By their lengths, which most other names do not have."""


class Malformed(Exception):
    """This is no HTTP."""


class Reading:
    """Fed with the bytes of one answer, in any pieces. Interim (1xx) answers are passed over."""

    __slots__ = (
        "_chunks",
        "_coded",
        "_framing",
        "_head",
        "_headers",
        "_parser",
        "_room",
        "begun",
        "complete",
        "kept",
        "size",
        "status",
    )

    def __init__(self, *, head: bool) -> None:
        """`head`: it answers a HEAD, and has no body."""
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(lenient_chunked_length=True, lenient_optional_cr_before_lf=True)
        self._head = head
        self.size = 0
        """Bytes of its body so far."""
        self._room = LARGEST_HEAD
        self._headers: Headers = []
        self._chunks: list[bytes] = []
        self._framing: set[str] = set()
        self._coded = False
        self.begun = False
        """A byte of it is there."""
        self.status: int | None = None
        """Once its head is there."""
        self.complete = False
        self.kept = False
        """Of a complete answer: the next one can follow on its connection, and nothing follows already."""

    def feed(self, data: bytes) -> None:
        """Raises Malformed; the answer is then lost."""
        self.begun = True
        if self.status is None:
            self._room -= len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.kept = False
            if not self.complete:
                raise Malformed(str(error)) from None
        if self._coded:
            raise Malformed("a transfer coding that nobody asked for")
        if self.status is None and self._room < 0:
            raise Malformed("its head does not end")

    def end(self) -> bool:
        """The connection has ended: so has an answer that does not say how long it is. Whether it is complete."""
        self.complete |= self.status is not None and not self._framing
        self.kept = False
        return self.complete

    def response(self) -> Response:
        """Of a complete answer; of one that is not, what is there."""
        assert self.status is not None
        return Response(self.status, self._headers, b"".join(self._chunks))

    def head(self) -> Response:
        """The same without its body."""
        assert self.status is not None
        return Response(self.status, self._headers)

    def media_type(self) -> str:
        """Of an answer whose head is there; empty: it names none."""
        return media_type(first(self._headers, "content-type")) or ""

    def length(self) -> int | None:
        """Bytes that its body will have, if its head says so."""
        said = first(self._headers, "content-length")
        return int(said) if self._framing == {"content-length"} and said is not None and said.isdecimal() else None

    def take(self) -> list[bytes]:
        """What has come of its body since the last time, and is held here no more: the parser and this hold each other
        until garbage is collected, which may be long."""
        taken, self._chunks = self._chunks, []
        return taken

    # What the parser calls -------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.complete:
            self.kept = False  # something follows that nobody has asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status is not None:
            return  # a trailer
        text = name.decode("latin-1")
        self._headers.append((text, value.strip(b" \t").decode("latin-1")))
        if len(text) in _FRAMING and (lower := text.lower()) in _FRAMING.values():
            self._framing.add(lower)
            self._coded |= lower == "transfer-encoding" and value.strip().lower() != b"chunked"

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._headers, self._framing = [], set()
            return
        self.status = status
        if self._head:
            self.complete, self.kept = True, self._may_be_kept()

    def on_body(self, chunk: bytes) -> None:
        if self.complete:
            self.kept = False
            return
        self.size += len(chunk)
        self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        if self.status is not None and not self.complete:
            self.complete, self.kept = True, self._may_be_kept()

    def _may_be_kept(self) -> bool:
        """A body that may not be there, and is announced, may yet come: it would be the next one's answer."""
        if self._head or (self.status in (204, 304) and self._framing):
            return False
        return bool(self._parser.should_keep_alive()) and len(self._framing) < 2
