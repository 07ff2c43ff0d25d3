# pure
"""One verdict for each answer: what the API would have said, against what the sidecar said."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

BAD = ("lie", "lost", "doubled", "hidden", "blocked")
VERDICTS = ("true", "honest", *BAD)


@dataclass(frozen=True)
class Judged:
    cell: str
    verdict: str
    what: str
    """The question, and in short both answers."""
    standby: bool = False
    """Whether the standby gave the answer: neither the API, nor a 503."""


def value_of(kind: str, body: bytes) -> Any:
    """JSON as a value, anything else as it is; what does not parse is itself."""
    try:
        return json.loads(body.removeprefix(b"\xef\xbb\xbf")) if "json" in kind and body else body
    except ValueError:
        return body


def read(status: int, value: Any, expected_status: int, expected: Any) -> str:
    """A read: true when it is the API's own answer (of refusals only the status), honest when it is 503."""
    if status == 503:
        return "honest"
    if status != expected_status:
        return "lie"
    return "true" if status >= 400 or value == expected else "lie"


def write(told: int, times: int, parked: bool, waits: bool, refused: int | None = None) -> str:
    """A write by its end: what its author was told, how often it took effect, whether it is parked or waits; and where
    its author was `refused` (4xx) what the API says to the same: a refusal that is not the API's own is made up."""
    if times > 1:
        return "doubled"
    if 400 <= told < 500 and not times:
        return "true" if told == refused else "lie"
    if told < 300:
        if waits:
            return "blocked"
        return "true" if times == 1 else "honest" if parked else "lost"
    return "lie" if times else "honest"


def difference(expected: Any, told: Any) -> str:
    """The first place in which two answers differ, in short; empty where none does."""
    if isinstance(expected, list) and isinstance(told, list):
        if len(expected) != len(told):
            return f"{len(told)} records for {len(expected)}"
        return next((difference(a, b) for a, b in zip(expected, told, strict=True) if a != b), "")
    if isinstance(expected, dict) and isinstance(told, dict):
        for name in sorted({*expected, *told}):
            if expected.get(name, "no such field") != told.get(name, "no such field"):
                return f"{name} " + difference(expected.get(name, "no such field"), told.get(name, "no such field"))
    return "" if expected == told else f"{str(told)[:50]!r} for {str(expected)[:50]!r}"


def table(judged: Iterable[Judged], cells: int, seed: int) -> str:
    """Counts by verdict, the false ones by cell, and the bound that no lie in n answers of the standby gives."""
    judged = list(judged)
    counts = Counter(each.verdict for each in judged)
    seen, own = {each.cell for each in judged}, sum(each.standby for each in judged)
    lines = [f"seed {seed}: {len(seen)} of {cells} cells, {len(judged)} answers judged, {own} of them the standby's"]
    lines += [f"  {verdict:8} {counts[verdict]:7}" for verdict in VERDICTS]
    for cell, verdict in sorted({(each.cell, each.verdict) for each in judged if each.verdict in BAD}):
        lines.append(f"  {verdict:8} {cell}: {next(e.what for e in judged if (e.cell, e.verdict) == (cell, verdict))}")
    if own and not any(counts[verdict] for verdict in BAD):
        lines.append(f"none false: at most {3 / own:.2g} of the standby's at 95% (3/n)")
    return "\n".join(lines)
