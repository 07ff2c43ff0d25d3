"""Which fields travel: end-to-end ones both ways, hop-by-hop ones neither. Pure."""

from __future__ import annotations

from typing import Final

from sidecar.http.messages import Headers, Request

HOP_BY_HOP: Final = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer")
    + ("transfer-encoding", "upgrade", "http2-settings")
)
COPY: Final = "x-understudy-copy"
COPY_TARGET: Final = "x-understudy-target"
COPIED: Final = "x-understudy-copied"
"""How a balancer marks a copy with a key and its target, and the request itself that it made a copy of."""
MARKS: Final = frozenset((COPY, COPY_TARGET, COPIED))
_FORWARDING: Final = frozenset(("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "x-real-ip"))
_NOT_UPSTREAM: Final = (
    HOP_BY_HOP
    | _FORWARDING
    | MARKS
    | frozenset(("content-length", "host", "expect", "x-request-id", "traceparent", "accept-encoding", "via"))
)
_NOT_BACK: Final = HOP_BY_HOP | {"content-length", "date", "server", "x-request-id"}
_READABLE_CODINGS: Final = ("gzip", "deflate", "identity")


def _without(headers: Headers, dropped: frozenset[str]) -> Headers:
    """Without the dropped fields, hop-by-hop ones among them, and those that Connection names."""
    kept, named = [], set[str]()
    for field in headers:
        name = field[0].lower()
        if name not in dropped:
            kept.append(field)
        elif name == "connection":
            named.update(word.strip().lower() for word in field[1].split(","))
    named -= dropped
    return [field for field in kept if field[0].lower() not in named] if named else kept


def _own(headers: Headers) -> Headers:
    """The client's own fields that go upstream as they are."""
    return _without(headers, _NOT_UPSTREAM)


def _own_of_another_trace(headers: Headers) -> Headers:
    return _without(headers, _NOT_UPSTREAM | {"tracestate"})


def upstream_fields(request: Request, request_id: str, traceparent: str, via: str) -> Headers:
    """The fields that go upstream: the client's own, its Host, and who it is by X-Forwarded-*.

    Only codings that we can read are asked for, so that every answer can be checked.
    """
    fields = [("Host", request.host)] if request.host else []
    begun = (request.header("traceparent") or "")[:35] != traceparent[:35]  # another trace than its tracestate tells of
    fields += request.once(_own_of_another_trace if begun else _own)
    fields += [("X-Request-Id", request_id), ("traceparent", traceparent)]
    coding = _codings(request.header("accept-encoding"))
    if coding is not None:
        fields.append(("Accept-Encoding", coding))
    chain = _all(request, "x-forwarded-for")
    if not chain or chain[-1].split(",")[-1].strip() != request.remote:
        chain.append(request.remote)
    fields.append(("X-Forwarded-For", ", ".join(chain)))
    fields.append(("X-Forwarded-Proto", request.scheme))
    if request.host:
        fields.append(("X-Forwarded-Host", request.host))
    fields.append(("Via", ", ".join([*_all(request, "via"), via])))
    return fields


def via(node: str) -> str:
    """How we name ourselves in Via: requests that come back with it have gone in a circle."""
    return f"1.1 understudy-{node}"


def has_passed(request: Request, via: str) -> bool:
    """Whether this very deployment has already handled the request: the upstream's address leads back to us."""
    return any(via in value for value in _all(request, "via"))


def wants_close(request: Request) -> bool:
    """Whether the client asks for no more on this connection (gunicorn finds `close` only where it stands alone)."""
    named = request.header("connection")
    return named is not None and "close" in [word.strip() for word in named.lower().split(",")]


def answer_fields(headers: Headers) -> Headers:
    """The upstream's fields that the client gets; framing, date and server are the server's own, the id is ours."""
    return _without(headers, _NOT_BACK)


def _all(request: Request, name: str) -> list[str]:
    """The values of every field of that name (lower case)."""
    if request.header(name) is None:
        return []
    return [value for key, value in request.headers if key.lower() == name]


def _codings(accepted: str | None) -> str | None:
    if accepted is None:
        return None
    kept = [part.strip() for part in accepted.split(",") if part.split(";")[0].strip().lower() in _READABLE_CODINGS]
    return ", ".join(kept) if kept else "identity"
