"""Charts for plotly.js in one visual language: colours safe for colour-blind readers (Okabe and Ito), patterns beside.

They are plain data: plotly's own figure objects check each value, which costs more than all that a page counts. Text,
grid and background take their colours from the style sheet, so that a chart follows light, dark and print.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

from dashboard.data.slo_figures import Slice
from dashboard.data.timeline import Moment
from dashboard.values import budgets, time_format
from sidecar.timeunits import DAY, HOUR, MINUTE

Figure = dict[str, Any]
"""{"data": traces, "layout": layout}, as plotly.js takes it."""
BLUE, ORANGE, RED, GREEN, PURPLE, GREY = "#2a7fb8", "#e69f00", "#d55e00", "#009e73", "#a8669a", "#8a8f98"
FONT: Final = "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
LANES: Final = {"takeover": (2, PURPLE, "diamond"), "alert": (1, RED, "square"), "mark": (0, GREY, "triangle-down")}
"""Above the traffic, a lane each: its place, its colour, and the shape at which something begins and ends."""
LOWEST: Final = -0.5
"""The floor of a burn-down: what is overspent further is drawn there, with its value."""
_LANE_AXIS: Final = {
    "domain": [0.76, 1], "range": [-0.7, 2.7], "tickvals": [2, 1, 0], "ticktext": ["takeovers", "alerts", "marks"],
    "showgrid": False, "zeroline": False, "fixedrange": True, "automargin": True,
}  # fmt: skip
_PATTERN: Final = {"fillmode": "overlay", "fgcolor": "rgba(255,255,255,0.7)", "size": 5, "solidity": 0.3}


def traffic(
    slices: Sequence[Slice], interval: int, zone: ZoneInfo, moments: Sequence[Moment], now: int, api: str
) -> Figure:
    """Requests per bucket of so many ns by who answered, and what happened meanwhile above them."""
    kinds = (
        (f"answered by {api}", [part.upstream for part in slices], BLUE, ""),
        ("answered by the standby", [part.standby for part in slices], ORANGE, "/"),
        ("failed", [part.failed for part in slices], RED, "x"),
        ("ended without certainty", [part.uncertain for part in slices], GREY, "."),
    )
    bars = [
        {
            "type": "bar",
            "x": [_time(part.start + interval // 2, zone) for part in slices],
            "y": values,
            "name": name,
            "width": interval / 1e6 * 0.92,
            "marker": {"color": colour, "line": {"width": 0}, "pattern": {**_PATTERN, "shape": pattern}},
            "hovertemplate": "%{y:,} " + name + "<br>%{x|%a %d %b %H:%M}<extra></extra>",
        }
        for name, values, colour, pattern in kinds
        if any(values) or colour == BLUE
    ]
    lanes = [_lane([each for each in moments if each.kind == kind], kind, now, zone) for kind in LANES]
    layout = _layout(f"requests per {span(interval)}", zone_title(now, zone), 340)
    layout |= {"barmode": "stack", "yaxis2": _LANE_AXIS}
    layout["yaxis"]["domain"] = [0, 0.72]
    layout["xaxis"]["range"] = [_time(slices[0].start, zone), _time(now, zone)]
    return {"data": bars + lanes, "layout": layout}


def _lane(moments: Sequence[Moment], kind: str, now: int, zone: ZoneInfo) -> dict[str, Any]:
    """One trace for all of a kind: from beginning to end, a gap between each and the next."""
    lane, colour, symbol = LANES[kind]
    x: list[str | None] = []
    words: list[str] = []
    for moment in moments:
        x += [_time(moment.at, zone), _time(now if moment.until is None else moment.until, zone), None]
        said = str(moment).replace("<", "‹")
        words += [said, f"{said} (its end)" if moment.until is not None else f"{said} (goes on)", ""]
    return {
        "type": "scatter",
        "x": x,
        "y": [lane if at else None for at in x],
        "yaxis": "y2",
        "mode": "lines+markers",
        "name": kind,
        "text": words,
        "line": {"color": colour, "width": 5},
        "marker": {"symbol": symbol, "size": 10, "color": colour},
        "cliponaxis": False,
        "hovertemplate": "%{text}<br>%{x|%a %d %b %H:%M:%S}<extra></extra>",
        "showlegend": False,
    }


def histogram(counts: Sequence[tuple[int, int]], interval: int, zone: ZoneInfo) -> Figure:
    """How many events each bucket of time holds."""
    bars = {
        "type": "bar",
        "x": [_time(at + interval // 2, zone) for at, _ in counts],
        "y": [count for _, count in counts],
        "width": interval / 1e6 * 0.92,
        "marker": {"color": BLUE, "line": {"width": 0}},
        "hovertemplate": "%{y:,} events<br>%{x|%a %d %b %H:%M}<extra></extra>",
    }
    layout = _layout("events", zone_title(counts[-1][0], zone), 170)
    layout["showlegend"] = False
    return {"data": [bars], "layout": layout}


def burn_down(courses: Mapping[str, Sequence[tuple[int, float]]], zone: ZoneInfo, api: str) -> Figure:
    """The error budget that was left in the course of the period, by view."""
    styles = {"users": ("users", BLUE, "solid"), "hosp": (api, ORANGE, "dash")}
    lines = [
        _line([(at, max(LOWEST, left)) for at, left in points], zone, *styles[view], "%{text} left")
        | {"text": [f"{left:.1%}" for _, left in points]}
        for view, points in courses.items()
    ]
    ends = [at for points in courses.values() for at, _ in points]
    lowest = max(LOWEST, min([0.0, *(left for points in courses.values() for _, left in points)]) - 0.04)
    layout = _layout("budget left", zone_title(max(ends, default=0), zone), 210)
    layout["yaxis"] |= {"tickformat": ".0%", "range": [lowest, 1.04]}
    layout["annotations"] = [
        {
            "x": _time(points[0][0], zone), "y": LOWEST, "showarrow": False, "xanchor": "left", "yanchor": "bottom",
            "text": f"{styles[view][0]}: {budgets.over(points[-1][1])}", "yshift": 14 * number,
        }
        for number, (view, points) in enumerate(courses.items()) if points and points[-1][1] < LOWEST
    ]  # fmt: skip
    layout["shapes"] = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 0, "y1": 0, "line": {"color": RED, "dash": "dot"}}
    ]
    return {"data": lines, "layout": layout}


def burn_rates(
    points: Sequence[tuple[int, float | None, float | None]], spans: Sequence[str], threshold: float, zone: ZoneInfo
) -> Figure:
    """Burn rates over the long and the short window, and the threshold that both must exceed."""
    styles = ((1, spans[0], BLUE, "solid"), (2, spans[1], ORANGE, "dash"))
    lines = [
        {
            **_line(
                [(point[0], point[column] or 0.0) for point in points], zone, f"over {name}", colour, dash, "%{y:.2f}×"
            ),
            "y": [point[column] for point in points],
        }
        for column, name, colour, dash in styles
    ]
    limit = _line([(at, threshold) for at, _, _ in points], zone, "threshold", RED, "dot", "%{y:.1f}×")
    return {"data": [*lines, limit], "layout": _layout("times the even pace", zone_title(points[-1][0], zone), 220)}


def latencies(times: Sequence[tuple[int, dict[float, float]]], zone: ZoneInfo) -> Figure:
    """Percentiles of how long answers took, in seconds."""
    styles = ((50.0, BLUE, "solid"), (95.0, ORANGE, "dash"), (99.0, RED, "dot"))
    lines = [
        _line(
            [(at, found.get(percent, 0) / 1e9) for at, found in times],
            zone, f"{percent:.0f}% are faster", colour, dash, "%{y:.2f} s",
        )
        for percent, colour, dash in styles
    ]  # fmt: skip
    return {"data": lines, "layout": _layout("seconds", zone_title(times[-1][0] if times else 0, zone))}


def _line(
    points: Sequence[tuple[int, float]], zone: ZoneInfo, name: str, colour: str, dash: str, said: str
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": [_time(at, zone) for at, _ in points],
        "y": [value for _, value in points],
        "name": name,
        "mode": "lines",
        "line": {"color": colour, "width": 2.5, "dash": dash},
        "hovertemplate": said + "<br>%{x|%a %d %b %H:%M}<extra>" + name + "</extra>",
    }


def zone_title(at: int, zone: ZoneInfo) -> str:
    return f"time, {time_format.zone_name(at, zone)}"


def _layout(y_title: str, x_title: str, height: int = 280) -> dict[str, Any]:
    def axis(title: str, **more: Any) -> dict[str, Any]:
        titled = {"text": title, "standoff": 8, "font": {"size": 12}}
        return {"showgrid": True, "zeroline": False, "automargin": True, "fixedrange": True, "title": titled, **more}

    return {
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 12},
        "legend": {
            "orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left", "traceorder": "normal",
        },
        "hovermode": "closest",
        "uirevision": "keep",
        "dragmode": False,
        "showlegend": True,
        "xaxis": axis(x_title, type="date"),
        "yaxis": axis(y_title, rangemode="tozero"),
    }  # fmt: skip


def _time(at: int, zone: ZoneInfo) -> str:
    return time_format.field_value(at, zone)


def span(interval: int) -> str:
    if interval >= DAY:
        return "day" if interval == DAY else f"{interval // DAY} days"
    if interval >= HOUR:
        return "hour" if interval == HOUR else f"{interval // HOUR} hours"
    return "minute" if interval == MINUTE else f"{interval // MINUTE} minutes"
