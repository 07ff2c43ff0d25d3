"""Alerts for tests and pictures of the dashboard: an outage in what was recorded, past alerts, and a real evaluator."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from alerts.delivery.queue import Queue, Told
from alerts.lifecycle.lifecycle import Condition
from alerts.lifecycle.store import Alerts
from alerts.lifecycle.tables import open_alerts
from sidecar.events.store import EventStore
from sidecar.settings import Settings
from sidecar.timeunits import SECOND
from tests.support.dashboard import seed
from tests.support.stack import until

MINUTE = 60 * SECOND


def outage(store: EventStore, since: int, until_: int, every: int = 4 * SECOND) -> None:
    """HOSP gives nothing: the standby answers what it knows, screenings fail."""
    dice = random.Random(11)
    made = []
    for at in range(since, until_, every):
        kind = dice.choice(["notes", "patient", "note", "screen"])
        alone = kind == "screen"
        given = {"answered_by": "understudy" if alone else "standby", "upstream": "failure"}
        given |= {"status": 503, "outcome": "failure"} if alone else {"status": 200, "outcome": "success"}
        made.append(seed.event(at, dice, kind=kind, patient="300", **given))
    store.append([event for event, _ in made], [body for _, body in made if body])


def burning(view: str, severity: str, slo: str = "screening", **notes: str) -> Condition:
    """As the evaluator makes it."""
    where = "POST /patients/{id}/screen" if slo == "screening" else "all"
    labels = {"slo": slo, "objective": "success", "view": view, "endpoint": where}
    said = {"reason": "30 of 31 bad in 1 h: 96.8 times the budget's pace", "window": "3600s-300s", **notes}
    return Condition(name="ErrorBudgetBurn", severity=severity, source="events", labels=labels, notes=said)


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def past(data: Path, began: int) -> None:
    """An alert that fired then, was told after two tries, acknowledged, and resolved 40 minutes later."""
    engine, clock = open_alerts(Settings(data=data)), Clock(began)
    kept, queue = Alerts(engine, clock), Queue(engine, ["webhook"], clock)
    holding = [burning("users", "page"), burning("hosp", "ticket")]
    for minutes, held in ((0, holding), (2, holding), (40, [])):
        clock.now = began + minutes * MINUTE
        kept.apply(held, unknown=frozenset(), repeat=4 * 3600 * SECOND, enqueue=queue.enqueue)
        for told, said in ((Told.RETRY, "503"), (Told.DONE, "200")):
            clock.now += 5 * SECOND
            for delivery in queue.due():
                queue.mark(delivery, told, said)
        if minutes == 2:
            kept.acknowledge(holding[0].key, "operator (dashboard)", "HOSP's vendor is on the telephone")
    engine.dispose()


def firing(data: Path, now: int) -> None:
    """Alerts of one cause that fired five minutes ago and still do."""
    engine, clock = open_alerts(Settings(data=data)), Clock(now - 5 * MINUTE)
    kept, queue = Alerts(engine, clock), Queue(engine, ["webhook"], clock)
    holding = [burning("users", "page"), burning("hosp", "page"), burning("users", "ticket", slo="answered")]
    for minutes in (0, 2):
        clock.now = now - (5 - minutes) * MINUTE
        kept.apply(holding, unknown=frozenset(), repeat=4 * 3600 * SECOND, enqueue=queue.enqueue)
    engine.dispose()


class Evaluator:
    """`understudy alerts` in a process of its own."""

    def __init__(self, environ: dict[str, str], log: Path, **settings: str) -> None:
        own = {f"UNDERSTUDY_{name.upper()}": value for name, value in settings.items()}
        self.data = Path(environ["UNDERSTUDY_DATA"])
        with log.open("ab") as file:
            command = [sys.executable, "-m", "sidecar", "alerts"]
            self.process = subprocess.Popen(
                command, env={**environ, **own}, stdout=file, stderr=file, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip

    def fires(self, seconds: float = 30) -> None:
        """Waits until something fires."""
        engine = open_alerts(Settings(data=self.data))
        until(lambda: any(alert.state == "firing" for alert in Alerts(engine).all()), seconds, "an alert")
        engine.dispose()

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *_: Any) -> None:
        self.process.terminate()
        self.process.wait(20)
