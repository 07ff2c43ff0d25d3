"""Where two answers differ, without showing what they say: paths and the kinds of values, for people who look into it.

Pure. A patient's data never leaves here: text is told by its length, numbers by being numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

MOST: Final = 5
"""Differences named per sample."""


def differences(ours: Any, theirs: Any) -> list[str]:
    """`records[3].title: text of 5 letters here, text of 9 at the upstream`: the first few."""
    found: list[str] = []
    for said in _walk("", ours, theirs):
        if len(found) == MOST:
            return [*found, "and more"]
        found.append(said)
    return found


def _walk(path: str, ours: Any, theirs: Any) -> Iterator[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted({*ours, *theirs}, key=str):
            name = f"{path}.{str(key)[:60]}" if path else str(key)[:60]
            if key not in theirs:
                yield f"{name}: only here"
            elif key not in ours:
                yield f"{name}: only at the upstream"
            else:
                yield from _walk(name, ours[key], theirs[key])
    elif isinstance(ours, list) and isinstance(theirs, list):
        if len(ours) != len(theirs):
            yield f"{path or 'the list'}: {len(ours)} items here, {len(theirs)} at the upstream"
        for number, (left, right) in enumerate(zip(ours, theirs, strict=False)):
            yield from _walk(f"{path}[{number}]", left, right)
    elif ours != theirs or type(ours) is not type(theirs):
        yield f"{path or 'the answer'}: {_kind(ours)} here, {_kind(theirs)} at the upstream"


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "yes or no"
    if isinstance(value, str):
        return f"text of {len(value)} letters"
    return "a number" if isinstance(value, (int, float)) else "a list" if isinstance(value, list) else "a record"
