"""Evaluators that are killed tell nothing twice and lose nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from alerts.delivery.queue import Told
from alerts.lifecycle.store import Alerts
from alerts.lifecycle.tables import open_alerts
from alerts.objectives.openslo import locate
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.settings import Settings
from sidecar.timeunits import SECOND
from tests.support.alerts.receivers import CLOSED, Receiver, plane, receiver
from tests.support.alerts.recorded import exchange
from tests.support.stack import until


class Failing:
    """Users' requests that fail, ten a second, until it is left."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._count = 0

    def __enter__(self) -> Failing:
        self._add(25 * SECOND)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _add(self, back: int) -> None:
        now = time.time_ns()
        events = []
        for at in range(now - back, now, SECOND // 10):
            self._count += 1
            events.append(
                exchange(
                    self._count, at, outcome="failure", status=503, answered_by="understudy", upstream=("failure",)
                )
            )
        self._store.append(events)

    def _run(self) -> None:
        while not self._over.wait(0.2):
            self._add(SECOND // 5)


@contextmanager
def evaluator(data: Path, slos: Path, control: int, **channels: str) -> Iterator[subprocess.Popen[bytes]]:
    environ = {
        **{k: v for k, v in os.environ.items() if not k.startswith("UNDERSTUDY_")},
        "UNDERSTUDY_UPSTREAM": "http://127.0.0.1:9", "UNDERSTUDY_DATA": str(data), "UNDERSTUDY_SLOS": str(slos),
        "UNDERSTUDY_ALERT_EVERY": "250ms", "UNDERSTUDY_CONTROL_LISTEN": f"127.0.0.1:{control}",
        "UNDERSTUDY_ALERT_KEEP": "2s", "UNDERSTUDY_ALERT_GROUP_WAIT": "500ms", "UNDERSTUDY_ALERT_GROUP_INTERVAL": "1s",
        **{f"UNDERSTUDY_ALERT_{name}": value for name, value in channels.items()},
    }  # fmt: skip
    with (data.parent / "alerts.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "sidecar", "alerts"], env=environ, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.timeout(240)
def test_killed_while_firing_it_tells_nothing_twice_and_loses_nothing(tmp_path: Path) -> None:
    """On three channels, of which one is slow to come up and one answers 500 now and then."""
    store = EmbeddedStore(tmp_path / "data" / "events.db")
    store.install()
    slos = tmp_path / "hosp.yaml"
    slos.write_text(locate("hosp").read_text().replace("duration: 30d", "duration: 6h"))
    with receiver() as mine, receiver("pagerduty") as pager, receiver("slack") as slack, plane() as control:
        pager.answers = [500, CLOSED, 200, 500]
        given = {"WEBHOOK": mine.url, "PAGERDUTY_KEY": "0" * 32, "PAGERDUTY": pager.url, "SLACK": slack.url}
        slack.answers = [503] * 3  # one outage is one message, which is tried again after 1, 2, 4 s
        with Failing(store):
            with evaluator(tmp_path / "data", slos, control, **given) as process:
                until(lambda: mine.statuses("ErrorBudgetBurn", "page"), 30, "a page")
                until(lambda: incidents(pager) and slack.got, 30, "the same on the other channels")
                _kill(process)
            before, open_ = mine.keys, under_way(tmp_path / "data")
            with evaluator(tmp_path / "data", slos, control, **given) as process:
                time.sleep(9)  # longer than the dead one's lease
                _kill(process)
            open_ += under_way(tmp_path / "data")
        with evaluator(tmp_path / "data", slos, control, **given):
            until(lambda: mine.statuses("ErrorBudgetBurn", "page")[-1] == "resolved", 90, "the page is resolved")
            until(lambda: incidents(pager) and incidents(pager) <= resolved(pager), 20, "PagerDuty's incident too")
            until(lambda: len(slack.got) >= 2, 20, "Slack's messages")
    assert before
    assert set(before) <= set(mine.keys)
    triggers = [body for body in _bodies(pager) if "trigger" in body]
    for channel, said in ((mine, mine.keys), (pager, triggers), (slack, _bodies(slack))):
        twice = len(said) - len(set(said))
        # Only what was taken and not yet marked when the sender died may come again.
        assert twice <= sum(key.startswith(channel.name) for key in open_), f"{channel.name} was told twice"
        assert channel.misshapen == []
    store.close()


def under_way(data: Path) -> list[str]:
    """The keys of messages that were not marked as taken when the sender died."""
    engine = open_alerts(Settings(data=data))
    rows = Alerts(engine).deliveries(10_000)
    engine.dispose()
    return sorted({row["message"] for row in rows if row["state"] == Told.RETRY and row["message"]})


def incidents(pager: Receiver) -> set[str]:
    """Those that page of a budget (nobody runs a sidecar here, which may be a page as well)."""
    told = [event for _, event in pager.got if event["event_action"] == "trigger"]
    pages = [event for event in told if event["payload"]["severity"] == "critical"]
    return {event["dedup_key"] for event in pages if event["payload"]["class"] == "ErrorBudgetBurn"}


def resolved(pager: Receiver) -> set[str]:
    return {each["dedup_key"] for _, each in pager.got if each["event_action"] == "resolve"}


def _bodies(of: Receiver) -> list[str]:
    return [json.dumps(content) for _, content in of.got]
