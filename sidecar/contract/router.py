# pure
"""The path tree: which endpoint a request means, in time in proportion to its path's length."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final
from urllib.parse import unquote_to_bytes

from sidecar.contract.model import OUTSIDE, Endpoint, Match

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass
class Node:
    """A step of the path: fixed children by name, one parameter child, and the operations that end here."""

    fixed: dict[str, Node] = field(default_factory=dict)
    param: Node | None = None
    operations: dict[str, tuple[Endpoint, tuple[str, ...]]] = field(default_factory=dict)

    @cached_property
    def allowed(self) -> tuple[str, ...]:
        """The methods that are answered here."""
        return tuple(sorted({*self.operations, *(("HEAD",) if "GET" in self.operations else ()), "OPTIONS"}))


class Router:
    """Endpoints by their paths."""

    def __init__(self) -> None:
        self._root = Node()

    def add(self, endpoint: Endpoint) -> None:
        node = self._root
        for part in steps(endpoint.template):
            if part.startswith("{"):
                node.param = node.param or Node()
                node = node.param
            else:
                node = node.fixed.setdefault(part, Node())
        node.operations[endpoint.method] = (endpoint, parameters(endpoint.template))

    def match(self, method: str, raw_path: str) -> Match:
        """The endpoint that a request means.

        `raw_path` is the path as received, percent-encoded, without its query. A trailing `.json` is a format and not
        part of an id; HEAD means GET. An encoded slash stays inside its segment, and a path that does not decode to
        UTF-8, or holds `.` or `..` segments, is outside the contract, as are `//`, a trailing slash but for one, and a
        number that is not written plainly: who knows which record `/notes/017x` is to the upstream.
        """
        found = None if (segments := _segments(raw_path)) is None else _descend(self._root, segments, ())
        if found is None:
            return OUTSIDE
        node, values = found
        operation = node.operations.get("GET" if method == "HEAD" else method)
        if operation is None:
            return Match(None, {}, True, node.allowed)
        endpoint, names = operation
        if any(
            name in endpoint.numbers and not _NUMBER.fullmatch(value) for name, value in zip(names, values, strict=True)
        ):
            return OUTSIDE
        return Match(endpoint, dict(zip(names, values, strict=True)), True, node.allowed)


def steps(template: str) -> list[str]:
    return template.strip("/").split("/") if template.strip("/") else []


def parameters(template: str) -> tuple[str, ...]:
    """The names of a template's parameters, in its order."""
    return tuple(part[1:-1] for part in steps(template) if part.startswith("{"))


def _segments(raw_path: str) -> list[str] | None:
    """The decoded segments of a path, or None for one that no endpoint can have."""
    if not raw_path.startswith("/"):
        return None
    trimmed = raw_path.removesuffix("/") if len(raw_path) > 1 else raw_path
    if trimmed.endswith(".json"):
        trimmed = trimmed.removesuffix(".json")
    segments = []
    for part in trimmed.split("/")[1:] if trimmed != "/" else ():
        try:
            decoded = unquote_to_bytes(part).decode() if "%" in part else part
        except UnicodeDecodeError:
            return None
        if decoded in ("", ".", "..") or "\0" in decoded or not decoded.isprintable():
            return None
        segments.append(decoded)
    return segments


def _descend(node: Node, segments: list[str], values: tuple[str, ...]) -> tuple[Node, tuple[str, ...]] | None:
    """The node a path ends at; a fixed segment is preferred to a parameter, which is tried when it leads nowhere."""
    if not segments:
        return (node, values) if node.operations else None
    head, rest = segments[0], segments[1:]
    if head in node.fixed:
        found = _descend(node.fixed[head], rest, values)
        if found is not None:
            return found
    return _descend(node.param, rest, (*values, head)) if node.param is not None else None
