"""The one way in which something is done: a button, a dialog that says what it leads to and asks why, and then, in it,
what was observed after.

The dialog is part of every page. What is about to be done is kept in it, and checked again on the server. The browser
writes each press into a store of the layout (`assets/understudy.js`): the buttons themselves come and go with renewals.
"""

from __future__ import annotations

from typing import Any

from dash import Input, Output, State, dcc, html, no_update

from dashboard.actions import ACTIONS, NotDone, NotKnown, perform, seen
from dashboard.auth.authorization import Callbacks
from dashboard.auth.users import Role
from dashboard.context import Parts, visit
from dashboard.observations import UNTOLD, fields_of
from dashboard.ui import components
from dashboard.values import time_format, tones
from sidecar.control.client import ControlError

_EXTRAS = {
    "percent": ("Share of callers, in percent", "", ""),
    "hours": ("For how many hours", "4", "72 at most"),
    "until": ("Until when", "4h", "30m, 4h, 2d, or a time such as 2026-11-25 08:00"),
}
"""Label, what stands there at first, hint."""


def frame() -> list[Any]:
    """What the layout holds for it, and for whatever else is pressed in a page that may be drawn anew meanwhile."""
    return [
        dcc.Store(id="asked"),
        dcc.Store(id="pressed"),
        dcc.Store(id="sent"),
        dcc.Store(id="pending"),
        dcc.Store(id="confirmed"),
        dcc.Store(id="done"),
        html.Div(id="said", role="status", **{"aria-live": "assertive"}),
        html.Div(id="dialog"),
    ]


def close() -> html.Button:
    """Takes a word that lies over the page away; the browser does it."""
    return html.Button("×", type="button", className="close", **{"aria-label": "Close this message"})


def button(kind: str, what: str, called: str = "") -> html.Button:
    """Asks for the dialog. `called`: what it is done to, for people."""
    action = ACTIONS[kind]
    name = f"{action.label}: {called or what}" if what else action.label
    kinds = "danger" if action.grave else ""
    ident = {"do": kind, "what": what}
    return html.Button(action.label, id=ident, type="button", className=kinds, **{"aria-label": name})


def at_once(kind: str, what: str, called: str = "") -> html.Button:
    """Done as soon as it is pressed: only for what needs no reason."""
    action = ACTIONS[kind]
    name = f"{action.label}: {called or what}"
    ident = {"now": kind, "what": what}
    return html.Button(action.label, id=ident, type="button", className="primary", **{"aria-label": name})


def _now(parts: Parts, kind: str, what: str) -> str:
    """How it is before anything is done; that it is not known is said too."""
    try:
        return ACTIONS[kind].before(parts, what)
    except UNTOLD as error:
        return f"Not known: {error or 'it is not there any more'}."


def dialog(parts: Parts, kind: str, what: str) -> html.Div:
    action = ACTIONS[kind]
    called = action.called(parts, what)
    now = _now(parts, kind, what)
    hint = "for the record; may be left empty" if action.reasonless else "for the record"
    asked: list[Any] = [components.field("d-reason", "Reason", "", hint, maxLength=500, autoComplete="off")]
    if action.extra in _EXTRAS:
        label, value, hint = _EXTRAS[action.extra]
        hint = f"{hint} ({time_format.zone_name(parts.clock(), parts.zone)})" if action.extra == "until" else hint
        asked.append(components.field("d-extra", label, value, hint, maxLength=30, autoComplete="off"))
    elif action.extra == "fields":
        asked.append(_fields(parts, what))
    elif action.extra == "force":
        options = [("", "Promote only if every check passes"), ("force", "Promote anyway, despite failed checks")]
        asked.append(components.choice("d-extra", "When", options, ""))
    else:
        asked.append(dcc.Input(id="d-extra", type="hidden", value=""))
    body = [
        html.H2([action.label, ": ", called] if what else action.label, id="dialog-title"),
        html.Dl(
            [html.Div([html.Dt("Now"), html.Dd(now)]) if now else None]
            + [html.Div([html.Dt("After" if now else "What it does"), html.Dd(action.leads_to.format(api=parts.api))])],
            id="dialog-says",
        ),
        *asked,
        html.Div(id="d-said", role="alert"),
        html.Div(
            [
                html.Button(
                    action.label, id="d-confirm", type="button", className="danger" if action.grave else "primary"
                ),
                html.Button("Cancel", id="d-cancel", type="button"),
            ],
            className="buttons",
        ),
    ]
    return _framed(body)


def _framed(body: list[Any]) -> html.Div:
    named = {"aria-labelledby": "dialog-title", "aria-describedby": "dialog-says", "aria-modal": "true"}
    return html.Div(html.Div(body, role="dialog", className="dialog", **named), className="veil")


