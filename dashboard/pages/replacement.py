"""The standby as the system: of each resource what is proven, what is missing and the next step; what stays behind."""

from __future__ import annotations

from typing import Final

from dash import html

from dashboard.auth.authorization import Callbacks
from dashboard.auth.users import Role
from dashboard.context import Parts, Visit
from dashboard.data import replacement
from dashboard.data.replacement import Candidate, Step
from dashboard.page import Page
from dashboard.pages import evidence_of
from dashboard.ui import components, refresh
from dashboard.values import tones
from dashboard.widgets import action_dialog

PATH: Final = "/standby/replacement"
RENEWED: Final = 10


def draw(parts: Parts, asked: Visit) -> components.Part:
    return [
        html.H1(f"Replacing {parts.api}"),
        html.P(
            f"A resource that is promoted is the standby's: {parts.api} is asked about it no more. What is written "
            "then is kept, so that it can be given back. What others refer to comes first."
        ),
        *refresh.frame("replacement", drawn(parts, asked), RENEWED),
        html.P(components.link("To the standby", "/standby")),
    ]


def drawn(parts: Parts, _asked: Visit) -> refresh.Drawn:
    """Raises ControlError."""
    plane = parts.plane()
    resources, evidence = plane.get("/resources"), plane.get("/evidence")["endpoints"]
    found = replacement.candidates(parts.contract, resources, evidence, parts.api)
    stays = replacement.only_upstream(plane.get("/endpoints"))
    return {
        "answer": _answer(parts, found, stays),
        "resources": html.Div([_card(each) for each in found], className="replacing"),
        "stays": _stays(parts, stays),
        "as of": components.as_of(parts.clock(), parts.zone, RENEWED),
    }


def _answer(parts: Parts, found: list[Candidate], stays: list[str]) -> components.Part:
    """How far it is, and what to do next."""
    owned = [each for each in found if each.owned]
    ahead = next((each for each in found if not each.owned), None)
    words = f"The standby owns {len(owned)} of {components.many(len(found), 'resource')}"
    if ahead is None:
        left = f" {components.many(len(stays), 'endpoint')} can be answered by {parts.api} alone." if stays else ""
        return components.notice(tones.WARN if stays else tones.GOOD, words, f"Nothing is left to be promoted.{left}")
    return components.notice(
        tones.GOOD if ahead.step is Step.PROMOTE else tones.WARN, words, f"Next, {ahead.name}: {ahead.advice}"
    )


def _card(each: Candidate) -> components.Part:
    good = sum(check.ok for check in each.checks)
    items = [html.Li(components.sign(tones.GOOD if check.ok else tones.WARN, check.said)) for check in each.checks]
    state = "the standby owns it" if each.owned else f"{good} of {len(each.checks)} checks pass"
    return components.card(
        f"{each.name.capitalize()}: {state}",
        html.Ul(items, className="checks"),
        html.P([html.Strong("Next: "), each.advice]),
        html.Div(_buttons(each), className="buttons"),
        ident=f"r-{each.name}",
    )


def _buttons(each: Candidate) -> list[components.Part]:
    """The next step, where it is one press or one page away."""
    if each.owned:
        return [action_dialog.button("demote", each.name)]
    return {
        Step.DECIDE: [components.link("Writes that need a decision", "/standby", className="button")],
        Step.FILL: [action_dialog.button("backfill", "")],
        Step.PROVE: [components.link("Evidence of the standby", evidence_of.PATH, className="button")],
        Step.PROMOTE: [action_dialog.button("promote", each.name)],
    }.get(each.step, [])


def _stays(parts: Parts, names: list[str]) -> components.Part:
    if not names:
        return None
    return components.card(
        f"What only {parts.api} can do",
        html.P("No copy answers these, whatever is promoted: they need a system of their own before it can go."),
        html.Ul([html.Li(name) for name in names]),
        ident="stays",
    )


def wire(callbacks: Callbacks, parts: Parts) -> None:
    refresh.wire(callbacks, parts, Role.OPERATOR, "replacement", PATH, drawn)


PAGE: Final = Page(PATH, "Replacement", Role.OPERATOR, draw, wire, in_menu=False)
