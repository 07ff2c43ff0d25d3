"""From what gunicorn hands over to a whole Request, or a Refusal: a request whose end is not certain goes no further.

gunicorn ≥ 27 checks much and leaves the rest to the application: a body cut short of its Content-Length reads as if it
were whole, a second read of a bad chunked body returns the part received, Host is not checked, and only the raw target
is byte-exact. So the body is counted, never read on after an error, and the target is taken raw.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from sidecar.http.credentials import TwoAuthorizations, canonical_authorization
from sidecar.http.forwarded import hops, scheme_and_host
from sidecar.http.headers import MARKS
from sidecar.http.messages import Headers, Request, first
from sidecar.http.spooled_body import IN_MEMORY, PIECE, Spool
from sidecar.settings import Networks, within

_HOST: Final = re.compile(
    r"(?:\[[0-9A-Fa-f:.]{2,45}\]|(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})+)(?::[0-9]{0,5})?", re.ASCII
)
_TARGET: Final = re.compile(r"/[\x21\x22\x24-\x7e]*", re.ASCII)


@dataclass(frozen=True)
class Refusal(Exception):
    """We answer this request ourselves and close the connection. `reason` is one word for the record."""

    status: int
    reason: str
    detail: str


PATIENCE: Final = 2.0
"""Seconds that a body may always take."""


class BodyWatch:
    """Ends reads of bodies that take too long: a thread blocked in recv cannot look at the clock itself.

    While more than `room` threads read bodies, those that have read longest have taken too long.
    """

    def __init__(self, timeout: float, room: int) -> None:
        self._timeout = timeout
        self._room = room
        self._reading: dict[int, tuple[socket.socket, float]] = {}
        self._lock = threading.Lock()

    def start(self, connection: socket.socket) -> int:
        key = id(connection)
        with self._lock:
            self._reading[key] = (connection, time.monotonic() + self._timeout)
        return key

    def end(self, key: int) -> None:
        with self._lock:
            self._reading.pop(key, None)

    def tick(self) -> None:
        """Shuts the reading side of connections past their time; the reader then sees a body cut short."""
        now = time.monotonic()
        with self._lock:
            reading = sorted(self._reading.values(), key=lambda read: read[1])
            crowding = len(reading) - self._room
            late = [
                connection
                for place, (connection, deadline) in enumerate(reading)
                if deadline < now or (place < crowding and deadline - self._timeout + PATIENCE < now)
            ]
        for connection in late:
            try:
                connection.shutdown(socket.SHUT_RD)
            except OSError:
                continue  # the client has gone by itself


def received(environ: Mapping[str, Any], raw: Any) -> tuple[str, Headers]:
    """The raw target and the fields as received. `raw` is gunicorn's request: the environ joins and drops fields."""
    if raw is not None:
        return str(raw.uri), [(_title(name), value) for name, value in raw.headers]
    fields = [(_title(key[5:].replace("_", "-")), value) for key, value in environ.items() if key.startswith("HTTP_")]
    for key, name in (("CONTENT_TYPE", "Content-Type"), ("CONTENT_LENGTH", "Content-Length")):
        if environ.get(key):
            fields.append((name, environ[key]))
    return str(environ.get("RAW_URI") or environ["PATH_INFO"]), fields


_METHOD: Final = re.compile(r"[A-Z]{3,20}", re.ASCII)
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}", re.ASCII)
GLIMPSED: Final = (200, 8192, 2048)
"""Fields, bytes of a field and bytes of a target that are looked at in what is no request."""


def glimpse(head: bytes) -> tuple[str, str, Headers]:
    """Method, target and fields of what is refused as no request, as far as they can be told; what is none of these is
    not told: it may be anything, also a part of a body."""
    fields, longest, target_end = GLIMPSED
    lines = head.decode("latin-1").removeprefix("\r\n").split("\r\n")
    method, _, rest = lines[0].partition(" ")
    target = rest.partition(" ")[0]
    if len(target) > target_end:
        target = target.partition("?")[0][:target_end]
    if not _METHOD.fullmatch(method) or not _TARGET.fullmatch(target):
        method, target = "-", "-"
    pairs = [line.partition(":") for line in lines[1 : fields + 1]]
    return (
        method,
        target,
        [
            (_title(name), value.strip())
            for name, colon, value in pairs
            if colon and _NAME.fullmatch(name) and len(value) <= longest and value.isprintable()
        ],
    )


def read_request(
    environ: Mapping[str, Any], target: str, headers: Headers, *, max_target: int, max_body: int, folder: Path,
    trusted: Networks, watch: BodyWatch,
) -> Request:  # fmt: skip
    """The whole request. Raises Refusal for one that is malformed, too large, or cut short. Large bodies are spooled
    to a file without a name in `folder`."""
    if len(target) > max_target:
        raise Refusal(414, "target_too_long", f"The target is longer than {max_target} bytes.")
    host = _host(headers, str(environ.get("SERVER_PROTOCOL", "HTTP/1.1")))
    target = _origin_form(target, host, str(environ["REQUEST_METHOD"]))
    try:
        headers = canonical_authorization(headers)
    except TwoAuthorizations as error:
        raise Refusal(400, "two_authorizations", str(error)) from None
    body, spool = _body(environ, headers, max_body, folder, watch)
    request = Request(
        method=str(environ["REQUEST_METHOD"]),
        target=target,
        headers=headers,
        body=body,
        remote=str(environ.get("REMOTE_ADDR", "")),
        scheme=str(environ.get("wsgi.url_scheme", "http")),
        host=host,
        version=str(environ.get("SERVER_PROTOCOL", "HTTP/1.1")),
        spool=spool,
    )
    _heed_proxies(request, trusted)
    return request


