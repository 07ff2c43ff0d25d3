"""Which fields travel: end-to-end ones both ways, hop-by-hop ones neither. Pure."""

from __future__ import annotations

from typing import Final

from sidecar.gateway.exchange import Headers, Request, first

HOP_BY_HOP: Final = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer")
    + ("transfer-encoding", "upgrade", "http2-settings")
)
COPY: Final = "x-understudy-copy"
COPY_TARGET: Final = "x-understudy-target"
COPIED: Final = "x-understudy-copied"
"""How a balancer marks a copy with a key and its target, and the request itself that it made a copy of."""
MARKS: Final = frozenset((COPY, COPY_TARGET, COPIED))
_OURS: Final = frozenset(("content-length", "host", "expect", "x-request-id", "traceparent", "accept-encoding", "via"))
_READABLE_CODINGS: Final = ("gzip", "deflate", "identity")


def end_to_end(headers: Headers) -> Headers:
    """Without hop-by-hop fields and those that Connection names."""
    named = {
        word.strip().lower() for name, value in headers if name.lower() == "connection" for word in value.split(",")
    }
    return [(n, v) for n, v in headers if n.lower() not in HOP_BY_HOP and n.lower() not in named]


def upstream_fields(request: Request, request_id: str, traceparent: str, via: str) -> Headers:
    """The fields that go upstream: the client's own, its Host, and who it is by X-Forwarded-*.

    Only codings that we can read are asked for, so that every answer can be checked.
    """
    kept = [(n, v) for n, v in end_to_end(request.headers) if n.lower() not in _OURS and not _replaced(n)]
    fields = [("Host", request.host)] if request.host else []
    fields += kept
    fields += [("X-Request-Id", request_id), ("traceparent", traceparent)]
    coding = _codings(first(request.headers, "accept-encoding"))
    if coding is not None:
        fields.append(("Accept-Encoding", coding))
    chain = [v for n, v in request.headers if n.lower() == "x-forwarded-for"]
    if not chain or chain[-1].split(",")[-1].strip() != request.remote:
        chain.append(request.remote)
    fields.append(("X-Forwarded-For", ", ".join(chain)))
    fields.append(("X-Forwarded-Proto", request.scheme))
    if request.host:
        fields.append(("X-Forwarded-Host", request.host))
    vias = [v for n, v in request.headers if n.lower() == "via"]
    fields.append(("Via", ", ".join([*vias, via])))
    return fields


def via(node: str) -> str:
    """How we name ourselves in Via: requests that come back with it have gone in a circle."""
    return f"1.1 understudy-{node}"


def has_passed(request: Request, via: str) -> bool:
    """Whether this very deployment has already handled the request: the upstream's address leads back to us."""
    return any(via in value for name, value in request.headers if name.lower() == "via")


def answer_fields(headers: Headers) -> Headers:
    """The upstream's fields that the client gets; framing, date and server are the server's own."""
    return [(n, v) for n, v in end_to_end(headers) if n.lower() not in ("content-length", "date", "server")]


def _replaced(name: str) -> bool:
    forwarding = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "x-real-ip")
    return name.lower() in forwarding or name.lower() in MARKS


def _codings(accepted: str | None) -> str | None:
    if accepted is None:
        return None
    kept = [part.strip() for part in accepted.split(",") if part.split(";")[0].strip().lower() in _READABLE_CODINGS]
    return ", ".join(kept) if kept else "identity"
