"""Plotly figures in one visual language: colours safe for colour-blind readers (Okabe and Ito), patterns beside them.

Text, grid and background take their colours from the style sheet, so that a chart follows light, dark and print.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

import plotly.graph_objects as go

from dashboard import when
from dashboard.queries import Slice

BLUE, ORANGE, RED, GREEN, PURPLE, GREY = "#2a7fb8", "#e69f00", "#d55e00", "#009e73", "#a8669a", "#8a8f98"
FONT: Final = "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


@dataclass(frozen=True)
class Moment:
    """Something that happened, on the timeline. `kind`: takeover, alert or mark."""

    at: int
    kind: str
    said: str


SYMBOLS: Final = {"takeover": ("diamond", PURPLE), "alert": ("square", RED), "mark": ("triangle-down", GREY)}


def traffic(slices: Sequence[Slice], interval: int, zone: ZoneInfo, moments: Sequence[Moment]) -> go.Figure:
    """Requests per bucket by who answered, and what happened meanwhile above them."""
    times = [_time(part.start + interval // 2, zone) for part in slices]
    figure = go.Figure()
    for name, values, colour, pattern in (
        ("answered by HOSP", [part.upstream for part in slices], BLUE, ""),
        ("answered by the standby", [part.standby for part in slices], ORANGE, "/"),
        ("failed", [part.failed for part in slices], RED, "x"),
    ):
        figure.add_bar(
            x=times,
            y=values,
            name=name,
            width=interval / 1e6 * 0.92,
            marker={"color": colour, "line": {"width": 0}, "pattern": {"shape": pattern, "size": 5, "solidity": 0.35}},
            hovertemplate="%{y:,} " + name + "<br>%{x|%a %d %b %H:%M}<extra></extra>",
        )
    top = max((part.total for part in slices), default=1) * 1.12 or 1
    for kind, (symbol, colour) in SYMBOLS.items():
        shown = [moment for moment in moments if moment.kind == kind]
        if shown:
            figure.add_scatter(
                x=[_time(moment.at, zone) for moment in shown],
                y=[top] * len(shown),
                mode="markers",
                name=kind,
                text=[moment.said.replace("<", "‹") for moment in shown],
                marker={"symbol": symbol, "size": 11, "color": colour},
                hovertemplate="%{text}<br>%{x|%a %d %b %H:%M:%S}<extra></extra>",
            )
    named = zone_title(slices[-1].start if slices else 0, zone)
    return _plain(figure, f"requests per {_span(interval)}", named).update_layout(barmode="stack")


def burn_down(points: Sequence[tuple[int, float]], zone: ZoneInfo, name: str) -> go.Figure:
    """The error budget that is left, over the objective's window."""
    figure = go.Figure()
    figure.add_scatter(
        x=[_time(at, zone) for at, _ in points],
        y=[left for _, left in points],
        name=name,
        mode="lines",
        line={"color": BLUE, "width": 2.5},
        fill="tozeroy",
        fillcolor="rgba(42,127,184,0.15)",
        hovertemplate="%{y:.1%} left<br>%{x|%a %d %b %H:%M}<extra></extra>",
    )
    figure.add_hline(y=0, line={"color": RED, "width": 1.5, "dash": "dash"})
    made = _plain(figure, "error budget left", zone_title(points[-1][0] if points else 0, zone))
    return made.update_yaxes(tickformat=".0%", rangemode="normal")


def latencies(times: Sequence[tuple[int, dict[float, float]]], zone: ZoneInfo) -> go.Figure:
    """Percentiles of how long answers took, in seconds."""
    figure = go.Figure()
    for percent, colour, dash in ((50.0, BLUE, "solid"), (95.0, ORANGE, "dash"), (99.0, RED, "dot")):
        figure.add_scatter(
            x=[_time(at, zone) for at, _ in times],
            y=[found.get(percent, 0) / 1e9 for _, found in times],
            name=f"{percent:.0f}% are faster",
            mode="lines+markers",
            line={"color": colour, "width": 2, "dash": dash},
            marker={"size": 4},
            hovertemplate="%{y:.2f} s<br>%{x|%a %d %b %H:%M}<extra></extra>",
        )
    return _plain(figure, "seconds", zone_title(times[-1][0] if times else 0, zone))


def zone_title(at: int, zone: ZoneInfo) -> str:
    return f"time, {when.zone_name(at, zone)}"


def _plain(figure: go.Figure, y_title: str, x_title: str) -> go.Figure:
    axis = {"showgrid": True, "zeroline": False, "automargin": True, "title": {"standoff": 8, "font": {"size": 12}}}
    figure.update_layout(
        template="none",
        height=280,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "size": 12},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left", "traceorder": "normal"},
        hovermode="closest",
        uirevision="keep",
        dragmode=False,
        showlegend=True,
    )
    figure.update_xaxes(**axis, title_text=x_title, fixedrange=True)
    figure.update_yaxes(**axis, title_text=y_title, rangemode="tozero", fixedrange=True)
    return figure


def _time(at: int, zone: ZoneInfo) -> str:
    return f"{when.local(at, zone):%Y-%m-%dT%H:%M:%S}"


def _span(interval: int) -> str:
    if interval >= when.DAY:
        return "day" if interval == when.DAY else f"{interval // when.DAY} days"
    if interval >= when.HOUR:
        return "hour" if interval == when.HOUR else f"{interval // when.HOUR} hours"
    return "minute" if interval == when.MINUTE else f"{interval // when.MINUTE} minutes"
