"""Pages are told once, in order, through trouble: real receivers, a real evaluator that is killed."""

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
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from alerts import message
from alerts.lifecycle import SECOND, Condition
from alerts.notify import Webhook
from alerts.openslo import locate
from alerts.queue import Queue, Told
from alerts.state import Alerts
from alerts.tables import open_alerts
from sidecar.record.stores.embedded import EmbeddedStore
from sidecar.settings import Settings
from tests.alerts.recorded import exchange
from tests.stack import free_port, until

LABELS = {"slo": "answered", "objective": "success", "view": "users", "endpoint": "all"}
BURN = Condition(name="ErrorBudgetBurn", severity="page", source="events", labels=LABELS, notes={"reason": "r"})
OTHER = Condition(name="NoTraffic", severity="ticket", source="events", notes={"reason": "nobody"})


@dataclass
class Receiver:
    """What came, and what is answered next; 200 when `answers` is empty."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    got: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def statuses(self, name: str, severity: str = "") -> list[str]:
        return [
            payload["status"] for _, payload in self.got
            if payload["commonLabels"]["alertname"] == name and severity in ("", payload["commonLabels"]["severity"])
        ]  # fmt: skip


@contextmanager
def receiver() -> Iterator[Receiver]:
    mine = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = mine.answers.pop(0) if mine.answers else 200
            if status == 200:
                mine.got.append((self.headers["Idempotency-Key"], json.loads(body)))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    mine.url = f"http://127.0.0.1:{server.server_address[1]}/alerts"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield mine
    finally:
        server.shutdown()
        server.server_close()


class Clock:
    now = 1000 * SECOND

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_alerts(Settings(data=tmp_path))
    yield engine
    engine.dispose()


def told(queue: Queue, channel: Webhook) -> list[Told]:
    found = []
    for delivery in queue.due():
        became, said = channel.send(delivery)
        queue.mark(delivery, became, said)
        found.append(became)
    return found


def test_what_is_resolved_never_overtakes_what_fired(engine: Engine) -> None:
    clock = Clock()
    state, queue = Alerts(engine, clock), Queue(engine, ["webhook"], clock)
    with receiver() as mine:
        channel = Webhook(mine.url, "http://dashboard/alerts")
        mine.answers = [500, 429]
        state.apply([BURN], unknown=set(), repeat=3600 * SECOND, enqueue=queue.enqueue)
        assert told(queue, channel) == [Told.RETRY]
        state.apply([], unknown=set(), repeat=3600 * SECOND, enqueue=queue.enqueue)
        assert told(queue, channel) == []
        clock.now += 2 * SECOND
        assert told(queue, channel) == [Told.RETRY]
        clock.now += 3 * SECOND
        assert told(queue, channel) == [Told.DONE]
        assert told(queue, channel) == [Told.DONE]
        assert told(queue, channel) == []
        assert mine.statuses("ErrorBudgetBurn") == ["firing", "resolved"]


def test_a_message_that_is_refused_holds_up_nothing_and_is_kept(engine: Engine) -> None:
    clock = Clock()
    state, queue = Alerts(engine, clock), Queue(engine, ["webhook"], clock)
    with receiver() as mine:
        mine.answers = [422]
        state.apply([BURN, OTHER], unknown=set(), repeat=3600 * SECOND, enqueue=queue.enqueue)
        assert told(queue, Webhook(mine.url, "")) == [Told.REFUSED, Told.DONE]
    assert [(row["state"], row["said"]) for row in state.deliveries()] == [("done", "200"), ("refused", "422")]


def test_a_receiver_that_is_not_there_is_tried_again(engine: Engine) -> None:
    clock = Clock()
    state, queue = Alerts(engine, clock), Queue(engine, ["webhook"], clock)
    state.apply([BURN], unknown=set(), repeat=3600 * SECOND, enqueue=queue.enqueue)
    assert told(queue, Webhook(f"http://127.0.0.1:{free_port()}/", "")) == [Told.RETRY]
    clock.now += 60 * SECOND
    with receiver() as mine:
        assert told(queue, Webhook(mine.url, "")) == [Told.DONE]


def test_the_payload_is_alertmanagers(engine: Engine) -> None:
    state, queue = Alerts(engine), Queue(engine, ["webhook"])
    state.apply([BURN], unknown=set(), repeat=SECOND, enqueue=queue.enqueue)
    with receiver() as mine:
        told(queue, Webhook(mine.url, "http://dashboard/alerts"))
        key, payload = mine.got[0]
    assert key == f"webhook:{BURN.key}-1-firing"
    assert set(payload) == {
        "version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels", "commonLabels",
        "commonAnnotations", "externalURL", "alerts",
    }  # fmt: skip
    alert = payload["alerts"][0]
    assert set(alert) == {
        "status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint",
    }  # fmt: skip
    assert (payload["version"], alert["endsAt"], alert["fingerprint"]) == ("4", message.NEVER, BURN.key)
    assert alert["labels"] == {"alertname": "ErrorBudgetBurn", "severity": "page", **LABELS}
    assert "takeover" in alert["annotations"]["first_step"]


@pytest.mark.parametrize("name", ["ErrorBudgetBurn", "NoTraffic", "NoData"])
def test_every_alert_has_a_runbook_that_begins_with_its_first_step(name: str) -> None:
    assert (message.RUNBOOKS / f"{name}.md").read_text().startswith("First: ")


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
def evaluator(data: Path, slos: Path, webhook: str) -> Iterator[subprocess.Popen[bytes]]:
    environ = {
        **{k: v for k, v in os.environ.items() if not k.startswith("UNDERSTUDY_")},
        "UNDERSTUDY_UPSTREAM": "http://127.0.0.1:9", "UNDERSTUDY_DATA": str(data), "UNDERSTUDY_SLOS": str(slos),
        "UNDERSTUDY_ALERT_WEBHOOK": webhook, "UNDERSTUDY_ALERT_EVERY": "250ms",
        "UNDERSTUDY_ALERT_KEEP": "2s", "UNDERSTUDY_ALERT_GROUP_WAIT": "500ms", "UNDERSTUDY_ALERT_GROUP_INTERVAL": "1s",
        "UNDERSTUDY_CONTROL_LISTEN": f"127.0.0.1:{free_port()}",
    }  # fmt: skip
    with (data.parent / "alerts.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "sidecar", "alerts"], env=environ, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)


def test_killed_while_firing_it_tells_nothing_twice_and_loses_nothing(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "data" / "events.db")
    store.install()
    slos = tmp_path / "hosp.yaml"
    slos.write_text(locate("hosp").read_text().replace("duration: 30d", "duration: 6h"))
    with receiver() as mine:
        with Failing(store):
            with evaluator(tmp_path / "data", slos, mine.url) as process:
                until(lambda: mine.statuses("ErrorBudgetBurn", "page"), 30, "a page")
                time.sleep(2)
                process.send_signal(signal.SIGKILL)
                process.wait()
            before = [key for key, _ in mine.got]
            with evaluator(tmp_path / "data", slos, mine.url) as process:
                time.sleep(9)  # longer than the dead one's lease
                process.send_signal(signal.SIGKILL)
                process.wait()
        with evaluator(tmp_path / "data", slos, mine.url):
            fired = {key.removesuffix("-firing") for key, _ in mine.got if key.endswith("-firing")}
            pages = {
                key.removesuffix("-firing")
                for key, payload in mine.got
                if payload["commonLabels"]["severity"] == "page"
            }
            resolved = lambda: {key.removesuffix("-resolved") for key, _ in mine.got if key.endswith("-resolved")}  # noqa: E731
            until(lambda: pages & fired <= resolved(), 40, "what was paged is resolved")
    keys = [key for key, _ in mine.got]
    assert before
    assert set(before) <= set(keys)
    assert len(keys) == len(set(keys)), "told twice"
    store.close()
