"""Make an evidence pack of what is filtered: a title, the reviewer's notes, and one button."""

from __future__ import annotations

from typing import Any

from dash import Input, Output, State, dcc, html, no_update

from dashboard.auth.authorization import Callbacks
from dashboard.auth.users import Role
from dashboard.context import Parts, visit
from dashboard.data.evidence import MOST, NOTES
from dashboard.data.signed_lines import Unfit
from dashboard.ui import components
from dashboard.ui.error_notices import guarded
from dashboard.values import tones
from dashboard.values.filters import View


def card() -> components.Part:
    return components.card(
        "Evidence pack",
        html.P(
            f"Of the events above (at most {MOST}): fixed times with zone, what the journal says of each, your notes; "
            "signed, to print or to hand over. It cannot be changed later.",
            className="quiet",
        ),
        components.field("ep-title", "Title", "", maxLength=200, autoComplete="off"),
        html.Div(
            [
                html.Label("Notes of the reviewer", htmlFor="ep-notes"),
                dcc.Textarea(id="ep-notes", value="", maxLength=NOTES, rows=3),
            ],
            className="field",
        ),
        html.Button("Make the evidence pack", id="ep-make", type="button", className="primary"),
        html.Div(id="ep-said", role="status"),
        ident="evidence",
    )


def wire(callbacks: Callbacks, parts: Parts) -> None:
    @callbacks.on(
        Role.AUDITOR,
        Output("ep-said", "children"),
        Input("ep-make", "n_clicks"),
        State("ep-title", "value"),
        State("ep-notes", "value"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    def make(clicks: int | None, title: str | None, notes: str | None, query: str | None) -> Any:
        if not clicks:
            return no_update
        asked = visit("/audit", query)

        def draw() -> components.Part:
            view = View.parse(View.parse(asked.query).query(after=""))
            try:
                pack = parts.packs.make(asked.who.user, view, title or "", notes or "")
            except Unfit as error:
                return components.notice(tones.BAD, "Not made", str(error))
            parts.trail.note(
                asked.who, asked.address, "evidence", f"{pack.id} “{pack.title}”: {', '.join(view.words(parts.api))}"
            )
            link = components.link(f"Open “{pack.title}”", f"/audit/evidence?id={pack.id}")
            return components.notice(tones.GOOD, "Made and signed", link)

        return guarded(draw)
