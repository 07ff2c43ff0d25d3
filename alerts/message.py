"""What a person is told: a headline, and for each alert what burns, how fast, what is left, who fails and how, what
changed, whether users are covered, where to look, and the runbook's first step. Pure, but for reading runbooks.

A message is what `alerts.grouping.compose` made: `group`, `status`, `alerts`; and `past`, where all of it was over
before it could be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from alerts.lifecycle.lifecycle import Kind
from sidecar.timeunits import SECOND

RUNBOOKS: Final = Path(__file__).with_name("runbooks")
NEVER: Final = "0001-01-01T00:00:00Z"
SHOWN: Final = 10
"""Alerts of a message that are told in full; the others are counted."""
ABOUT: Final = {"failing": "Failing", "changed": "Changed", "covered": "Users"}
"""Notes that tell more of an alert, and how they are called before people; see `alerts.context`."""

Content = Mapping[str, Any]


def at(nanoseconds: int) -> str:
    """RFC 3339 in UTC; Alertmanager's zero time where there is none."""
    if not nanoseconds:
        return NEVER
    return datetime.fromtimestamp(nanoseconds // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def summary(alert: Content) -> str:
    """What burns, how fast, what is left and until when, in one line."""
    notes = alert["notes"]
    said = f"{title(alert)}: {notes.get('reason', '')}"
    if alert["name"] != "ErrorBudgetBurn":
        return said
    left, end = notes.get("budget_left"), notes.get("exhausted_at")
    if left is not None and float(left) <= 0:
        return f"{said}; the budget is gone"
    if left is not None:
        said += f"; {float(left):.1%} of the budget left"
    return f"{said}, gone at {at(int(float(end)) * SECOND)} at this pace" if end else said


def title(alert: Content) -> str:
    """What is wrong: `Front door unavailable for users`; of what has no words for it, its name."""
    labels = alert["labels"]
    if alert["name"] != "ErrorBudgetBurn":
        return str(alert["name"])
    whose = "for users" if labels["view"] == "users" else "at the upstream"
    where = "" if labels["endpoint"] == "all" else f" ({labels['endpoint']})"
    return f"{alert['notes'].get('title') or labels['slo'] + ' fails'} {whose}{where}"


def over(alert: Content) -> bool:
    return bool(alert["kind"] == Kind.RESOLVED)


def past(content: Content) -> bool:
    """Whether it tells only of what was over before it could be told."""
    return bool(content.get("past"))


def severity(content: Content) -> str:
    """The gravest of its alerts."""
    return "page" if any(alert["severity"] == "page" for alert in content["alerts"]) else "ticket"


def headline(content: Content) -> str:
    """One line: how grave, how many, and the first alert's summary."""
    alerts = content["alerts"]
    ending = "past" if past(content) else "resolved"
    what = f"{severity(content).upper()}" if content["status"] != "resolved" else f"{ending} {severity(content)}"
    ended = sum(map(over, alerts)) if content["status"] != "resolved" else 0
    many = f" ({len(alerts)} alerts{f', {ended} of them over' if ended else ''})" if len(alerts) > 1 else ""
    return f"{what}{many}: {summary(alerts[0])}"


def paragraphs(content: Content, dashboard: str) -> Iterable[str]:
    """The message in plain text: a paragraph for each alert, then what is common to them."""
    alerts = content["alerts"]
    late = "from {} to {}: over before this channel could be told" if past(content) else ""
    for alert in alerts[:SHOWN]:
        state = f"resolved {at(alert['resolved_at'])}" if over(alert) else f"firing since {at(alert['fired_at'])}"
        state = late.format(at(alert["fired_at"]), at(alert["resolved_at"])) or state
        yield f"{summary(alert)}\n  {state}, key {alert['key']}"
    if len(alerts) > SHOWN:
        yield f"… and {len(alerts) - SHOWN} more."
    burning = [alert for alert in alerts if not over(alert)]
    for name, title in ABOUT.items():
        if said := "\n".join(dict.fromkeys(a["notes"][name] for a in burning if a["notes"].get(name))):
            yield f"{title}: {said}"
    yield from closing(content, dashboard)


def closing(content: Content, dashboard: str) -> Iterable[str]:
    """What a message ends with, and never lacks: first steps, runbooks and links."""
    burning = {alert["name"]: alert for alert in content["alerts"] if not over(alert)}
    for name, alert in burning.items():
        step = first_step(name)
        yield (f"First step: {step}\n" if step else "") + f"Runbook: {runbook(alert, dashboard)}"
    yield f"Dashboard: {dashboard}"


def runbook(alert: Content, dashboard: str) -> str:
    """Where it is: what its rule says, or the page of the dashboard that shows it."""
    return str(alert["notes"].get("runbook") or f"{dashboard}#{alert['name']}")


def labels(alert: Content) -> dict[str, str]:
    """As Prometheus would have them."""
    return {"alertname": alert["name"], "severity": alert["severity"], **alert["labels"]}


def annotated(alert: Content, dashboard: str) -> dict[str, str]:
    return {
        "summary": summary(alert), **alert["notes"], "first_step": first_step(alert["name"]),
        "runbook": runbook(alert, dashboard), "runbook_url": runbook(alert, dashboard), "dashboard": dashboard,
        "key": alert["key"],
    }  # fmt: skip


@cache
def first_step(name: str) -> str:
    """The first step of the alert's runbook, its first line; empty where the runbook is not one of ours."""
    path = RUNBOOKS / f"{name}.md"
    return path.read_text().splitlines()[0].removeprefix("First: ") if path.is_file() else ""
