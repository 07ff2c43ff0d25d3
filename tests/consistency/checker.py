"""Proves from histories and the upstream's final state that no promise was broken, or says which was. Pure.

Each record is a register with one writer (the client that made it) and many readers. The writer's operations come one
after another; one whose outcome is unknown may take effect at any time until a later write of its is acknowledged. A
read must see what some moment between its start and its end could show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.consistency.history import Operation, Outcome

ABSENT = None
FOREVER = float("inf")


@dataclass(frozen=True)
class Violation:
    """A broken promise: lost, doubled, untrue, unread, undone."""

    promise: str
    what: str
    operation: Operation | None = None

    def __str__(self) -> str:
        seen = self.operation
        where = f" (client {seen.client}, {seen.began:.2f} to {seen.ended:.2f}, {seen.by})" if seen else ""
        return f"{self.promise}: {self.what}{where}"


@dataclass(frozen=True)
class Final:
    """The upstream at the end. `rows`: [title, body]; `applied`: each write that took effect, as (kind, title or body);
    `parked`: titles of records with entries that wait for a person."""

    rows: Sequence[tuple[str, str]]
    applied: Sequence[tuple[str, str]] = ()
    parked: frozenset[str] = frozenset()


class Register:
    """The possible values of one record."""

    def __init__(self, writes: Iterable[Operation]) -> None:
        self.writes = sorted((w for w in writes if w.outcome is not Outcome.FAIL), key=lambda w: w.began)

    def possible(self, began: float, ended: float) -> set[str | None]:
        """What a read within [began, ended] may see."""
        acked = [i for i, write in enumerate(self.writes) if write.outcome is Outcome.OK and write.ended <= began]
        last = acked[-1] if acked else -1
        values = {_value(self.writes[last])} if last >= 0 else {ABSENT}
        return values | {_value(write) for write in self.writes[last + 1 :] if write.began < ended}


def check(
    operations: Sequence[Operation], final: Final, screening: Callable[[str], str] | None = None
) -> list[Violation]:
    """Every broken promise. `screening`: what an image shows, where that is known."""
    by_title: dict[str, list[Operation]] = {}
    for operation in operations:
        if operation.kind in ("create", "update", "delete"):
            by_title.setdefault(operation.title, []).append(operation)
    registers = {title: Register(writes) for title, writes in by_title.items()}
    return [
        *_reads(operations, registers),
        *_lists(operations, registers),
        *_absences(operations, registers),
        *_final(registers, by_title, final),
        *_applied(final),
        *(_screenings(operations, screening) if screening else ()),
    ]


def _reads(operations: Iterable[Operation], registers: Mapping[str, Register]) -> Iterable[Violation]:
    for read in operations:
        if read.kind != "read" or read.outcome is not Outcome.OK:
            continue
        possible = registers[read.title].possible(read.began, read.ended)
        if read.seen not in possible:
            yield Violation("untrue", f"{read.title} was {read.seen!r}, and could be {possible}", read)


def _absences(operations: Iterable[Operation], registers: Mapping[str, Register]) -> Iterable[Violation]:
    """Who changes a record, and is told that there is none."""
    for write in operations:
        if write.kind in ("update", "delete") and write.status == 404:
            possible = registers[write.title].possible(write.began, write.ended)
            if ABSENT not in possible:
                yield Violation("untrue", f"{write.title} was said not to be there, and could be {possible}", write)


def _lists(operations: Iterable[Operation], registers: Mapping[str, Register]) -> Iterable[Violation]:
    for listing in operations:
        if listing.kind != "list" or listing.outcome is not Outcome.OK:
            continue
        rows = [(title, body) for title, body in listing.seen if title in registers]
        counts, bodies = Counter(title for title, _ in rows), dict(rows)
        yield from (Violation("untrue", f"{t} is listed {n} times", listing) for t, n in counts.items() if n > 1)
        for title, register in registers.items():
            possible = register.possible(listing.began, listing.ended)
            if bodies.get(title, ABSENT) not in possible:
                seen = bodies.get(title, ABSENT)
                yield Violation("untrue", f"{title} was listed as {seen!r}, and could be {possible}", listing)


def _final(
    registers: Mapping[str, Register], writes: Mapping[str, Sequence[Operation]], final: Final
) -> Iterable[Violation]:
    counts, bodies = Counter(title for title, _ in final.rows), dict(final.rows)
    for title, register in registers.items():
        if counts[title] > 1:
            yield Violation("doubled", f"{title} is there {counts[title]} times")
        if title in final.parked:
            continue
        possible = register.possible(FOREVER, FOREVER)
        if bodies.get(title, ABSENT) not in possible:
            promise = "lost" if any(w.outcome is Outcome.OK for w in writes[title]) else "undone"
            yield Violation(promise, f"{title} ended as {bodies.get(title, ABSENT)!r}, and should be {possible}")


def _applied(final: Final) -> Iterable[Violation]:
    counts = Counter(final.applied)
    return (
        Violation("doubled", f"{kind} of {what} was applied {n} times") for (kind, what), n in counts.items() if n > 1
    )


def _screenings(operations: Iterable[Operation], screening: Callable[[str], str]) -> Iterable[Violation]:
    for asked in operations:
        if asked.kind == "screen" and asked.outcome is Outcome.OK and asked.seen != screening(asked.value):
            yield Violation("untrue", f"{asked.value} was found {asked.seen}, and is {screening(asked.value)}", asked)


def _value(write: Operation) -> Any:
    return ABSENT if write.kind == "delete" else write.value
