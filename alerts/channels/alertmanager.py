"""Alertmanager's own API v2 (github.com/prometheus/alertmanager, api/v2/openapi.yaml: alerts, silences).

Alertmanager groups, repeats and silences by itself, and forgets what it is not told again: see `refresh`. What another
alert tells of is not told: nothing would end it there. What is silenced or acknowledged here is silenced there: see
`reflect`. Silences of others are left alone; ours end with a mark.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

import orjson

from alerts.channels.http import ask, post
from alerts.channels.standing import Standing
from alerts.delivery.grouping import PART
from alerts.delivery.queue import Answer, Delivery
from alerts.lifecycle.lifecycle import BURNING, UNTIL_RESOLVED, Alert, State
from alerts.message import annotated, at, labels, over
from sidecar.timeunits import SECOND

PATH: Final = "/api/v2/alerts"
SILENCES: Final = "/api/v2/silences"
SILENCE: Final = "/api/v2/silence"
AGAIN: Final = 60.0
"""Seconds after which all that fires is told again: Alertmanager may have been restarted."""


class Alertmanager:
    """`url`: where it is, without the API's path. `repeat` in seconds: an alert that nothing more is heard of for twice
    that long ends there; the evaluator's death does not end it before."""

    name = "alertmanager"

    def __init__(
        self, url: str, dashboard: str, repeat: float, clock: Callable[[], int] = time.time_ns,
        authorization: str | None = None,
    ) -> None:  # fmt: skip
        self._said = {"Authorization": authorization} if authorization else {}
        self._url, self._silences, self._silence = url + PATH, url + SILENCES, url + SILENCE
        self._dashboard = dashboard
        self._lasts = int(2 * repeat * SECOND)
        self._clock = clock
        self._refreshed = 0
        self._reflected: dict[str, Mapping[str, Any]] | None = None
        self._looked = 0

    def send(self, delivery: Delivery) -> Answer:
        return self._post(alert for alert in delivery.content["alerts"] if alert["kind"] != PART)

    def refresh(self, alerts: Iterable[Alert]) -> Answer | None:
        """Tells again of what fires, once a minute; None: there was nothing to be told. What is silenced is among it
        where Alertmanager knows that it is: to leave it out would be its end there."""
        now = self._clock()
        if now - self._refreshed < AGAIN * SECOND:
            return None
        self._refreshed = now
        firing = [
            {**asdict(alert), "kind": "firing"}
            for alert in alerts
            if alert.told
            and alert.state in BURNING
            and (alert.state is not State.SILENCED or self._reflected is not None)
        ]
        return self._post(firing) if firing else None

    def reflect(self, standing: Standing) -> str | None:
        """Makes Alertmanager's silences those that we have; looked at again once a minute, for it may be restarted."""
        now = self._clock()
        wanted = quiet(standing, self._dashboard)
        if wanted == self._reflected and now - self._looked < AGAIN * SECOND:
            return None
        status, body = ask("GET", self._silences, self._said)
        if status != 200:
            return str(status or "no answer")
        theirs = ours(orjson.loads(body), self._dashboard)
        for mark, silence in wanted.items():
            there = theirs.pop(mark, None)
            if there is None or not _same(there, silence):
                made = {**silence, "startsAt": at(now), **({"id": there["id"]} if there else {})}
                status, _ = ask(
                    "POST", self._silences, {"Content-Type": "application/json", **self._said}, orjson.dumps(made)
                )
                if status != 200:
                    return str(status or "no answer")
        for silence in theirs.values():
            status, _ = ask("DELETE", f"{self._silence}/{silence['id']}", self._said)
            if status not in (200, 404):
                return str(status or "no answer")
        self._reflected, self._looked = wanted, now
        return None

    def _post(self, alerts: Iterable[Mapping[str, Any]]) -> Answer:
        body = orjson.dumps([one(alert, self._dashboard, self._clock() + self._lasts) for alert in alerts])
        return post(self._url, body, {"Content-Type": "application/json", **self._said})


def quiet(standing: Standing, dashboard: str) -> dict[str, Mapping[str, Any]]:
    """Silences by their mark: of each alert that is silenced or acknowledged, and those by labels."""
    found: dict[str, Mapping[str, Any]] = {}
    for alert in standing.alerts:
        if alert.state is State.ACKNOWLEDGED:
            mark = f"({dashboard}#{alert.key})"
            found[mark] = _silence(
                labels(asdict(alert)), UNTIL_RESOLVED, alert.acknowledged_by, alert.reason or "on it", mark
            )
        elif alert.state is State.SILENCED:
            mark = f"({dashboard}#{alert.key})"
            found[mark] = _silence(labels(asdict(alert)), alert.silenced_until, alert.silenced_by, alert.reason, mark)
    for silence in standing.silences:
        mark = f"({dashboard}#silence-{silence.id})"
        found[mark] = _silence(silence.matchers, silence.until, silence.by, silence.reason, mark)
    return found


def _silence(named: Mapping[str, str], until: int, by: str, reason: str, mark: str) -> dict[str, Any]:
    matchers = [{"name": name, "value": value, "isRegex": False, "isEqual": True} for name, value in named.items()]
    ordered = sorted(matchers, key=lambda each: str(each["name"]))
    return {"matchers": ordered, "endsAt": at(until), "createdBy": by, "comment": f"{reason} {mark}"}


def ours(found: Iterable[Mapping[str, Any]], dashboard: str) -> dict[str, Mapping[str, Any]]:
    """Of Alertmanager's silences those that we made and that have not ended, by their mark."""
    marked = re.compile(rf"\({re.escape(dashboard)}#[\w-]+\)$")
    lasting = [each for each in found if each["status"]["state"] != "expired"]
    return {mark[0]: each for each in lasting if (mark := marked.search(each["comment"]))}


def _same(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    matchers = sorted(there["matchers"], key=lambda each: str(each["name"]))
    plain = [{**each, "isEqual": each.get("isEqual", True)} for each in matchers]
    ends = str(there["endsAt"])[:19] == str(wanted["endsAt"])[:19]
    return ends and plain == wanted["matchers"] and str(there["comment"]) == wanted["comment"]


def one(alert: Mapping[str, Any], dashboard: str, ends: int) -> dict[str, Any]:
    return {
        "labels": labels(alert), "annotations": annotated(alert, dashboard), "startsAt": at(alert["fired_at"]),
        "endsAt": at(alert["resolved_at"] if over(alert) else ends), "generatorURL": dashboard,
    }  # fmt: skip
