"""Real Prometheus and Alertmanager, and our evaluator, over the same history: the same alerts.

The history lies in blocks that promtool wrote, and goes on in an exporter that is scraped; the evaluator reads the same
exchanges in the embedded store. A tenth of the usual period makes the windows short.
"""

from __future__ import annotations

import random
import subprocess
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from alerts.objectives import openslo
from alerts.prometheus import rules
from alerts.rules.burn_rules import Rule
from alerts.rules.evaluation import Evaluation, levels
from compose.monitoring import alertmanager, prometheus
from sidecar.contract import Action, Contract
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.timeunits import SECOND
from tests.support.alerts.recorded import exchange
from tests.support.stack import free_port, until

CONTRACT = Contract.load("hosp")
NAMES = [endpoint.name for endpoint in CONTRACT.endpoints.values()]
CALLS = [endpoint.name for endpoint in CONTRACT.endpoints.values() if endpoint.action is Action.CALL]
LASTS, GOES_ON = 26_000, 300
"""Seconds of history, and how long it goes on after the beginning of the test."""
ROUTINE = ["GET /notes", "GET /patients/{id}", "POST /notes", "GET /staffs/me"]
Made = tuple[int, dict[str, Any]]
"""When (ns), and what `exchange` is given."""


def burning(now: int) -> list[Made]:
    """For half an hour until the end: patients fail half the time, notes are created by the standby alone,
    every tenth list of notes is late; before, nothing fails. A request every two seconds, and some of tests."""
    dice, made = random.Random(5), []
    for at in range(now - LASTS, now + GOES_ON, 2):
        endpoint, given = dice.choice(ROUTINE), dict[str, Any]()
        if at >= now - 1800:
            if endpoint == "GET /patients/{id}" and dice.random() < 0.5:
                given = {"outcome": "failure", "status": 500, "upstream": ("failure",)}
            elif endpoint == "POST /notes":
                given = {"answered_by": "standby", "upstream": ("failure",)}
            elif endpoint == "GET /notes" and dice.random() < 0.1:
                given = {"duration": 3_400_000_000}
        made.append((at * SECOND + 1, {"endpoint": endpoint, **given}))
        if at % 60 == 0:
            failed = {"outcome": "failure", "status": 500, "upstream": ("failure",)}
            made.append((at * SECOND + 2, {"endpoint": "GET /hospitals", "client": "test", **failed}))
    return made


def silent(now: int) -> list[Made]:
    """Nothing since more than an hour ago."""
    return [(at * SECOND + 1, {"endpoint": "GET /notes"}) for at in range(now - LASTS, now - 3700, 2)]


class Counters:
    """What the sidecar's own counters would be at any time, by their exposed names and labels."""

    def __init__(self, made: list[Made], ready: float, instance: str) -> None:
        self._target = f'job="understudy",instance="{instance}"'
        self._ready = ready
        self._times: dict[str, list[int]] = {}
        for at, given in made:
            for name in self._counted(given):
                self._times.setdefault(name, []).append(at)

    def _counted(self, given: dict[str, Any]) -> Iterator[str]:
        endpoint, client = given["endpoint"], given.get("client", "user")
        outcome, status = given.get("outcome", "success"), given.get("status", 200)
        gave = given.get("upstream", ("success",))[0]
        who = f'endpoint="{endpoint}",client="{client}"'
        answered = given.get("answered_by", "upstream")
        yield f'requests_total{{{who},method="GET",code="{status}",outcome="{outcome}",answered_by="{answered}"}}'
        yield f'upstream_requests_total{{{who},outcome="{gave}"}}'
        timed = f'{who},outcome="{outcome}",upstream="{gave}"'
        yield f"request_duration_seconds_count{{{timed}}}"
        yield from (
            f'request_duration_seconds_bucket{{{timed},le="{bound}"}}'
            for bound in ("3.0", "+Inf")
            if bound == "+Inf" or given.get("duration", 0) <= 3 * SECOND
        )

    def at(self, now: int) -> list[tuple[str, float]]:
        """Sample names with labels, without those of the target, and values at `now` (ns)."""
        found = [(f"understudy_{name}", float(bisect_right(times, now))) for name, times in self._times.items()]
        return found + [(f'understudy_standby_ready{{endpoint="{name}"}}', self._ready) for name in NAMES]

    def past(self, now: int) -> Iterator[str]:
        """OpenMetrics of the history before `now` (Unix seconds): every 15 s, and every 5 in the last hour."""
        fine = now - 3600
        times = [*range(now - LASTS, fine, 15), *range(fine, now - 4, 5)]
        for name, *_ in self.at(0):
            metric, _, labels = name.partition("{")
            yield f"# TYPE {metric} unknown"
            yield from (f"{metric}{{{self._target},{labels} {self._value(name, at)} {at}" for at in times)
        yield "# TYPE up unknown"
        yield from (f"up{{{self._target}}} 1 {at}" for at in times)
        yield "# EOF"

    def _value(self, name: str, at: int) -> float:
        times = self._times.get(name.removeprefix("understudy_"))
        return self._ready if times is None else float(bisect_right(times, at * SECOND))


