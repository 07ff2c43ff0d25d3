# pure
"""An answer of the simulated application as a status line, header fields and a body."""

from __future__ import annotations

import hashlib
import html
import json
from dataclasses import dataclass, field
from typing import Any

from compose.hosp.messages import Asked, Reply

REASONS = {200: "OK", 201: "Created", 204: "No Content", 206: "Partial Content", 302: "Found", 304: "Not Modified",
           400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 406: "Not Acceptable",
           422: "Unprocessable Entity", 500: "Internal Server Error"}  # fmt: skip
PAGE = (
    "<!DOCTYPE html>\n<html><head><title>We're sorry, but something went wrong ({status})</title></head>"
    "<body>{fill}</body></html>"
)
ERROR_PAGES = {404: 1722, 422: 1705, 500: 1635}
"""Rails' own error pages, by their length; other errors have none."""
SECURITY = {
    "X-Frame-Options": "SAMEORIGIN",
    "X-XSS-Protection": "1; mode=block",
    "X-Content-Type-Options": "nosniff",
    "X-Download-Options": "noopen",
    "X-Permitted-Cross-Domain-Policies": "none",
    "Referrer-Policy": "strict-origin-when-cross-origin",
}
ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})
KEPT = "max-age=0, private, must-revalidate"


@dataclass
class Rendered:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    chunked: bool = False


def render(asked: Asked, reply: Reply, on: frozenset[str]) -> Rendered:
    """`asked.method` may be HEAD: what comes back has the body that GET would get."""
    is_error = reply.value is None and reply.status >= 400
    kind, body = _error(asked, reply, on) if is_error else _content(reply, on)
    headers = dict(reply.headers)
    bare = is_error and "error-headers" in on
    if not bare:
        headers |= SECURITY
        headers["Cache-Control"] = KEPT if reply.status in (200, 201) or (reply.status < 400 and not on) else "no-cache"
    if kind:
        headers["Content-Type"] = kind
    if "etags" in on and reply.status in (200, 201) or not on and reply.status == 200:
        headers["ETag"] = f'W/"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
    if "vary" in on and reply.negotiated and not is_error and reply.status != 204:
        headers["Vary"] = ", ".join(filter(None, ("Accept, X-Requested-With", headers.get("Vary"))))
    if reply.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="Application"'
    if "session-cookie" in on and reply.format == "html" and reply.status == 200 and asked.target != "/":
        headers["Set-Cookie"] = "_hosp_session=c2Vzc2lvbg%3D%3D--simulated; path=/; HttpOnly; SameSite=Lax"
    if "etags" in on and reply.status == 200 and headers.get("ETag") == asked.headers.get("if-none-match"):
        headers.pop("Content-Type", None)
        return Rendered(304, b"", headers)
    return Rendered(reply.status, body, headers, "chunked" in on and not bare and reply.status != 204)


def _error(asked: Asked, reply: Reply, on: frozenset[str]) -> tuple[str, bytes]:
    """An error's own document."""
    said = REASONS.get(reply.status, "Internal Server Error")
    if "error-documents" not in on:
        if "application/json" in asked.headers.get("accept", ""):
            return "application/json; charset=utf-8", _json({"status": reply.status, "error": said}, on)
        return "text/html; charset=utf-8", PAGE.format(status=reply.status, fill=" " * 1700).encode()
    if reply.format == "json":
        return "application/json; charset=UTF-8", _json({"status": reply.status, "error": said}, on)
    if reply.format == "xml":
        lines = f'  <status type="integer">{reply.status}</status>\n  <error>{said}</error>'
        text = f'<?xml version="1.0" encoding="UTF-8"?>\n<hash>\n{lines}\n</hash>\n'
        return "application/xml; charset=UTF-8", text.encode()
    length = ERROR_PAGES.get(reply.status, 0)
    page = PAGE.format(status=reply.status, fill="").encode()
    return "text/html; charset=UTF-8", page + b" " * (length - len(page)) if length else b""


def _content(reply: Reply, on: frozenset[str]) -> tuple[str, bytes]:
    if reply.status == 204 or reply.value is None or reply.format == "empty":
        return "", b""
    if isinstance(reply.value, str):
        return f"text/{'plain' if reply.format == 'text' else 'html'}; charset=utf-8", reply.value.encode()
    if reply.format == "html" and not reply.fixed:
        return "text/html; charset=utf-8", _page(reply.value)
    return "application/json; charset=utf-8", (b"\xef\xbb\xbf" if "bom" in on else b"") + _json(reply.value, on)


def _page(value: Any) -> bytes:
    rows = value if isinstance(value, list) else [value]
    lines = "".join(f"<p>{html.escape(json.dumps(row))}</p>\n" for row in rows)
    return f"<!DOCTYPE html>\n<html><head><title>Hosp</title></head><body>{lines}</body></html>".encode()


def _json(value: Any, on: frozenset[str]) -> bytes:
    if "escapes" not in on:
        return json.dumps(value, separators=(",", ":")).encode()
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.translate(ESCAPES).encode("utf-8", "surrogatepass")
