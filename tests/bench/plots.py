"""Plots of measurements, as SVG: drawn by plotly in a real browser, which is on this machine anyway."""

from __future__ import annotations

import urllib.parse
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

SIZE = {"width": 720, "height": 360}


def draw(found: dict[str, Any], folder: Path) -> list[Path]:
    """A file for each part that was measured."""
    figures = {}
    if rows := [row for row in found.get("fleet", ()) if row["shared"]]:
        figures["fleet"] = _figure("Sidecars on one PostgreSQL", "sidecars", rows, "sidecars", {
            "requests/s": "rate", "p99, ms": "p99_ms",
        })  # fmt: skip
    if rows := found.get("events"):
        figures["events"] = _figure("The embedded store as it grows", "events", rows, "events", {
            "newest 50, ms": "newest_ms", "a person's newest 50, ms": "person_ms", "a day's counts, ms": "day_ms",
        }, log=True)  # fmt: skip
    return [_save(figure, folder / f"scale-{name}.svg") for name, figure in figures.items()]


def _figure(
    title: str, axis: str, rows: list[dict[str, float]], key: str, lines: dict[str, str], *, log: bool = False
) -> go.Figure:
    figure = go.Figure(layout={"title": title, "template": "plotly_white", **SIZE})
    for name, column in lines.items():
        figure.add_scatter(
            x=[row[key] for row in rows], y=[row[column] for row in rows], name=name, mode="lines+markers"
        )
    kind = "log" if log else "linear"
    figure.update_xaxes(title=axis, type=kind, tickvals=[row[key] for row in rows])
    figure.update_yaxes(type="log", rangemode="tozero")
    return figure


def _save(figure: go.Figure, path: Path) -> Path:
    from tests.support.dashboard.serving import chromium

    page = figure.to_html(include_plotlyjs=True, full_html=True, div_id="plot")
    with chromium() as browser:
        tab = browser.new_page()
        tab.set_default_timeout(120_000)
        tab.set_content(page)
        made = tab.evaluate("size => Plotly.toImage('plot', {format: 'svg', ...size})", SIZE)
    path.write_text(urllib.parse.unquote(made.partition(",")[2]) + "\n")
    return path