def outcome(parts: Parts, kind: str, what: str, before: str, extra: str, doubt: str = "") -> html.Div:
    """What the dialog becomes once it was tried: how it was, what was expected, and what is seen now. `doubt`: why
    nobody knows whether it was done."""
    action = ACTIONS[kind]
    called, found = action.called(parts, what), seen(parts, kind, what, extra)
    state = {None: tones.UNKNOWN, True: tones.GOOD, False: tones.BAD}[found.as_expected]
    as_expected = {None: "not yet as expected", True: "as expected", False: "NOT as expected"}
    rows = [
        ("Before", before),
        ("Expected after", action.leads_to.format(api=parts.api)),
        ("Observed", components.mark(state, f"{as_expected[found.as_expected]}. {found.said}")),
    ]
    done = "not known whether it was done" if doubt else "done"
    body = [
        html.H2(f"{action.label}: {called}: {done}" if what else f"{action.label}: {done}", id="dialog-title"),
        components.notice(tones.WARN, "It is not known whether it was done", doubt) if doubt else None,
        html.Dl([html.Div([html.Dt(name), html.Dd(said)]) for name, said in rows if said], id="dialog-says"),
        html.Div(html.Button("Close", id="d-cancel", type="button", className="primary"), className="buttons"),
    ]
    return _framed(body)


def _fields(parts: Parts, what: str) -> components.Part:
    """Which fields of a write are put as it says: at first those that nobody else changed."""
    try:
        names, ours = fields_of(parts, what)
    except ControlError:
        names, ours = [], []
    legend = html.Legend("Put these fields as ours")
    return html.Fieldset([legend, dcc.Checklist(id="d-extra", options=names, value=ours, className="choice")])


def _pressed(said: Any) -> tuple[str, str]:
    """Which action was pressed, and to what it is done; empty where the browser said no such thing."""
    if not isinstance(said, dict):
        return "", ""
    return str(said.get("kind") or ""), str(said.get("what") or "")


def wire(callbacks: Callbacks, parts: Parts) -> None:
    @callbacks.on(
        Role.OPERATOR,
        Output("dialog", "children"),
        Output("pending", "data"),
        Input("asked", "data"),
        prevent_initial_call=True,
    )
    def ask(asked: Any) -> Any:
        kind, what = _pressed(asked)
        if kind not in ACTIONS:
            return no_update, no_update
        return dialog(parts, kind, what), {"do": kind, "what": what}

    @callbacks.on(
        Role.OPERATOR,
        Output("said", "children"),
        Output("done", "data", allow_duplicate=True),
        Input("pressed", "data"),
        State("url", "pathname"),
        prevent_initial_call=True,
    )
    def act_now(pressed: Any, path: str | None) -> Any:
        kind, what = _pressed(pressed)
        if not kind:
            return no_update, no_update
        try:
            if kind not in ACTIONS or not ACTIONS[kind].reasonless:
                raise NotDone(f"{kind} needs a reason")
            said = perform(parts, visit(path or "/"), kind, what, "", "")
        except NotKnown as error:
            return [
                components.notice(tones.WARN, "It is not known whether it was done", str(error)),
                close(),
            ], no_update
        except NotDone as error:
            return [components.notice(tones.BAD, "Not done", str(error)), close()], no_update
        found = seen(parts, kind, what, "")
        state = tones.GOOD if found.as_expected else tones.WARN
        return [components.notice(state, "Done", f"{said}. {found.said}"), close()], parts.clock()

    @callbacks.on(
        Role.OPERATOR,
        Output("dialog", "children", allow_duplicate=True),
        Output("done", "data"),
        Output("d-said", "children"),
        Input("confirmed", "data"),
        State("pending", "data"),
        State("d-reason", "value"),
        State("d-extra", "value"),
        State("url", "pathname"),
        prevent_initial_call=True,
    )
    def act(confirmed: Any, pending: Any, reason: str | None, extra: Any, path: str | None) -> Any:
        if not confirmed or not isinstance(pending, dict):
            return no_update, no_update, no_update
        asked = visit(path or "/")
        kind, what = str(pending.get("do")), str(pending.get("what"))
        chosen = "\n".join(map(str, extra)) if isinstance(extra, list) else str(extra or "")
        before = _now(parts, kind, what) if kind in ACTIONS else ""
        try:
            perform(parts, asked, kind, what, reason or "", chosen)
        except NotKnown as error:
            return outcome(parts, kind, what, before, chosen, str(error)), parts.clock(), no_update
        except NotDone as error:
            return no_update, no_update, components.notice(tones.BAD, "Not done", str(error))
        return outcome(parts, kind, what, before, chosen), parts.clock(), no_update
