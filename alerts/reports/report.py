"""The report: what users got and what the upstream gave, per promise, for any period; as a table, JSON or CSV.

`report_page` has it as a page. Whole hours come from counts that are kept and always equal what the store holds, the
rest from the store: each figure is exact, to the nanosecond.
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from alerts.counting.counts import Cube, Tally, ask, limits_of, tally
from alerts.counting.rollups import MONTH, SETTLE, Rollups
from alerts.objectives import burn_rate
from alerts.objectives.model import Objective
from alerts.objectives.openslo import Promise
from sidecar.events.store import EventStore
from sidecar.timeunits import SECOND

HOUR: Final = 3600
WORST: Final = 5
HEADINGS: Final = (
    "slo", "objective", "target", "view", "endpoint", "good", "total", "sli", "budget used", "not asked",
    "saved by the standby", "client left", "test", "outside the contract",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One promise in the period; `hours`: by the hour's start in Unix seconds."""

    promise: Promise
    tally: Tally
    hours: Mapping[int, Tally]

    @property
    def worst(self) -> list[tuple[int, Tally]]:
        """The hours with the most bad requests, the worst first."""
        bad = [(start, each) for start, each in self.hours.items() if each.counts.bad]
        return sorted(bad, key=lambda hour: (-hour[1].counts.bad, hour[0]))[:WORST]


@dataclass(frozen=True)
class Row:
    """One promise in both views, as far as it was made for them."""

    users: Result | None
    hosp: Result | None

    @property
    def promise(self) -> Promise:
        found = self.users or self.hosp
        assert found is not None
        return found.promise


@dataclass(frozen=True)
class Report:
    """Times in ns since the epoch; since ≤ t < until."""

    since: int
    until: int
    results: tuple[Result, ...]

    @property
    def service(self) -> str:
        """What people call the API that this is about."""
        return self.results[0].promise.service if self.results else "the upstream"

    @property
    def rows(self) -> list[Row]:
        views: dict[tuple[str, str, str | None], dict[str, Result]] = {}
        for result in self.results:
            of = result.promise.objective
            views.setdefault((of.slo, of.name, of.endpoint), {})[of.view] = result
        return [Row(each.get("users"), each.get("hosp")) for each in views.values()]


def make(
    store: EventStore, promises: Sequence[Promise], since: int, until: int, kept: Path | None = None
) -> Report:  # fmt: skip
    """Counts each promise over the period. Raises StoreUnavailable."""
    hours = _hours(store, limits_of(promises), since, until, kept)
    results = []
    for promise in promises:
        each = {start: tally(cube, promise) for start, cube in sorted(hours.items())}
        results.append(Result(promise, sum(each.values(), Tally()), each))
    return Report(since, until, tuple(results))


