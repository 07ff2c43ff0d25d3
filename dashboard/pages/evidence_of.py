"""Evidence of the standby: what it may answer of itself, how it knows that it is right, and what is not ruled out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dash import html

from dashboard.auth.users import Role
from dashboard.context import Parts, Visit
from dashboard.page import Page
from dashboard.ui import components
from dashboard.values import reasons, tones

PATH: Final = "/standby/evidence"
_STATES: Final = {"proven": tones.GOOD, "unproven": tones.WARN, "refuted": tones.BAD}


def draw(parts: Parts, _asked: Visit) -> components.Part:
    """Raises ControlError."""
    endpoints = parts.plane().get("/evidence")["endpoints"]
    return [
        html.H1("Evidence of the standby"),
        html.P(
            f"What {parts.api} has not itself said is answered only once it is proven: so many agreements on different "
            "questions, and one difference undoes them all. A literal repeat by the same caller needs no proof."
        ),
        *(_endpoint(parts.api, name, row) for name, row in endpoints.items()),
        html.P(components.link("To the standby", "/standby")),
    ]


def _endpoint(api: str, name: str, row: Mapping[str, Any]) -> components.Part:
    said = reasons.unready(row["reason"], api) or "ready"
    ready = components.mark(tones.GOOD if row["ready"] else tones.WARN, said)
    rows = [_derivation(each, seen) for each, seen in row["derivations"].items()]
    columns = ["derivation", "state", "agreed", "differed", "not ruled out, and what settles it"]
    table = (
        components.table(f"Evidence for {name}", columns, rows, (2, 3))
        if rows
        else components.empty("Nothing was derived yet")
    )
    return components.card(name, html.P(ready), table, ident=f"v-{name.replace('.', '-')}")


def _derivation(name: str, seen: Mapping[str, Any]) -> tuple[components.Part, ...]:
    rivals = [html.Li(f"{_words(rival['name'])}: {rival['settled_by']}") for rival in seen["rivals"]]
    if seen["last_difference"]:
        rivals.append(html.Li(f"last difference: {seen['last_difference']}"))
    return (
        _words(name),
        components.sign(_STATES.get(seen["state"], tones.UNKNOWN), seen["state"]),
        f"{min(seen['agreements'], seen['needed'])} of {seen['needed']}",
        components.number(seen["differences"]),
        html.Ul(rivals, className="plain") if rivals else "–",
    )


def _words(name: str) -> str:
    """`filter:patient_id` → filter, patient id"""
    return name.replace(":", ", ").replace("_", " ")


PAGE: Final = Page(PATH, "Evidence of the standby", Role.OPERATOR, draw, in_menu=False)
