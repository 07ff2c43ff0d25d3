"""The dashboard's visual words: what every page is made of. Colour is never the only sign: each state has its shape.

Text given here is shown as text: Dash makes React elements of it, never HTML.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

from dash import dcc, html

from dashboard.values import time_format
from dashboard.values.tones import BAD, GOOD, UNKNOWN, WARN

Part = Any
"""A Dash component, text, or None."""
SHAPES: Final = {GOOD: "●", WARN: "▲", BAD: "■", UNKNOWN: "○"}
WORDS: Final = {GOOD: "fine", WARN: "attention", BAD: "bad", UNKNOWN: "unknown"}


def mark(state: str, words: Part = "") -> html.Span:
    """A state: its shape for the eye, its word for the ear."""
    shape = html.Span(SHAPES[state], className=f"shape {state}", **{"aria-hidden": "true"})
    spoken = html.Span(f"{WORDS[state]}: ", className="spoken")
    return html.Span([shape, spoken, words], className="state")


def sign(state: str, words: str) -> html.Span:
    """The same where the words say it all; one component, for long tables: each costs a browser time."""
    return html.Span(words, className=f"sign {state}")


def notice(state: str, title: str, detail: Part = "", **more: Any) -> html.Div:
    """Something that must be read."""
    body = [html.Strong([mark(state), " ", title]), html.Span(detail, className="detail") if detail else None]
    return html.Div(body, className=f"notice {state}", **{"role": "status"}, **more)


def failed(what: str, why: str, renewed: bool = True) -> html.Div:
    """Nothing is shown rather than something wrong. `renewed`: whether it is tried again without anybody's doing."""
    then = "This is tried again by itself." if renewed else "Load the page again to try again."
    return notice(BAD, what, f"{why.removesuffix('.')}. {then}")


def empty(words: str, detail: str = "") -> html.Div:
    return html.Div([html.Strong(words), html.Span(detail, className="detail")], className="empty")


def tile(label: str, value: Part, detail: Part = "", state: str | None = None) -> html.Div:
    """One figure with its unit and what it means."""
    return html.Div(
        [html.Dt([mark(state) if state else None, " " if state else None, label]), html.Dd(value), html.Dd(detail)],
        className="tile",
    )


def tiles(parts: Iterable[Part]) -> html.Dl:
    return html.Dl(list(parts), className="tiles")


def table(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[Part]], numbers: Sequence[int] = ()
) -> html.Div:
    """A table whose cells know their column's name, so that it can be read at phone width. `numbers`: columns."""
    head = html.Tr(
        [html.Th(name, scope="col", className="number" if n in numbers else "") for n, name in enumerate(columns)]
    )
    body = []
    for row in rows:
        cells = []
        for n, (name, cell) in enumerate(zip(columns, row, strict=True)):
            kind: Any = html.Th if n == 0 else html.Td
            more: dict[str, Any] = {"scope": "row"} if n == 0 else {}
            cells.append(kind(cell, className="number" if n in numbers else "", **{"data-label": name}, **more))
        body.append(html.Tr(cells))
    made = html.Table([html.Caption(caption, className="spoken"), html.Thead(head), html.Tbody(body)])
    return html.Div(made, className="scroll", tabIndex="0", role="region", **{"aria-label": caption})


def graph(ident: str, figure: Any, says: str, details: Part = None) -> html.Figure:
    """A chart, what it says in a sentence, and its figures as a table for who cannot see it."""
    drawn = dcc.Graph(
        id=ident, figure=figure, config={"displayModeBar": False, "responsive": True, "doubleClick": "reset"}
    )
    shown = html.Div(drawn, role="img", className="chart", **{"aria-label": says})
    more = html.Details([html.Summary("Show the figures"), details]) if details is not None else None
    return html.Figure([html.Figcaption(says), shown, more])


def card(title: str, *parts: Part, ident: str = "", level: int = 2, kind: str = "") -> html.Section:
    heading: Any = {2: html.H2, 3: html.H3}[level]
    name = f"{ident or title.lower().replace(' ', '-')}-title"
    more = {"id": ident} if ident else {}
    return html.Section(
        [heading(title, id=name), *parts], className=f"card {kind}".strip(), **{"aria-labelledby": name}, **more
    )


def link(text: Part, href: str, **more: Any) -> dcc.Link:
    return dcc.Link(text, href=href, **more)


Ident = str | dict[str, str]
"""A component's id; of a pattern, for callbacks that answer for many."""


def _on_page(ident: Ident) -> str:
    """As it stands in the document."""
    return ident if isinstance(ident, str) else json.dumps(ident, sort_keys=True, separators=(",", ":"))


def choice(ident: Ident, label: str, options: Sequence[tuple[str, str]], value: str) -> html.Fieldset:
    """One of a few: native radio buttons."""
    items = [{"label": words, "value": key} for key, words in options]
    return html.Fieldset([html.Legend(label), dcc.RadioItems(id=ident, options=items, value=value, className="choice")])


def field(ident: Ident, label: str, value: str, hint: str = "", **more: Any) -> html.Div:
    """A labelled input. Dash's own wraps the native one, so the label names it by its id."""
    parts = [html.Label(label, htmlFor=_on_page(ident)), dcc.Input(id=ident, value=value, debounce=False, **more)]
    if hint:
        parts.append(html.Small(hint))
    return html.Div(parts, className="field")


def percent(ratio: float | None, digits: int = 2) -> str:
    """99.99%: never rounded up to 100% while something failed."""
    if ratio is None:
        return "no data"
    shown = f"{ratio:.{digits}%}"
    return f"> {(1 - 10 ** -(digits + 2)):.{digits}%}" if shown == f"{1:.{digits}%}" and ratio < 1 else shown


def number(value: int) -> str:
    return f"{value:,}"


def many(count: int, word: str) -> str:
    """1 page, 2 pages."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def as_of(now: int, zone: ZoneInfo, seconds: int) -> html.P:
    """When what is shown was so."""
    words = (
        f"As of {time_format.day_and_time(now, zone)} {time_format.zone_name(now, zone)}; renewed every {seconds} s."
    )
    return html.P(words, className="asof")
