"""Who may use the dashboard, for admins: add, change, remove, sign out everywhere."""

from __future__ import annotations

from typing import Any, Final

from dash import Input, Output, State, ctx, html, no_update

from dashboard.auth.authorization import Callbacks
from dashboard.auth.users import AccessError, Role
from dashboard.context import Parts, Visit, visit
from dashboard.page import Page
from dashboard.ui import components
from dashboard.values import time_format, tones

ACTIONS: Final = {
    "role": "Change the role",
    "password": "Give a new password",
    "out": "Sign out everywhere",
    "remove": "Remove",
}


def draw(parts: Parts, asked: Visit) -> components.Part:
    roles = [(str(role), str(role)) for role in Role]
    names = [html.Option(value=user.name) for user in parts.users.all()]
    return [
        html.H1("Users of the dashboard"),
        html.Div(id="u-said", role="status"),
        components.card("Who may sign in", html.Div(listed(parts), id="u-list"), ident="u-all"),
        components.card(
            "Add a user",
            components.field("u-name", "Name", "", maxLength=100, autoComplete="off"),
            components.field(
                "u-password", "Password", "", "at least 12 characters", type="password", autoComplete="new-password"
            ),
            components.choice("u-role", "Role", roles, "auditor"),
            html.Button("Add", id="u-add", type="button", className="primary"),
            ident="u-new",
        ),
        components.card(
            "Change a user",
            html.Datalist(names, id="u-names"),
            components.field("c-name", "Name", "", list="u-names", autoComplete="off"),
            components.choice("c-action", "What", list(ACTIONS.items()), "role"),
            components.choice("c-role", "New role", roles, "auditor"),
            components.field(
                "c-password",
                "New password",
                "",
                "only for a new password",
                type="password",
                autoComplete="new-password",
            ),
            html.Button("Do it", id="c-do", type="button"),
            ident="u-change",
        ),
    ]


def listed(parts: Parts) -> components.Part:
    rows = [
        (
            user.name,
            str(user.role),
            "password" if user.local else "OpenID Connect",
            time_format.day_and_time(user.created_at, parts.zone),
        )
        for user in parts.users.all()
    ]
    zone = time_format.zone_name(parts.clock(), parts.zone)
    return components.table("Users", ["name", "role", "signs in by", f"since, {zone}"], rows)


def wire(callbacks: Callbacks, parts: Parts) -> None:
    @callbacks.on(
        Role.ADMIN,
        Output("u-said", "children"),
        Output("u-list", "children"),
        Output("u-password", "value"),
        Output("c-password", "value"),
        Input("u-add", "n_clicks"),
        Input("c-do", "n_clicks"),
        *(
            State(name, "value")
            for name in ("u-name", "u-password", "u-role", "c-name", "c-action", "c-role", "c-password")
        ),
        prevent_initial_call=True,
    )
    def act(add: int | None, do: int | None, *given: str | None) -> Any:
        if not add and not do:
            return no_update, no_update, no_update, no_update
        name, password, role, other, action, new_role, new_password = (value or "" for value in given)
        asked = visit("/users")
        try:
            if ctx.triggered_id == "u-add":
                said = _add_user(parts, asked, name, password, role)
            else:
                said = _change(parts, asked, other, action, new_role, new_password)
        except (AccessError, ValueError) as error:
            return components.notice(tones.BAD, "Not done", str(error)), no_update, no_update, no_update
        return components.notice(tones.GOOD, said), listed(parts), "", ""


def _add_user(parts: Parts, asked: Visit, name: str, password: str, role: str) -> str:
    parts.users.add(name.strip(), Role(role), password)
    parts.trail.note(asked.who, asked.address, "user-add", f"{name.strip()} as {role}")
    return f"{name.strip()} may sign in as {role}"


def _change(parts: Parts, asked: Visit, name: str, action: str, role: str, password: str) -> str:
    if action not in ACTIONS:
        raise ValueError(f"what: expected {', '.join(ACTIONS)}; found {action!r}")
    if name == asked.who.user and action in ("role", "remove"):
        raise AccessError("your own role is for another admin to change")
    if action == "role":
        parts.users.set_role(name, Role(role))
    elif action == "password":
        parts.users.set_password(name, password)
    elif action == "remove":
        parts.users.remove(name)
    elif parts.users.find(name) is None:
        raise AccessError(f"there is no user {name!r}")
    else:
        parts.sessions.end_all(name)
    parts.trail.note(asked.who, asked.address, f"user-{action}", f"{name} as {role}" if action == "role" else name)
    return f"{name}: {ACTIONS[action].lower()}: done"


PAGE: Final = Page("/users", "Users", Role.ADMIN, draw, wire)
