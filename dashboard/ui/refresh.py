"""Parts of a page that renew themselves, each by itself and only when it says something new.

Dash mounts anew whatever a callback returns: a whole page would lose selection, focus and what is unfolded. A part that
did not change is left alone; `assets/understudy.js` pauses renewal while text is selected, and puts focus and unfolded
details back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from dash import ALL, Input, Output, State, dcc, html, no_update
from plotly.utils import PlotlyJSONEncoder

from dashboard.auth.authorization import Callbacks
from dashboard.auth.users import Role
from dashboard.context import Parts, Visit, visit
from dashboard.still import words_of
from dashboard.ui.error_notices import guarded

Drawn = Mapping[str, Any]
"""A page's parts by name, in order. The names do not change while the page is open."""


def frame(page: str, drawn: Drawn, seconds: int) -> list[Any]:
    """The parts, and what renews them."""
    parts = [html.Div(content, id={"live": page, "part": name}) for name, content in drawn.items()]
    return [dcc.Interval(id={"tick": page}, interval=seconds * 1000), *parts]


def wire(
    callbacks: Callbacks, parts: Parts, role: Role, page: str, path: str, draw: Callable[[Parts, Visit], Drawn]
) -> None:
    """`draw` makes the parts again. What it cannot make now is said in place of the first part."""

    @callbacks.on(
        role,
        Output({"live": page, "part": ALL}, "children"),
        Input({"tick": page}, "n_intervals"),
        Input("done", "data"),
        State({"live": page, "part": ALL}, "children"),
        State({"live": page, "part": ALL}, "id"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    def renew(_tick: int, _done: Any, shown: list[Any], idents: list[dict[str, str]], query: str | None) -> Any:
        drawn = guarded(lambda: draw(parts, visit(path, query)), renewed=True)
        if not isinstance(drawn, Mapping):
            said = html.Div([drawn, _old(dict(zip((ident["part"] for ident in idents), shown, strict=True)))])
            return [said if number == 0 else no_update for number in range(len(idents))]
        fresh = [callbacks.named.within(drawn.get(ident["part"])) for ident in idents]
        return [no_update if _same(new, old) else new for new, old in zip(fresh, shown, strict=True)]


def _old(shown: Drawn) -> Any:
    """What the rest of the page still shows is not how it is now: since when it says itself, in its part `as of`."""
    found = shown.get("as of")
    if not isinstance(found, Mapping):
        return None
    told = words_of(found).partition(";")[0]
    return html.P(f"What stands below is old: {told[:1].lower()}{told[1:]}.", className="asof")


def _same(new: Any, old: Any) -> bool:
    return bool(json.loads(json.dumps(new, cls=PlotlyJSONEncoder)) == old)