@contextmanager
def exporter(port: int, counters: Counters) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = "".join(f"{name} {value}\n" for name, value in counters.at(time.time_ns())).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def promises(tmp_path_factory: pytest.TempPathFactory) -> tuple[openslo.Promise, ...]:
    path = tmp_path_factory.mktemp("slos") / "short.yaml"
    path.write_text(openslo.locate("hosp").read_text().replace("duration: 30d", "duration: 3d"))
    return openslo.load(str(path), NAMES)


def labelled(labels: dict[str, str]) -> tuple[str, ...]:
    return tuple(labels.get(name, "") for name in ("alertname", "severity", "slo", "objective", "view", "endpoint"))


@pytest.mark.prometheus
@pytest.mark.parametrize(
    ("history", "ready", "expected"),
    [
        pytest.param(burning, 1.0, {("ErrorBudgetBurn", "ticket", "endpoints", "success", "hosp", "POST /notes")},
                     id="the standby covers: HOSP is a ticket"),
        pytest.param(burning, 0.0, {("ErrorBudgetBurn", "page", "endpoints", "success", "hosp", "POST /notes")},
                     id="the standby is not ready: HOSP is a page"),
        pytest.param(silent, 1.0, {("NoTraffic", "ticket", "", "", "", "")}, id="silence"),
    ],
)  # fmt: skip
def test_the_same_alerts(
    tmp_path: Path, promises: tuple[openslo.Promise, ...], history: Any, ready: float, expected: set[tuple[str, ...]]
) -> None:
    ports = free_port(), free_port(), free_port()
    target, notifier = (f"127.0.0.1:{port}" for port in ports[:2])
    now = int(time.time())
    made = history(now)
    store = EmbeddedStore(tmp_path / "events.db")
    store.install()
    store.append([exchange(n, at, **given) for n, (at, given) in enumerate(made)])
    counters = Counters(made, ready, target)
    past = tmp_path / "past.txt"
    past.write_text("\n".join(counters.past(now)) + "\n")
    create = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(past), str(tmp_path / "prometheus")]
    subprocess.run(create, check=True, capture_output=True)
    by_period = levels(promises)
    text = rules.rules(promises, by_period, Rule(), CALLS)
    evaluation = Evaluation(store, promises, by_period, Rule())
    with (
        exporter(ports[0], counters),
        alertmanager(tmp_path, ports[1], f"http://{target}/") as told,
        prometheus(tmp_path, ports[2], text, target, notifier, "1s") as asked,
    ):
        seen: dict[str, set[tuple[str, ...]]] = {}

        def agree() -> bool:
            found, unknown, _ = evaluation.step(int(time.time()), lambda _: bool(ready))
            assert not unknown
            ours = [{"alertname": c.name, "severity": c.severity, **c.labels} for c in found]
            firing = asked.get("/api/v1/query", query='ALERTS{alertstate="firing"}')["data"]["result"]
            seen["evaluator"] = set(map(labelled, ours))
            seen["prometheus"] = {labelled(each["metric"]) for each in firing}
            seen["alertmanager"] = {labelled(each["labels"]) for each in told.get("/api/v2/alerts")}
            return expected <= seen["evaluator"] and len(set(map(frozenset, seen.values()))) == 1

        try:
            until(lambda: agree() or time.sleep(0.5), 60, "the same alerts")
        finally:
            store.close()
            counted = Counter(engine for engines in seen.values() for engine in engines)
            print({name: sorted(each for each in found if counted[each] < 3) for name, found in seen.items()})


@pytest.mark.prometheus
def test_no_sidecar_is_no_data(tmp_path: Path, promises: tuple[openslo.Promise, ...]) -> None:
    """Nothing answers Prometheus; as the evaluator says when its store is away (test_counts.py)."""
    ports = free_port(), free_port(), free_port()
    target, notifier = (f"127.0.0.1:{port}" for port in ports[:2])
    text = rules.rules(promises, levels(promises), Rule(), CALLS).replace("for: 1m", "for: 1s")
    with (
        alertmanager(tmp_path, ports[1], f"http://{target}/") as told,
        prometheus(tmp_path, ports[2], text, target, notifier, "1s"),
    ):
        alerts = until(lambda: told.get("/api/v2/alerts"), 60, "an alert")
    assert {labelled(each["labels"]) for each in alerts} == {("NoData", "ticket", "", "", "", "")}
