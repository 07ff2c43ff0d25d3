"""Beside the events: when they were, and who, which patients, what and how it ended, with counts; a click filters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from dash import html

from dashboard.context import Parts
from dashboard.data.event_queries import Queries, bucket_for
from dashboard.ui import charts, components
from dashboard.values import people, time_format
from dashboard.values.filters import ACTIONS, OUTCOMES, View, utc
from sidecar.events.store import Filter
from sidecar.timeunits import DAY

Counts = Iterable[tuple[str, int]]


def _by(field: str) -> Callable[[Queries, Filter], Counts]:
    return lambda queries, where: ((key, count) for (key,), count in queries.by(where, field))


def _endings(queries: Queries, where: Filter) -> Counts:
    return queries.endings(where).most_common()


NAMES: Final[Mapping[str, tuple[str, Callable[[Queries, Filter], Counts], Callable[[str], str]]]] = {
    "person": ("People", _by("user.name"), str),
    "patient": ("Patients", _by("understudy.patient.id"), "Patient {}".format),
    "action": ("Did what", _by("event.action"), lambda key: ACTIONS.get(key, key)),
    "outcome": ("How it ended", _endings, lambda key: OUTCOMES[key][0]),
}
"""By the filter's name: title, what counts it, and how a value is said. Each is counted by itself: who wants one waits
for no other."""
SHOWN: Final = 8
_BARS: Final = 60


def facet(parts: Parts, name: str, view: View, where: Filter) -> components.Part:
    """One of NAMES. Raises StoreUnavailable."""
    title, counted, said = NAMES[name]
    return _facet(title, view, name, ((key, said(key), count) for key, count in counted(parts.queries, where)))


def _facet(title: str, view: View, name: str, values: Iterable[tuple[str, str, int]]) -> components.Part:
    known = [(key, words, count) for key, words, count in values if key]
    chosen = people.several(getattr(view, name))
    if not known:
        return None
    rows = [_row(view, name, chosen, *each) for each in known[:SHOWN]]
    rest = known[SHOWN:]
    more = None
    if rest:
        listed = html.Ul([_row(view, name, chosen, *each) for each in rest[:92]])
        beyond = html.P(f"and {len(rest) - 92:,} more: use the filter", className="quiet") if len(rest) > 92 else None
        more = html.Details([html.Summary(f"{len(rest):,} more"), listed, beyond])
    heading = html.H3([title, html.Span(f" {len(known):,}", className="quiet")])
    return html.Section([heading, html.Ul(rows), more], className="facet", id=f"facet-{name}")


def _row(view: View, name: str, chosen: list[str], key: str, words: str, count: int) -> html.Li:
    on = key in chosen
    address = f"/audit?{view.query(**{name: '' if on else key, 'after': ''})}"
    more = {"aria-current": "true"} if on else {}
    return html.Li(
        [
            components.link(words, address, className="here" if on else ""),
            html.Span(components.number(count), className="number"),
        ],
        **more,
    )


def histogram(parts: Parts, view: View, where: Filter) -> components.Part:
    """When the events were. Raises StoreUnavailable."""
    now = parts.clock()
    since = where.since
    buckets = parts.queries.over_time(where, bucket_for(((where.until or now) - (since or now - 365 * DAY)), _BARS))
    if not buckets:
        return None
    interval = bucket_for((where.until or now) - (since or buckets[0].start), _BARS)
    if since is None:
        buckets = parts.queries.over_time(where, interval)
    counts = [(bucket.start, bucket.count) for bucket in buckets]
    top_at, top = max(counts, key=lambda each: each[1])
    unit = charts.span(interval)
    says = f"Events per {unit}; most, {top:,}, in the {unit} from {time_format.stamp(top_at, parts.zone)}."
    rows = [
        (
            components.link(time_format.day_and_time(at, parts.zone), f"/audit?{zoomed(view, at, interval)}"),
            components.number(count),
        )
        for at, count in counts
    ]
    columns = [f"from, {time_format.zone_name(now, parts.zone)}", "events"]
    table = components.table(f"Events per {unit}", columns, rows, (1,))
    return components.graph("histogram", charts.histogram(counts, interval, parts.zone), says, table)


def zoomed(view: View, start: int, interval: int) -> str:
    """The query of the same view in one bucket of time."""
    return view.query(period="between", start=utc(start), end=utc(start + interval), after="")
