"""The report as one HTML file that needs nothing else: to be read, printed, and sent to the vendor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from alerts.counting.counts import Tally
from alerts.objectives import burn_rate
from alerts.reports.report import HOUR, Report, Result, Row, left_out, moment, percent, spent
from sidecar.timeunits import SECOND

DAY: Final = 86400
WIDTH: Final = 960
HEIGHT: Final = 120


@dataclass(frozen=True)
class Side:
    """One view of one promise, as it is shown."""

    requests: str
    share: str
    used: str
    filled: float
    """How much of the bar, from 0 to 1, the used budget fills."""
    state: str
    """kept, missed, or none where nothing was asked."""


@dataclass(frozen=True)
class Bar:
    """One day or hour of the chart, in its pixels."""

    x: float
    width: float
    upstream: float
    users: float
    says: str


def as_html(report: Report) -> str:
    rows = report.rows
    main = next((row for row in rows if not row.promise.each and row.promise.objective.endpoint is None), None)
    bars, top = _bars(main, report) if main else ((), Fraction(0))
    return _template().render(
        since=moment(report.since // SECOND), until=moment(report.until // SECOND), main=main, bars=bars,
        top=percent(top), per="day" if _daily(report) else "hour", width=WIDTH, height=HEIGHT,
        whole=[row for row in rows if not row.promise.each], left_out=left_out(report),
        each=[row for row in rows if row.promise.each and _seen(row)], side=side, worst=_worst, percent=percent,
        share=lambda counted: "no requests" if (s := burn_rate.sli(counted.counts)) is None else percent(s),
        moment=moment, service=report.service,
    )  # fmt: skip


@cache
def _template() -> Template:
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters["capitalised"] = lambda said: said[:1].upper() + said[1:]
    made.filters["grouped"] = lambda number: f"{number:,}"
    return made.get_template("report.html")


def side(result: Result | None) -> Side:
    """What is shown of a view; of None, that there is nothing."""
    share = burn_rate.sli(result.tally.counts) if result else None
    if result is None or share is None:
        return Side("0", "no requests", "", 0.0, "none")
    used = burn_rate.burn_rate(result.tally.counts, result.promise.objective.target) or Fraction(0)
    state = "missed" if used > 1 else "kept"
    return Side(f"{result.tally.total:,}", percent(share), spent(used), min(1.0, float(used)), state)


def _seen(row: Row) -> bool:
    return any(each is not None and each.tally.total + each.tally.not_asked for each in (row.users, row.hosp))


def _worst(row: Row) -> list[tuple[str, str, int, int]]:
    """(view, hour, bad, total) of both views, the worst of each first."""
    return [
        (result.promise.objective.view, moment(start), each.counts.bad, each.total)
        for result in (row.hosp, row.users)
        if result is not None
        for start, each in result.worst
    ]


def _daily(report: Report) -> bool:
    return report.until - report.since > 3 * DAY * SECOND


def _bars(row: Row, report: Report) -> tuple[tuple[Bar, ...], Fraction]:
    """The chart, and the share of failing requests that its height stands for."""
    step = DAY if _daily(report) else HOUR
    first, last = (at // SECOND // step * step for at in (report.since, report.until - 1))
    sides = [_by(result.hours if result else {}, step) for result in (row.hosp, row.users)]
    starts = range(first, last + 1, step)
    failing = [[_failing(each.get(start)) for start in starts] for each in sides]
    top = max((share for each in failing for share in each if share is not None), default=Fraction(0))
    slot = WIDTH / len(starts)
    bars = []
    for n, start in enumerate(starts):
        heights = [float(share / top) * HEIGHT if share else 0.0 for share in (failing[0][n], failing[1][n])]
        when = f"{datetime.fromtimestamp(start, UTC):{'%a %d %b' if step == DAY else '%d %b %H:%M'}}"
        said = ["not asked" if each[n] is None else f"{percent(each[n] or Fraction(0))} failing" for each in failing]
        bars.append(Bar(n * slot, slot, heights[0], heights[1], f"{when}: {report.service} {said[0]}; users {said[1]}"))
    return tuple(bars), top


def _by(hours: Mapping[int, Tally], step: int) -> dict[int, Tally]:
    found: dict[int, Tally] = {}
    for start, each in hours.items():
        found[start // step * step] = found.get(start // step * step, Tally()) + each
    return found


def _failing(counted: Tally | None) -> Fraction | None:
    share = burn_rate.sli(counted.counts) if counted else None
    return None if share is None else 1 - share
