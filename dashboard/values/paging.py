# pure
"""Pages of a list that is known as a whole, by where they begin."""

from __future__ import annotations


def start(given: str, size: int, many: int) -> int:
    """Where the page begins that an address asks for, of `many` in pages of `size`; what is no such place: 0."""
    first = int(given) if given.isdecimal() and given.isascii() and len(given) < 10 else 0
    return first - first % size if first < many else 0


def beside(first: int, size: int, many: int) -> tuple[int | None, int | None]:
    """Where the pages before and after begin; None: there is none."""
    return (first - size if first >= size else None), (first + size if first + size < many else None)
