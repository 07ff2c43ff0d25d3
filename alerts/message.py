"""What a person is told of an alert: a summary, figures, where to look, and the runbook's first step."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

RUNBOOKS: Final = Path(__file__).parent / "runbooks"
NEVER: Final = "0001-01-01T00:00:00Z"


def at(nanoseconds: int) -> str:
    """RFC 3339 in UTC; Alertmanager's zero time where there is none."""
    if not nanoseconds:
        return NEVER
    return datetime.fromtimestamp(nanoseconds // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def summary(alert: Mapping[str, Any]) -> str:
    """What burns, how fast, what is left and until when, in one line."""
    labels, notes = alert["labels"], alert["notes"]
    if alert["name"] != "ErrorBudgetBurn":
        return f"{alert['name']}: {notes.get('reason', '')}"
    whose = "what users get" if labels["view"] == "users" else "what HOSP gives"
    where = "" if labels["endpoint"] == "all" else f" of {labels['endpoint']}"
    said = f"{labels['slo']}{where}, {whose}: {notes.get('reason', '')}"
    left, end = notes.get("budget_left"), notes.get("exhausted_at")
    if left is not None and float(left) <= 0:
        return f"{said}; the budget is gone"
    if left is not None:
        said += f"; {float(left):.1%} of the budget left"
    return f"{said}, gone at {at(int(float(end)) * 10**9)} at this pace" if end else said


def webhook(content: Mapping[str, Any], key: str, dashboard: str) -> dict[str, Any]:
    """Alertmanager's webhook payload, version 4 (prometheus.io/docs/alerting/latest/configuration/#webhook_config)."""
    status = "resolved" if content["kind"] == "resolved" else "firing"
    labels = {"alertname": content["name"], "severity": content["severity"], **content["labels"]}
    annotations = {
        "summary": summary(content), **content["notes"], "first_step": step(content["name"]),
        "runbook": f"alerts/runbooks/{content['name']}.md", "dashboard": dashboard,
    }  # fmt: skip
    alert = {
        "status": status, "labels": labels, "annotations": annotations, "startsAt": at(content["fired_at"]),
        "endsAt": at(content["resolved_at"]), "generatorURL": dashboard, "fingerprint": content["key"],
    }  # fmt: skip
    return {
        "version": "4", "groupKey": f"{{}}:{{alertname={content['name']!r}}}:{content['key']}", "truncatedAlerts": 0,
        "status": status, "receiver": key.partition(":")[0], "groupLabels": {"alertname": content["name"]},
        "commonLabels": labels, "commonAnnotations": annotations, "externalURL": dashboard, "alerts": [alert],
    }  # fmt: skip


@cache
def step(name: str) -> str:
    """The first step of the alert's runbook, its first line. Raises OSError where there is no runbook."""
    return (RUNBOOKS / f"{name}.md").read_text().splitlines()[0].removeprefix("First: ")
