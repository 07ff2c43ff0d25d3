# pure
"""JSON of any length, read so that other threads go on meanwhile.

orjson lets no other thread run until it is done: a third of a second for a long list, also beside the event loop.
A list of objects is therefore read in pieces. Any other long value is read as it is: where it could be cut nobody
can say without reading it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import orjson

LONG: Final = 1 << 20
"""Bytes from which on a body is better read beside the event loop."""
PIECE: Final = 128 << 10
SEAMS: Final = 32
"""Places to choose from."""
_LIST: Final = re.compile(rb"[ \t\r\n]*\[(?=[ \t\r\n]*\{)")
_SEAM: Final = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*(?=\{)")
"""Between two objects of a list, or of a list inside: where it is the former, what comes before is whole."""


def loads(body: bytes, long: int = LONG, piece: int = PIECE) -> Any:
    """The value. Raises orjson.JSONDecodeError."""
    if (begin := _long_list(body, long)) is None:
        return orjson.loads(body)
    return [value for values in _pieces(body, begin, piece) for value in values]


def skim(body: bytes, long: int = LONG, piece: int = PIECE) -> Any:
    """The same; but of a long list of objects, which has to be one too, an empty one."""
    if (begin := _long_list(body, long)) is None:
        return orjson.loads(body)
    for _ in _pieces(body, begin, piece):
        pass
    return []


def _long_list(body: bytes, long: int) -> int | None:
    """Where the first element of a long list of objects begins."""
    begun = _LIST.match(body) if len(body) > long else None
    return None if begun is None else begun.end()


def _pieces(body: bytes, begin: int, piece: int) -> Iterator[list[Any]]:
    """Its elements. What is whole with brackets around it ends where an element of the list itself ends: a reader that
    goes from left to right would be nowhere else there. Raises orjson.JSONDecodeError."""
    size = piece
    while (seam := _seam(body, begin, size)) is not None:
        try:
            values = orjson.loads(b"[" + body[begin : seam.start() + 1] + b"]")
        except orjson.JSONDecodeError:
            size = 2 * (seam.start() - begin)  # inside an element: each time in vain costs half of the next
            continue
        yield values
        begin, size = seam.end(), piece
    yield orjson.loads(b"[" + body[begin:])


def _seam(body: bytes, begin: int, size: int) -> re.Match[bytes] | None:
    """Where the list is most likely cut: of the next seams beyond `size` the first with the fewest brackets open."""
    found: list[re.Match[bytes]] = []
    opened: list[int] = []
    at = begin
    for seam in islice(_SEAM.finditer(body, begin + size), SEAMS):
        more = body.count(b"[", at, seam.start()) - body.count(b"]", at, seam.start())
        opened.append(more + (opened[-1] if opened else 0))
        found.append(seam)
        at = seam.start()
    return found[opened.index(min(opened))] if found else None
