"""Plotly figures in one visual language: colours safe for colour-blind readers (Okabe and Ito), patterns beside them.

Text, grid and background take their colours from the style sheet, so that a chart follows light, dark and print.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from zoneinfo import ZoneInfo

import plotly.graph_objects as go

from dashboard import when
from dashboard.counted import Slice
from dashboard.moments import Moment

BLUE, ORANGE, RED, GREEN, PURPLE, GREY = "#2a7fb8", "#e69f00", "#d55e00", "#009e73", "#a8669a", "#8a8f98"
FONT: Final = "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


LANES: Final = {"takeover": (2, PURPLE, "diamond"), "alert": (1, RED, "square"), "mark": (0, GREY, "triangle-down")}
"""Above the traffic, a lane each: its place, its colour, and the shape at which something begins."""


_PATTERN: Final = {"fillmode": "overlay", "fgcolor": "rgba(255,255,255,0.7)", "size": 5, "solidity": 0.3}


def traffic(slices: Sequence[Slice], interval: int, zone: ZoneInfo, moments: Sequence[Moment], now: int) -> go.Figure:
    """Requests per bucket of so many ns by who answered, and what happened meanwhile above them."""
    times = [_time(part.start + interval // 2, zone) for part in slices]
    figure = go.Figure()
    for name, values, colour, pattern in (
        ("answered by HOSP", [part.upstream for part in slices], BLUE, ""),
        ("answered by the standby", [part.standby for part in slices], ORANGE, "/"),
        ("failed", [part.failed for part in slices], RED, "x"),
        ("ended without certainty", [part.uncertain for part in slices], GREY, "."),
    ):
        if not any(values) and name not in ("answered by HOSP", "failed"):
            continue
        figure.add_bar(
            x=times,
            y=values,
            name=name,
            width=interval / 1e6 * 0.92,
            marker={"color": colour, "line": {"width": 0}, "pattern": {**_PATTERN, "shape": pattern}},
            hovertemplate="%{y:,} " + name + "<br>%{x|%a %d %b %H:%M}<extra></extra>",
        )
    for kind, (lane, colour, symbol) in LANES.items():
        _lane(figure, [moment for moment in moments if moment.kind == kind], kind, lane, colour, symbol, now, zone)
    named = zone_title(now, zone)
    _plain(figure, f"requests per {_span(interval)}", named, 340)
    figure.update_layout(barmode="stack", yaxis={"domain": [0, 0.72]}, yaxis2=_LANE_AXIS)
    return figure.update_xaxes(range=[_time(slices[0].start, zone), _time(now, zone)])


_LANE_AXIS: Final = {
    "domain": [0.76, 1], "range": [-0.7, 2.7], "tickvals": [2, 1, 0], "ticktext": ["takeovers", "alerts", "marks"],
    "showgrid": False, "zeroline": False, "fixedrange": True, "automargin": True,
}  # fmt: skip


def _lane(
    figure: go.Figure, moments: Sequence[Moment], kind: str, lane: int, colour: str, symbol: str, now: int,
    zone: ZoneInfo,
) -> None:  # fmt: skip
    """One trace for all of a kind: from beginning to end, a gap between each and the next."""
    x: list[str | None] = []
    words: list[str] = []
    for moment in moments:
        x += [_time(moment.at, zone), _time(now if moment.until is None else moment.until, zone), None]
        said = str(moment).replace("<", "‹")
        words += [said, f"{said} (its end)" if moment.until is not None else f"{said} (goes on)", ""]
    figure.add_scatter(
        x=x,
        y=[lane if at else None for at in x],
        yaxis="y2",
        mode="lines+markers",
        name=kind,
        text=words,
        line={"color": colour, "width": 5},
        marker={"symbol": symbol, "size": 10, "color": colour},
        hovertemplate="%{text}<br>%{x|%a %d %b %H:%M:%S}<extra></extra>",
        showlegend=False,
    )


LOWEST: Final = -0.5
"""Where a burn-down leaves its frame: how far it is overspent is said in words."""


def burn_down(courses: Mapping[str, Sequence[tuple[int, float]]], zone: ZoneInfo) -> go.Figure:
    """The error budget that was left in the course of the period, by view."""
    figure = go.Figure()
    styles = {"users": ("users", BLUE, "solid"), "hosp": ("HOSP", ORANGE, "dash")}
    for view, points in courses.items():
        name, colour, dash = styles[view]
        figure.add_scatter(
            x=[_time(at, zone) for at, _ in points],
            y=[left for _, left in points],
            name=name,
            mode="lines",
            line={"color": colour, "width": 2.5, "dash": dash},
            hovertemplate="%{y:.1%} left<br>%{x|%a %d %b %H:%M}<extra>" + name + "</extra>",
        )
    figure.add_hline(y=0, line={"color": RED, "width": 1.5, "dash": "dot"})
    ends = [at for points in courses.values() for at, _ in points]
    made = _plain(figure, "budget left", zone_title(max(ends, default=0), zone), 210)
    lowest = max(LOWEST, min([0.0, *(left for points in courses.values() for _, left in points)]) - 0.04)
    return made.update_yaxes(tickformat=".0%", range=[lowest, 1.04])


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


def _plain(figure: go.Figure, y_title: str, x_title: str, height: int = 280) -> go.Figure:
    axis = {"showgrid": True, "zeroline": False, "automargin": True, "title": {"standoff": 8, "font": {"size": 12}}}
    figure.update_layout(
        template="none",
        height=height,
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
