"""Who may use the dashboard, for admins: add, change, remove, sign out everywhere. Removing asks once more."""

from __future__ import annotations

from typing import Any, Final

from dash import Input, Output, State, ctx, html, no_update

from dashboard.auth.authorization import Callbacks
from dashboard.auth.users import AccessError, Role
from dashboard.context import Parts, Visit, visit
from dashboard.page import Page
from dashboard.ui import components
from dashboard.values import time_format, tones

VERBS: Final = {
    "role": "Change the role",
    "password": "Set a new password",
    "out": "Sign out everywhere",
    "remove": "Remove",
}
_BUTTONS: Final = tuple(f"c-{verb}" for verb in VERBS)


def draw(parts: Parts, asked: Visit) -> components.Part:
    roles = [(str(role), str(role)) for role in Role]
    names = [html.Option(value=user.name) for user in parts.users.all()]
    secret: dict[str, Any] = {"type": "password", "autoComplete": "new-password"}
    return [
        html.H1("Users of the dashboard"),
        html.Div(id="u-said", role="status"),
        components.card("Who may sign in", html.Div(listed(parts), id="u-list"), ident="u-all"),
        components.card(
            "Add a user",
            components.field("u-name", "Name", "", maxLength=100, autoComplete="off"),
            components.field("u-password", "Password", "", "at least 12 characters", **secret),
            components.choice("u-role", "Role", roles, "auditor"),
            html.Button("Add", id="u-add", type="button", className="primary"),
            ident="u-new",
        ),
        components.card(
            "Change a user",
            html.Datalist(names, id="u-names"),
            components.field("c-name", "Name", "", list="u-names", autoComplete="off"),
            html.Div(id="c-said", role="alert"),
            components.choice("c-new-role", "New role", roles, "auditor"),
            html.Button(VERBS["role"], id="c-role", type="button"),
            components.field("c-new-password", "New password", "", "at least 12 characters", **secret),
            html.Button(VERBS["password"], id="c-password", type="button"),
            html.Div(
                [
                    html.Button(VERBS["out"], id="c-out", type="button"),
                    html.Button(VERBS["remove"], id="c-remove", type="button", className="danger"),
                ],
                className="buttons",
            ),
            html.Div(_confirm(""), id="c-confirm", hidden=True),
            ident="u-change",
        ),
    ]


def _confirm(name: str) -> list[components.Part]:
    return [
        html.P(f"Remove {name}? They are signed out everywhere and cannot sign in again. What they did stays kept."),
        html.Div(
            [
                html.Button(f"Yes, remove {name}", id="c-yes", type="button", className="danger"),
                html.Button("Keep", id="c-keep", type="button"),
            ],
            className="buttons",
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
    fields = ("u-name", "u-password", "u-role", "c-name", "c-new-role", "c-new-password")

    @callbacks.on(
        Role.ADMIN,
        Output("u-said", "children"),
        Output("c-said", "children"),
        Output("u-list", "children"),
        Output("u-password", "value"),
        Output("c-new-password", "value"),
        Output("c-confirm", "children"),
        Output("c-confirm", "hidden"),
        *(Input(name, "n_clicks") for name in ("u-add", *_BUTTONS, "c-yes", "c-keep")),
        *(State(name, "value") for name in fields),
        prevent_initial_call=True,
    )
    def act(*given: Any) -> Any:
        pressed = str(ctx.triggered_id)
        nothing = (no_update,) * 7
        if not any(given[: -len(fields)]):
            return nothing
        name, password, role, other, new_role, new_password = (value or "" for value in given[-len(fields) :])
        other = other.strip()
        if pressed == "c-keep":
            return *nothing[:-1], True
        try:
            if pressed == "c-remove":
                _known(parts, other)
                return "", "", *nothing[:3], _confirm(other), False
            if pressed == "u-add":
                said = _add_user(parts, visit("/users"), name.strip(), password, role)
            else:
                verb = "remove" if pressed == "c-yes" else pressed.removeprefix("c-")
                said = _change(parts, visit("/users"), other, verb, new_role, new_password)
        except (AccessError, ValueError) as error:
            wrong = components.notice(tones.BAD, "Not done", str(error))
            return (wrong, "", *nothing[2:]) if pressed == "u-add" else ("", wrong, *nothing[2:6], True)
        return components.notice(tones.GOOD, said), "", listed(parts), "", "", no_update, True


def _known(parts: Parts, name: str) -> None:
    if parts.users.find(name) is None:
        raise AccessError(f"there is no user {name!r}")


def _add_user(parts: Parts, asked: Visit, name: str, password: str, role: str) -> str:
    parts.users.add(name, Role(role), password)
    parts.trail.note(asked.who, asked.address, "user-add", f"{name} as {role}")
    return f"{name} may sign in as {role}"


def _change(parts: Parts, asked: Visit, name: str, verb: str, role: str, password: str) -> str:
    if name == asked.who.user and verb in ("role", "remove"):
        raise AccessError("your own role is for another admin to change")
    _known(parts, name)
    if verb == "role":
        parts.users.set_role(name, Role(role))
        said = f"{name} is now {role}"
    elif verb == "password":
        parts.users.set_password(name, password)
        said = f"{name} has a new password and is signed out everywhere"
    elif verb == "remove":
        parts.users.remove(name)
        said = f"{name} is removed"
    elif verb == "out":
        parts.sessions.end_all(name)
        said = f"{name} is signed out everywhere"
    else:
        raise ValueError(f"what: expected {', '.join(VERBS)}; found {verb!r}")
    parts.trail.note(asked.who, asked.address, f"user-{verb}", f"{name} as {role}" if verb == "role" else name)
    return said


PAGE: Final = Page("/users", "Users", Role.ADMIN, draw, wire)
