"""Good, total and what does not count, per promise and span. The store counts; no event is ever fetched.

A cube holds the counts of one bucket of time by client, endpoint, outcome, answerer and what the upstream gave: every
promise is read off it. Of people's own requests only; those whose client left are neither good nor bad for users.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Final, NamedTuple

from alerts.objectives.model import Counts
from alerts.objectives.openslo import Condition, Promise
from sidecar.events.store import EventStore, Filter

OTHER: Final = "other"
"""The endpoint's name of requests outside the contract."""
_BY: Final = (
    "understudy.client",
    "understudy.endpoint",
    "event.outcome",
    "understudy.answered_by",
    "understudy.upstream_outcome",
    "http.response.status_code",
    "understudy.purpose",
)


class Cell(NamedTuple):
    """One combination of values. `left`: the client left before its answer."""

    client: str
    endpoint: str
    outcome: str
    answered_by: str
    upstream: str
    left: bool


@dataclass
class Cube:
    """One bucket of time. `events`: all that the store holds of it, whatever for. `cells`: people's requests, each
    with how many there were, and how many of them took at most each of the `limits` (ns, ascending)."""

    limits: tuple[int, ...]
    events: int = 0
    cells: dict[Cell, list[int]] = field(default_factory=dict)

    def add(self, other: Cube) -> None:
        self.events += other.events
        for cell, counts in other.cells.items():
            mine = self.cells.get(cell)
            self.cells[cell] = counts[:] if mine is None else [a + b for a, b in zip(mine, counts, strict=True)]

    def copy(self) -> Cube:
        return Cube(self.limits, self.events, {cell: counts[:] for cell, counts in self.cells.items()})

    def at(self, within: int | None) -> int:
        """Where in a cell's counts those are that took at most so long."""
        return 0 if within is None else 1 + self.limits.index(within)


@dataclass(frozen=True)
class Tally:
    """What one promise comes to. `saved`: the standby answered well where the upstream did not."""

    good: int = 0
    total: int = 0
    not_asked: int = 0
    test: int = 0
    outside_contract: int = 0
    client_left: int = 0
    saved: int = 0

    @property
    def counts(self) -> Counts:
        return Counts(self.good, self.total)

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


def limits_of(promises: Iterable[Promise]) -> tuple[int, ...]:
    """The longest durations that these promises allow, in ns."""
    return tuple(sorted({promise.within for promise in promises if promise.within is not None}))


def ask(
    store: EventStore, since: int | None, until: int, limits: Sequence[int], interval: int | None = None
) -> dict[int, Cube]:
    """Cubes by their bucket's start; all times in ns, `interval` None for one bucket. Raises StoreUnavailable."""
    cubes: dict[int, Cube] = {}
    for slot, most in enumerate((None, *limits)):
        where = Filter(since=since, until=until, at_most={} if most is None else {"event.duration": most})
        for bucket in store.count(where, interval, _BY):
            cube = cubes.setdefault(bucket.start, Cube(tuple(limits)))
            cube.events += 0 if slot else bucket.count
            client, endpoint, outcome, answered_by, upstream, status, purpose = bucket.group
            if purpose == "user":
                left = outcome == "unknown" and status == "499"  # a 499 of the upstream's own is a success
                cell = Cell(client, endpoint, outcome, answered_by, upstream, left)
                counts = cube.cells.setdefault(cell, [0] * (1 + len(limits)))
                # what came in between the questions is not in the first answer, and waits for the next
                counts[slot] = min(counts[slot] + bucket.count, counts[0]) if slot else counts[0] + bucket.count
    return cubes


class Role(NamedTuple):
    """What a cell's requests are to a promise; `good` counts only those that were quick enough."""

    counts_as: str
    good: bool = False
    saved: bool = False


def role(cell: Cell, promise: Promise) -> Role | None:
    """None: not this promise's endpoint, or the upstream's part in it was not recorded."""
    endpoint, view = promise.objective.endpoint, promise.objective.view
    if endpoint is not None and cell.endpoint != endpoint:
        return None
    if cell.client != "user":
        return Role("test")
    if cell.endpoint == OTHER:
        return Role("outside_contract")
    if view == "users":
        if cell.left:
            return Role("client_left")
        saved = (cell.answered_by, cell.outcome) == ("standby", "success") and cell.upstream != "success"
        return Role("total", is_good(cell.outcome, cell.answered_by, promise.good), saved)
    if cell.upstream in ("success", "failure", "unknown"):
        return Role("total", is_good(cell.upstream, "upstream", promise.good))
    return Role("not_asked") if cell.upstream == "not_asked" else None


def tally(cube: Cube, promise: Promise) -> Tally:
    """One promise, read off the counts of a span."""
    found = dict.fromkeys((each.name for each in fields(Tally)), 0)
    quick = cube.at(promise.within)
    for cell, counts in cube.cells.items():
        if (what := role(cell, promise)) is not None:
            found[what.counts_as] += counts[0]
            found["good"] += counts[quick] if what.good else 0
            found["saved"] += counts[0] if what.saved else 0
    return Tally(**found)


def is_good(outcome: str, answered_by: str, good: Sequence[Condition]) -> bool:
    return any(
        (not each.outcome or outcome in each.outcome) and (not each.answered_by or answered_by in each.answered_by)
        for each in good
    )
