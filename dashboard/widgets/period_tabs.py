"""The periods, as links that keep the rest of the view."""

from __future__ import annotations

from dash import html

from dashboard.ui import components
from dashboard.values.filters import PERIODS, View


def tabs(path: str, view: View) -> html.Nav:
    links = []
    for key, words in PERIODS.items():
        if key != "between":
            address = f"{path}?{view.query(period=key, start='', end='', after='')}"
            links.append(components.link(words, address, className="here" if view.period == key else ""))
    between = html.Span(f"{view.start} to {view.end}", className="here") if view.period == "between" else None
    return html.Nav([*links, between], className="tabs", **{"aria-label": "Period"})