def _host(headers: Headers, version: str) -> str:
    given = [value for name, value in headers if name.lower() == "host"]
    if not given and version == "HTTP/1.0":
        return ""
    if len(given) != 1:
        raise Refusal(400, "bad_host", "The request needs exactly one Host field.")
    host = given[0]
    if not _HOST.fullmatch(host):
        raise Refusal(400, "bad_host", "The Host field is not a host and an optional port.")
    name, _, port = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "")
    if port and int(port) > 65535:
        raise Refusal(400, "bad_host", "The Host field's port is above 65535.")
    if name.startswith("["):
        try:
            ipaddress.IPv6Address(name[1:-1])
        except ValueError:
            raise Refusal(400, "bad_host", "The Host field is not a valid IPv6 address.") from None
    return host


def _origin_form(target: str, host: str, method: str) -> str:
    if method == "CONNECT":
        raise Refusal(400, "bad_target", "CONNECT is not served here.")
    if target == "*" and method == "OPTIONS":
        return target
    if target.lower().startswith(("http://", "https://")):
        authority, rest = urlsplit(target).netloc, target.split("//", 1)[1]
        if authority.lower() != host.lower():
            raise Refusal(400, "bad_target", "The target's authority and the Host field differ.")
        target = rest[len(authority) :]
        target = target if target.startswith("/") else "/" + target
    if not _TARGET.fullmatch(target):
        raise Refusal(400, "bad_target", "The request target is malformed.")
    return target


def _body(
    environ: Mapping[str, Any], headers: Headers, max_body: int, folder: Path, watch: BodyWatch
) -> tuple[bytes, Spool | None]:
    coding, length = first(headers, "transfer-encoding"), first(headers, "content-length")
    if coding is not None and length is not None:
        raise Refusal(400, "bad_framing", "Content-Length and Transfer-Encoding exclude each other.")
    if coding is not None and coding.strip().lower() != "chunked":
        raise Refusal(400, "bad_framing", "The only transfer coding taken is chunked.")
    if coding is None and length is None:
        return b"", None
    if length is not None and not re.fullmatch(r"[0-9]{1,18}", length, re.ASCII):
        raise Refusal(400, "bad_framing", "Content-Length is not one number.")
    expected = int(length) if length is not None else None
    if expected is not None and expected > max_body:
        raise Refusal(413, "too_large", f"The body is larger than {max_body} bytes.")
    connection = environ.get("gunicorn.socket")
    key = watch.start(connection) if connection is not None else None
    try:
        body, spool = _read(
            environ["wsgi.input"], max_body + 1 if expected is None else expected, expected is not None, folder
        )
    finally:
        if key is not None:
            watch.end(key)
    size = len(body) if spool is None else spool.size
    if size > max_body:
        raise Refusal(413, "too_large", f"The body is larger than {max_body} bytes.")
    if expected is not None and size != expected:
        raise Refusal(400, "client_aborted", "The body ended before its Content-Length.")
    return body, spool


def _read(stream: Any, limit: int, known: bool, folder: Path) -> tuple[bytes, Spool | None]:
    """Reads to the end of the body, or `limit` bytes of it (its length, if that is `known`); what is too much for
    memory goes into a file."""
    if known and limit <= IN_MEMORY:
        return _piece(stream, limit), None
    pieces, size, spool = [], 0, None
    try:
        while piece := _piece(stream, min(PIECE, limit - size)):
            pieces.append(piece)
            size += len(piece)
            if known or size > IN_MEMORY:
                spool = spool or Spool(folder)
                for held in pieces:
                    spool.write(held)
                pieces.clear()
    except OSError:
        raise Refusal(503, "no_room", "There is no room to take a body of this size.") from None
    return b"".join(pieces), spool


def _piece(stream: Any, size: int) -> bytes:
    """At most `size` bytes, fewer only at the end. An error is the last word: gunicorn forgets that a bad body was bad
    when it is read again."""
    try:
        return bytes(stream.read(size))
    except OSError:  # gunicorn's NoMoreData among them
        raise Refusal(400, "client_aborted", "The body ended before its last chunk.") from None
    except Exception as error:  # gunicorn's InvalidChunkSize and its kin have no common base but this
        raise Refusal(400, "bad_framing", f"The body is malformed ({type(error).__name__}).") from None


def _heed_proxies(request: Request, trusted: Networks) -> None:
    """Takes address, scheme and host from what trusted peers say (X-Forwarded-*, Forwarded); drops it from others."""
    if not within(request.remote, trusted):
        request.headers = [(n, v) for n, v in request.headers if not _forwarding(n)]
        return
    for hop in reversed(hops(request.headers)):
        if hop is None:
            break
        request.remote = hop
        if not within(hop, trusted):
            break
    scheme, host = scheme_and_host(request.headers)
    if scheme in ("http", "https"):
        request.scheme = scheme
    if host and _HOST.fullmatch(host):
        request.host = host


def _forwarding(name: str) -> bool:
    return (
        name.lower().startswith("x-forwarded-") or name.lower() in ("forwarded", "x-real-ip") or name.lower() in MARKS
    )


@lru_cache(maxsize=512)
def _title(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("-"))
