# pure
"""A request as the simulated application sees it, what it answers, and how Rails reads a request's format and body."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from email.parser import BytesParser
from typing import Any
from urllib.parse import parse_qsl

BROWSER = re.compile(r",\s*\*/\*|\*/\*\s*,")
TYPES = {"application/json": "json", "text/x-json": "json", "text/html": "html", "application/xhtml+xml": "html",
         "*/*": "html", "application/xml": "xml", "text/xml": "xml"}  # fmt: skip
JSON = "application/json"


@dataclass(frozen=True)
class Asked:
    """`target`: path and query; `headers`: by lower-case name; `origin`: `scheme://host` for `url` fields."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    origin: str

    @property
    def query(self) -> dict[str, str]:
        """The last value of each name."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))


@dataclass
class Reply:
    """`value`: a JSON value, a page (str), or None: nothing, or an error's own document.

    `format`: json, html, xml, text, empty or other.
    """

    status: int
    value: Any = None
    format: str = "json"
    headers: dict[str, str] = field(default_factory=dict)
    negotiated: bool = True
    """Whether Accept had a say."""
    fixed: bool = False
    """Whether the format is the answer's own, whatever was asked for."""


class BadBody(Exception):
    """The body does not say what the resource is to be."""

    def __init__(self, status: int = 400) -> None:
        self.status = status


def format_of(asked: Asked) -> tuple[str, bool]:
    """json, html, xml or other, as Rails 6.1 picks it; and whether Accept had a say."""
    path = asked.target.partition("?")[0]
    name = path.rpartition("/")[2].partition(".")[2] or asked.query.get("format", "")
    if name:
        return name if name in ("json", "xml") else "html", False
    accept = asked.headers.get("accept", "")
    is_script = asked.headers.get("x-requested-with", "").lower() == "xmlhttprequest"
    if not accept or (BROWSER.search(accept) and not is_script):
        return "html", True
    known = [TYPES.get(kind, "other") for kind in _by_quality(accept)]
    return next((kind for kind in known if kind in ("json", "html")), known[0]), True


def _by_quality(accept: str) -> list[str]:
    ranked = []
    for part in accept.split(","):
        kind, _, rest = part.partition(";")
        quality = re.search(r"q=([\d.]+)", rest)
        ranked.append((-float(quality[1]) if quality else -1.0, kind.strip().lower()))
    return [kind for _, kind in sorted(ranked, key=lambda pair: pair[0])]


def parameters(asked: Asked, on: frozenset[str]) -> dict[str, Any]:
    """The body's fields by name; those of a form as `patient[name]`. Raises BadBody for JSON that is none."""
    kind = asked.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == JSON or "media-types" not in on:
        return _json(asked.body, on)
    if "forms" in on and kind == "application/x-www-form-urlencoded":
        return _nested(parse_qsl(asked.body.decode(errors="replace"), keep_blank_values=True))
    if "forms" in on and kind == "multipart/form-data":
        return _nested(_parts(asked))
    return {}


def _json(body: bytes, on: frozenset[str]) -> dict[str, Any]:
    try:
        value = json.loads(body) if body.strip() else {}
    except ValueError:
        raise BadBody from None
    if not isinstance(value, dict):
        if "required-root" in on:
            raise BadBody
        return {"": value}
    return value


def _nested(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        outer, bracket, inner = name.partition("[")
        if bracket:
            found.setdefault(outer, {})[inner.rstrip("]")] = value
        else:
            found[name] = value
    return found


def _parts(asked: Asked) -> list[tuple[str, str]]:
    head = f"Content-Type: {asked.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + asked.body)
    if not message.is_multipart():
        raise BadBody
    found = []
    for part in message.get_payload():
        name = part.get_param("name", header="content-disposition")  # type: ignore[union-attr]
        content = part.get_payload(decode=True)  # type: ignore[union-attr]
        found.append((str(name), content.decode(errors="replace") if isinstance(content, bytes) else ""))
    return found


def fields_of(asked: Asked, model: str, columns: tuple[str, ...], on: frozenset[str]) -> dict[str, Any]:
    """What the request sets, by column. Raises BadBody."""
    sent = parameters(asked, on)
    if "" in sent:
        raise BadBody(422)
    is_form = asked.headers.get("content-type", "").partition(";")[0].strip().lower() not in (JSON, "")
    if "wrapped" in on and model in sent:
        root = sent[model]
    elif is_form and "media-types" in on:
        root = {}
    else:
        known = (*columns, "id", "created_at", "updated_at", "password") if "required-root" in on else tuple(sent)
        root = {name: value for name, value in sent.items() if name in known}
    if "required-root" in on and (not isinstance(root, dict) or not root):
        raise BadBody
    scalar = (str, int, float, type(None)) if "casts" in on else (object,)
    return {name: value for name, value in root.items() if isinstance(value, scalar)}
