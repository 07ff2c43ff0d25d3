"""From a head that was read to a Request, or a Refusal: what is not certain, or not for us, goes no further.

Host is checked, the target is taken byte for byte, and what peers say of whom they forward for counts where they are
trusted.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from sidecar.http.credentials import TwoAuthorizations, canonical_authorization
from sidecar.http.forwarded import hops, scheme_and_host
from sidecar.http.headers import MARKS
from sidecar.http.messages import Headers, Request
from sidecar.http.remembered import remembered
from sidecar.server.request_parser import Head
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


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, and whose word counts."""

    max_target: int
    max_body: int
    max_head: int
    max_fields: int
    trusted: Networks


@dataclass(slots=True)
class Admitted:
    """What follows from a head's fields: the same again and again on most connections."""

    fields: Headers
    version: str
    authority: str
    """What Host said."""
    request: Request
    """With all that follows from them."""


def admitted(head: Head, remote: str, limits: Limits, before: Admitted | None = None) -> Admitted:
    """The request, whose body is yet to come. `before`: the last one on its connection. Raises Refusal."""
    target = head.target
    if len(target) > limits.max_target:
        raise Refusal(414, "target_too_long", f"The target is longer than {limits.max_target} bytes.")
    if head.length is not None and head.length > limits.max_body:
        raise too_large(limits)
    if before is not None and before.fields is head.headers and before.version == head.version:
        found = before
        target = _origin_form(target, found.authority, head.method)
    else:
        host = _host(head.headers, head.version)
        target = _origin_form(target, host, head.method)
        found = Admitted(head.headers, head.version, host, _from_fields(head, host, remote, limits))
    found.request = found.request.another(head.method, target)
    return found


def _from_fields(head: Head, host: str, remote: str, limits: Limits) -> Request:
    try:
        headers = canonical_authorization(head.headers)
    except TwoAuthorizations as error:
        raise Refusal(400, "two_authorizations", str(error)) from None
    request = Request(head.method, head.target, headers, remote=remote, host=host, version=head.version)
    _heed_proxies(request, limits.trusted)
    return request


def too_large(limits: Limits) -> Refusal:
    """Of a body that is, or turns out to be."""
    return Refusal(413, "too_large", f"The body is larger than {limits.max_body} bytes.")


def _host(headers: Headers, version: str) -> str:
    given = [value for name, value in headers if len(name) == 4 and name.lower() == "host"]
    if not given and version == "HTTP/1.0":
        return ""
    if len(given) != 1:
        raise Refusal(400, "bad_host", "The request needs exactly one Host field.")
    wrong = _wrong_with(given[0])
    if wrong is not None:
        raise Refusal(400, "bad_host", wrong)
    return given[0]


@remembered(256)
def _wrong_with(host: str) -> str | None:
    """What is wrong with a Host field, for the client."""
    if not _HOST.fullmatch(host):
        return "The Host field is not a host and an optional port."
    name, _, port = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "")
    if port and int(port) > 65535:
        return "The Host field's port is above 65535."
    if name.startswith("["):
        try:
            ipaddress.IPv6Address(name[1:-1])
        except ValueError:
            return "The Host field is not a valid IPv6 address."
    return None


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


@remembered(512)
def _forwarding(name: str) -> bool:
    return (
        name.lower().startswith("x-forwarded-") or name.lower() in ("forwarded", "x-real-ip") or name.lower() in MARKS
    )


@remembered(512)
def _title(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("-"))
