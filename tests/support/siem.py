"""Strict readers of CEF and of syslog, written from their specifications and knowing nothing of our writers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_KEY = re.compile(r"(?:^| )([A-Za-z0-9]+)=")
_SD_NAME = r"[!#-<>-\\^-~]{1,32}"
"""Visible ASCII but for = ] and the quotation mark."""
_SYSLOG = re.compile(
    r"<(?P<pri>\d{1,3})>1 "
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)) "
    r"(?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) (?P<process>[!-~]{1,128}) (?P<id>[!-~]{1,32}) "
    rf'(?P<data>-|(?:\[{_SD_NAME}(?: {_SD_NAME}="(?:[^"\\\]]|\\.)*")*\])+) '
    "\ufeff(?P<text>.*)",
    re.DOTALL,
)


@dataclass
class Cef:
    head: list[str]
    fields: dict[str, str] = field(default_factory=dict)


def read_cef(line: str) -> Cef:
    """Raises ValueError for what is no CEF."""
    parts, rest = [""], line
    while len(parts) < 8:
        if not rest:
            raise ValueError("the header has eight parts")
        one, rest = rest[0], rest[1:]
        if one == "\\":
            if rest[:1] not in ("\\", "|"):
                raise ValueError(f"header: \\{rest[:1]}")
            parts[-1], rest = parts[-1] + rest[0], rest[1:]
        elif one == "|":
            parts.append("")
        else:
            parts[-1] += one
        if len(parts) == 8:
            break
    if parts[0] != "CEF:0" or not 0 <= int(parts[6]) <= 10 or not all(parts[1:7]):
        raise ValueError(f"header: {parts}")
    return Cef(parts[:7], _fields(rest))


def _fields(text: str) -> dict[str, str]:
    """A key begins where an unescaped = stands; its value ends before the blank before the next."""
    starts = [found for found in _KEY.finditer(text) if not text[found.start() : found.end()].endswith("\\=")]
    if not starts or starts[0].start() != 0:
        raise ValueError(f"extension: {text[:40]}")
    fields = {}
    for found, following in zip(starts, [*starts[1:], None], strict=True):
        raw = text[found.end() : following.start() if following else None]
        if re.search(r"(?<!\\)(?:\\\\)*=", raw):
            raise ValueError(f"an = that is not escaped: {raw}")
        if found[1] in fields:
            raise ValueError(f"{found[1]} twice")
        fields[found[1]] = re.sub(r"\\(.)", _unescaped, raw)
    return fields


def _unescaped(found: re.Match[str]) -> str:
    return {"n": "\n", "r": "\r", "=": "=", "\\": "\\"}[found[1]]


def read_syslog(line: str) -> dict[str, str]:
    """Raises ValueError for what RFC 5424's grammar does not make, with a text in UTF-8."""
    found = _SYSLOG.fullmatch(line)
    if found is None or int(found["pri"]) > 191:
        raise ValueError(f"no syslog message: {line[:120]!r}")
    return found.groupdict()
