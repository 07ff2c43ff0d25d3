"""Alerts as people read them: their words, who answers for them, and whether anybody evaluates at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from sqlalchemy import Engine

from alerts.evaluator import LEASE
from alerts.lifecycle.lifecycle import Alert
from alerts.objectives import burn_rate
from dashboard.data.objectives import Promised
from dashboard.values import budgets
from dashboard.values.tones import BAD, GOOD, UNKNOWN, WARN
from sidecar.storage.lease import holder
from sidecar.timeunits import SECOND, spelled

GRACE: Final = 10 * SECOND
"""How long after its lease an evaluator may be another process's clock away."""


@dataclass(frozen=True)
class Evaluator:
    """Who evaluates now: `holder` is its host and process; `alive` False: nobody does."""

    holder: str
    alive: bool


def evaluator(engine: Engine) -> Evaluator:
    """As the lease in the alerts' database says. Raises SQLAlchemyError."""
    found = holder(engine, LEASE)
    return Evaluator("", False) if found is None else Evaluator(found.name, found.left + GRACE > 0)


def title(promised: Promised, name: str, labels: Mapping[str, str]) -> str:
    """The alert in a line: `Requests are answered successfully, as users get it`."""
    if name == "ErrorBudgetBurn" and "slo" in labels:
        where = labels.get("endpoint", "all")
        of = "" if where == "all" else f", {where}"
        return f"{promised.title(labels['slo'])}{of}: {whose(labels.get('view', ''), promised.api)}"
    said = {"NoData": "The event store cannot be asked", "NoTraffic": "No requests arrive"}.get(name, _words(name))
    rest = ", ".join(value for key, value in labels.items() if key not in ("severity", "alertname"))
    return f"{said}: {rest}" if rest else said


def whose(view: str, api: str) -> str:
    return {"users": "what users get", "hosp": f"what {api} gives"}.get(view, view)


def facts(alert: Alert) -> list[tuple[str, str]]:
    """What is known of it beside its times, with units; what is not known is left out."""
    notes, found = alert.notes, []
    if notes.get("reason"):
        found.append(("Why", notes["reason"]))
    if "burn_long" in notes and "burn_short" in notes:
        long, short = (burn_rate.written(Fraction(str(notes[name]))) for name in ("burn_long", "burn_short"))
        rates = f"{long} and {short} times the budget's even pace"
        found.append(("Burn rate", f"{rates}, over {windows(notes.get('window', ''))}"))
    if "budget_left" in notes:
        left = float(notes["budget_left"])
        found.append(("Error budget", f"{left:.1%} left" if left > 0 else budgets.over(left)))
    return found


def windows(name: str) -> str:
    """`3600s-300s` → `1 h and 5 min`."""
    try:
        return " and ".join(spelled(int(part.removesuffix("s"))) for part in name.split("-"))
    except ValueError:
        return name


def _words(name: str) -> str:
    """`OutboxGrowing` → `Outbox growing`."""
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
    return spaced[:1].upper() + spaced[1:]


def told(delivery: Mapping[str, Any], now: int) -> tuple[str, str]:
    """What became of a message: a state, and words."""
    if delivery["state"] == "done":
        return GOOD, "delivered"
    if delivery["state"] == "refused":
        return BAD, "rejected"
    if not delivery["tries"]:
        return UNKNOWN, "sending"
    due = max(0, delivery["due_at"] - now) // SECOND
    return WARN, f"not delivered yet; next try in {due} s"


def told_of(promised: Promised, content: Mapping[str, Any]) -> str:
    """What a message was about: `resolved: Requests are answered …`."""
    return f"{content.get('kind', '')}: {title(promised, str(content.get('name', '')), content.get('labels', {}))}"