def _hours(
    store: EventStore, limits: tuple[int, ...], since: int, until: int, kept: Path | None
) -> dict[int, Cube]:  # fmt: skip
    """Cubes by the hour's start; where the period begins or ends within an hour, of that part of it."""
    rollups = Rollups(store, limits, MONTH, kept)
    assert rollups.block == HOUR
    first = -(-since // (HOUR * SECOND)) * HOUR
    last = min(until // SECOND, int(time.time()) - SETTLE) // HOUR * HOUR
    edges = [(since, until)] if first >= last else [(since, first * SECOND), (last * SECOND, until)]
    try:
        hours = rollups.wholes(first, last) if first < last else {}
    finally:
        rollups.close()
    for start, end in edges:
        if start < end:
            found = ask(store, start, end, limits, HOUR * SECOND)
            hours |= {at // SECOND: cube for at, cube in found.items()}
    return hours


def as_json(report: Report) -> str:
    """The shape that DESIGN.md gives."""
    objectives: dict[tuple[str, Fraction], dict[str, Any]] = {}
    for result in report.results:
        of, counted = result.promise.objective, result.tally
        entry = objectives.setdefault(
            (of.slo, of.target), {"slo": of.slo, "target": float(of.target), "results": []}
        )  # fmt: skip
        entry["results"].append(
            {
                "view": of.view,
                "endpoint": of.endpoint,
                "good": counted.good,
                "total": counted.total,
                "not_asked": counted.not_asked,
                "excluded": {"test": counted.test, "outside_contract": counted.outside_contract},
            }
        )
    return json.dumps({"objectives": list(objectives.values())}, indent=2)


def as_csv(report: Report) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADINGS)
    writer.writerows(_rows(report))
    return text.getvalue()


def as_table(report: Report) -> str:
    """For a person at a terminal: the objectives, the endpoints that were asked for, the worst hours."""
    whole = [row for row in report.rows if not row.promise.each]
    each = [row for row in report.rows if row.promise.each and _asked(row)]
    headings = _headings(report.service)
    lines = [title(report), "", *_aligned(headings, [_line(row) for row in whole])]
    if each:
        lines += ["", "Endpoints", *_aligned(headings, [_line(row) for row in each])]
    return "\n".join([*lines, *_worst(report), *_left_out(report)])


def _headings(service: str) -> tuple[str, ...]:
    return (
        "objective", "target", "requests", "users got", "budget used", f"{service} asked", f"{service} gave",
        "budget used", "standby saved",
    )  # fmt: skip


def _line(row: Row) -> tuple[str, ...]:
    of = row.promise.objective
    name = of.endpoint or of.slo
    if not row.promise.each and of.endpoint:
        name = f"{of.slo}: {of.endpoint}"
    users, hosp = (None if each is None else each.tally for each in (row.users, row.hosp))
    saved = "-" if users is None else f"{users.saved:,}"
    return (name, percent(of.target), *_view(of, users), *_view(of, hosp), saved)


def _view(of: Objective, counted: Tally | None) -> tuple[str, str, str]:
    if counted is None:
        return "-", "-", "-"
    share, used = burn_rate.sli(counted.counts), budget_used(of, counted)
    if share is None or used is None:
        return "0", "no requests", "-"
    return f"{counted.total:,}", percent(share), spent(used)


def _asked(row: Row) -> bool:
    return any(each is not None and each.tally.total + each.tally.not_asked for each in (row.users, row.hosp))


def _aligned(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left, figures to the right."""
    widths = [max(len(row[n]) for row in (headings, *rows)) for n in range(len(headings))]

    def line(row: Sequence[str]) -> str:
        return "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])

    return [line(row) for row in (headings, *rows)]


def budget_used(objective: Objective, counted: Tally) -> Fraction | None:
    """The share of this period's budget that is used; None when nothing was asked."""
    return burn_rate.burn_rate(counted.counts, objective.target)


def _rows(report: Report) -> Iterator[tuple[str, ...]]:
    for result in report.results:
        of, counted = result.promise.objective, result.tally
        share, used = burn_rate.sli(counted.counts), budget_used(of, counted)
        yield (
            of.slo, of.name, percent(of.target), of.view, of.endpoint or "all", str(counted.good),
            str(counted.total), "no requests" if share is None else percent(share),
            "" if used is None else percent(used), str(counted.not_asked), str(counted.saved),
            str(counted.client_left), str(counted.test), str(counted.outside_contract),
        )  # fmt: skip


def percent(share: Fraction) -> str:
    """Never rounded up to a whole that it is not: cut after four digits."""
    return f"{float(Fraction(int(share * 1_000_000), 10_000)):g}%"


def spent(used: Fraction) -> str:
    """A budget, to be read: 0.08%, 25.5%, 6,925%; cut, not rounded."""
    digits = 0 if used >= 1 else 1 if used >= Fraction(1, 10) else 2
    cut = int(used * 100 * 10**digits)
    return f"{cut / 10**digits:,.{digits}f}%"


def _worst(report: Report) -> list[str]:
    lines = []
    for result in report.results:
        of = result.promise.objective
        if not result.promise.each:
            whose = "users" if of.view == "users" else report.service
            for start, each in result.worst[:3]:
                lines.append(f"  {of.slo} ({whose}): {moment(start)}: {each.counts.bad:,} of {each.total:,} bad")
    return ["", "Worst hours", *lines] if lines else []


def _left_out(report: Report) -> list[str]:
    found = left_out(report)
    named = [f"{count:,} {what}" for what, count in found.items() if count]
    return ["", "Not counted: " + ", ".join(named)] if named else []


def left_out(report: Report) -> dict[str, int]:
    """Requests that count for nobody, by why."""
    whole = next((each.tally for each in report.results if each.promise.objective.endpoint is None), Tally())
    return {
        "of test traffic": whole.test,
        "outside the contract": whole.outside_contract,
        "whose client left before its answer": whole.client_left,
    }


def title(report: Report) -> str:
    return f"Service levels from {moment(report.since // SECOND)} to {moment(report.until // SECOND)}"


def moment(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
