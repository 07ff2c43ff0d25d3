"""The report: what users got and what HOSP gave, per promise, for any period; as a table, JSON, CSV or HTML."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from html import escape
from typing import Any, Final

from alerts import burn
from alerts.counts import SECOND, Tally, ask, tally
from alerts.model import Objective
from alerts.openslo import Promise
from sidecar.record.stores import EventStore

HOUR: Final = 3600 * SECOND
WORST: Final = 5
HEADINGS: Final = (
    "slo", "objective", "target", "view", "endpoint", "good", "total", "sli", "budget used", "not asked",
    "saved by the standby", "client left", "test", "outside the contract",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One promise in the period. `worst`: its worst hours as (start in ns, bad, total)."""

    promise: Promise
    tally: Tally
    worst: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Report:
    """Times in ns since the epoch; since ≤ t < until."""

    since: int
    until: int
    results: tuple[Result, ...]


def make(store: EventStore, promises: Sequence[Promise], since: int, until: int) -> Report:
    """Counts each promise over the period, to the nanosecond. Raises StoreUnavailable."""
    limits = {promise.within for promise in promises}
    hours = ask(store, since, until, limits, HOUR)
    results = []
    for promise in promises:
        each = {start: tally(cube, promise) for start, cube in hours.items()}
        bad = [(start, one.counts.bad, one.total) for start, one in each.items() if one.counts.bad]
        worst = sorted(bad, key=lambda hour: (-hour[1], hour[0]))[:WORST]
        results.append(Result(promise, _sum(each.values()), tuple(worst)))
    return Report(since, until, tuple(results))


def _sum(tallies: Any) -> Tally:
    total = Tally()
    for each in tallies:
        total = Tally(*(getattr(total, name) + getattr(each, name) for name in Tally.__dataclass_fields__))
    return total


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
    rows = [HEADINGS, *_rows(report)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([_title(report), "", *lines, *_worst(report)])


def as_html(report: Report) -> str:
    """One file that needs nothing else."""
    head = "".join(f"<th scope=col>{escape(name)}" for name in HEADINGS)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}" for cell in row) for row in _rows(report))
    worst = "".join(f"<li>{escape(line.strip())}" for line in _worst(report)[2:])
    style = "body{font:16px sans-serif}table{border-collapse:collapse}td,th{border:1px solid #888;padding:.2em .6em}"
    hours = f"<h2>Worst hours</h2><ul>{worst}</ul>" if worst else ""
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(_title(report))}</title>"
        f"<style>{style}</style><h1>{escape(_title(report))}</h1><table><thead><tr>{head}</thead>"
        f"<tbody>\n{body}\n</tbody></table>{hours}</html>\n"
    )


def budget_used(objective: Objective, counted: Tally) -> Fraction | None:
    """The share of this period's budget that is used; None when nothing was asked."""
    return burn.burn_rate(counted.counts, objective.target)


def _rows(report: Report) -> Iterator[tuple[str, ...]]:
    for result in report.results:
        of, counted = result.promise.objective, result.tally
        share, used = burn.sli(counted.counts), budget_used(of, counted)
        yield (
            of.slo, of.name, _percent(of.target), of.view, of.endpoint or "all", str(counted.good),
            str(counted.total), "no requests" if share is None else _percent(share),
            "" if used is None else _percent(used), str(counted.not_asked), str(counted.saved),
            str(counted.client_left), str(counted.test), str(counted.outside_contract),
        )  # fmt: skip


def _percent(share: Fraction) -> str:
    """Never rounded up to a whole that it is not: cut after four digits."""
    return f"{float(Fraction(int(share * 1_000_000), 10_000)):g}%"


def _worst(report: Report) -> list[str]:
    lines = []
    for result in report.results:
        of = result.promise.objective
        if not result.promise.each:
            for start, bad, total in result.worst:
                lines.append(f"  {of.slo} ({of.view}): {_hour(start)}: {bad} of {total} bad")
    return ["", "Worst hours", *lines] if lines else []


def _title(report: Report) -> str:
    return f"Service levels from {_hour(report.since)} to {_hour(report.until)}"


def _hour(at: int) -> str:
    return f"{datetime.fromtimestamp(at // SECOND, UTC):%Y-%m-%d %H:%M} UTC"
