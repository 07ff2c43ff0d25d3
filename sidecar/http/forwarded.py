# pure
"""Whom a request comes from, by what proxies say that it went through: X-Forwarded-For and Forwarded (RFC 7239).

Addresses come bare, with a port, in brackets, in quotes. What is none (`unknown`, `_hidden`) ends the chain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sidecar.http.messages import Headers
from sidecar.settings.networks import is_address

_PAIR: Final = re.compile(r"""\s*([\w!#$%&'*+.^`|~-]+)\s*=\s*+("(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*""", re.ASCII)
_WITH_PORT: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?", re.ASCII)


def address(node: str) -> str | None:
    """The IP address of a node as proxies write it (`192.0.2.1:80`, `[2001:db8::1]:80`, `2001:db8::1`), or None."""
    node = node.strip().strip('"').strip()
    if is_address(node) and "%" not in node:
        return node
    found = _WITH_PORT.fullmatch(node)
    inside = (found[1] or found[2]) if found else ""
    return inside if is_address(inside) else None


def hops(headers: Headers) -> list[str | None]:
    """The addresses that proxies saw, the nearest last; None: one that they do not tell. By X-Forwarded-For where there
    is any, else by Forwarded."""
    chain = [part for name, value in headers if name.lower() == "x-forwarded-for" for part in value.split(",")]
    if chain:
        return [address(part) for part in chain]
    return [address(element["for"]) if "for" in element else None for element in _elements(headers)]


def scheme_and_host(headers: Headers) -> tuple[str, str]:
    """What the nearest proxy says of the scheme and the Host that its client used; empty: nothing."""
    last = {name.lower(): value.rpartition(",")[2].strip() for name, value in headers}
    element = next(reversed(list(_elements(headers))), {})
    scheme = last.get("x-forwarded-proto") or element.get("proto", "")
    return scheme.lower(), last.get("x-forwarded-host") or element.get("host", "")


def _elements(headers: Headers) -> Iterator[dict[str, str]]:
    """Forwarded's elements, the nearest last. One that is malformed tells nothing."""
    for name, value in headers:
        if name.lower() != "forwarded":
            continue
        for element in _split(value, ","):
            pairs = [_PAIR.fullmatch(pair) for pair in _split(element, ";") if pair.strip()]
            yield {pair[1].lower(): _unquoted(pair[2]) for pair in pairs if pair} if all(pairs) else {}


def _split(text: str, mark: str) -> list[str]:
    """Split at the mark, but not inside quotes."""
    parts, quoted, escaped, start = [], False, False, 0
    for place, character in enumerate(text):
        if escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == mark and not quoted:
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
