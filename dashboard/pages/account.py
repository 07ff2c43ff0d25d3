"""One's own account: where one is signed in, signing out here or everywhere, and a new password."""

from __future__ import annotations

from typing import Any, Final

from dash import Input, Output, State, dcc, html, no_update

from dashboard.auth.authorization import CSRF, Callbacks
from dashboard.auth.sessions import Locked
from dashboard.auth.users import AccessError, Role
from dashboard.context import Parts, Visit, visit
from dashboard.page import Page
from dashboard.ui import components
from dashboard.values import time_format, tones


def draw(parts: Parts, asked: Visit) -> components.Part:
    rows = []
    now = parts.clock()
    for session in parts.sessions.of(asked.who.user):
        here = " (this one)" if session.id == asked.who.id else ""
        began = time_format.day_and_time(session.created_at, parts.zone)
        rows.append((began + here, time_format.ago(session.seen_at, now), session.address, session.agent))
    columns = [f"signed in, {time_format.zone_name(now, parts.zone)}", "last used", "from", "browser"]
    return [
        html.H1("Your account"),
        html.P(f"{asked.who.user}, {asked.who.role}."),
        components.card(
            "Where you are signed in",
            components.table("Your sessions", columns, rows),
            html.Div(
                [
                    _form("/logout", "Sign out", asked, "sign-out"),
                    _form("/logout/everywhere", "Sign out everywhere", asked, "sign-out-everywhere"),
                ],
                className="buttons",
            ),
            ident="sessions",
        ),
        _password() if asked.who.local else html.P("You sign in with your organisation: your password is kept there."),
    ]


def _form(action: str, label: str, asked: Visit, ident: str) -> html.Form:
    token = dcc.Input(type="hidden", name=CSRF, value=asked.who.csrf)
    return html.Form([token, html.Button(label, type="submit", id=ident)], method="post", action=action)


def _password() -> components.Part:
    return components.card(
        "New password",
        html.Form(
            [
                components.field("p-old", "Old password", "", type="password", autoComplete="current-password"),
                components.field(
                    "p-new", "New password", "", "at least 12 characters", type="password", autoComplete="new-password"
                ),
                html.Button("Change it", id="p-change", type="button", className="primary"),
            ]
        ),
        html.Div(id="p-said", role="status"),
        html.P("It signs you out everywhere, here too.", className="quiet"),
        ident="password",
    )


def wire(callbacks: Callbacks, parts: Parts) -> None:
    @callbacks.on(
        Role.DISCLOSURE,
        Output("p-said", "children"),
        Input("p-change", "n_clicks"),
        State("p-old", "value"),
        State("p-new", "value"),
        prevent_initial_call=True,
    )
    def change(clicks: int | None, old: str | None, new: str | None) -> Any:
        if not clicks:
            return no_update
        asked = visit("/account")
        try:
            right = parts.sessions.proves(asked.who.user, old or "", asked.address)
        except Locked as locked:
            return components.notice(tones.BAD, "Not changed", str(locked))
        if not right:
            return components.notice(tones.BAD, "Not changed", "The old password is wrong.")
        try:
            parts.users.set_password(asked.who.user, new or "")
        except AccessError as error:
            return components.notice(tones.BAD, "Not changed", str(error))
        parts.trail.note(asked.who, asked.address, "user-password", "their own")
        return components.notice(tones.GOOD, "Changed", html.A("Sign in again", href="/login"))


PAGE: Final = Page("/account", "Your account", Role.DISCLOSURE, draw, wire, in_menu=False)
