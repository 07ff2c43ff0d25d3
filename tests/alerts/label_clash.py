"""A real Prometheus, with our rules and our configuration, whose target has a label `endpoint` as Prometheus Operator
gives it: ours must win, or no alert of one endpoint ever fires."""

from __future__ import annotations

import http.client
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import yaml

from alerts.objectives.openslo import load, locate
from alerts.prometheus import rules
from alerts.rules.burn_rules import Rule
from alerts.rules.evaluation import levels
from sidecar.timeunits import SECOND
from tests.alerts.shelves import Shelf
from tests.alerts.world import ASKED, BY_NAME, FAILING, WELL, Clock, Sidecar
from tests.contracts.event_store import NOON
from tests.support.alerts.receivers import plane
from tests.support.stack import free_port, until

NAME: Final = "Prometheus' target has a label `endpoint`"
CONFIG: Final = Path("compose/prometheus/prometheus.yml")
PERIOD: Final = "2d"
"""So that windows are a fifteenth as long."""
STARTS, CALM, PATIENCE = 30, 20, 120


class Traffic:
    """A sidecar under ten requests a second, by the real clock."""

    def __init__(self, folder: Path) -> None:
        self.users = WELL
        self._clock = Clock(NOON)
        self.sidecar = Sidecar(self._clock, Shelf.embedded(folder))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def told(self) -> str:
        return self.sidecar.text("/metrics")

    def _run(self) -> None:
        number = 0
        while not self._over.wait(0.1):
            number += 1
            self._clock.steady += SECOND // 10
            self.sidecar.serve(number, self._clock.wall(), list(ASKED)[number % len(ASKED)], self.users)
            self.sidecar.ship()


@contextmanager
def scraped(folder: Path, control: int, honor: bool = True) -> Iterator[Callable[[str], list[Any]]]:
    """Prometheus as we ship its configuration, but for its pace, and how it is asked."""
    promises = folder / "slos.yaml"
    promises.write_text(locate("hosp").read_text().replace("duration: 30d", f"duration: {PERIOD}"))
    promised = load(str(promises), list(BY_NAME))
    (folder / "understudy.rules.yaml").write_text(rules.rules(promised, levels(promised), Rule(), keep=5))
    config = yaml.safe_load(CONFIG.read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    del config["alerting"]
    config["scrape_configs"][0]["honor_labels"] &= honor
    config["scrape_configs"][0]["static_configs"] = [
        {"targets": [f"127.0.0.1:{control}"], "labels": {"endpoint": "http"}}
    ]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    words = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
             f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(["prometheus", *words], stdout=log, stderr=log)
    try:
        until(lambda: _ask(port, "up == 1"), STARTS, "Prometheus scrapes")
        yield lambda query: _ask(port, query)
    finally:
        process.terminate()
        process.wait(20)


def _ask(port: int, query: str) -> list[Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", f"/api/v1/query?query={quote(query)}")
        found: list[Any] = json.loads(connection.getresponse().read())["data"]["result"]
    except (OSError, ValueError, KeyError):
        return []
    finally:
        connection.close()
    return found


def play() -> tuple[str, str, list[str]]:
    """What is told while users are well, and when they fail; and what is wrong."""
    firing, wrong = 'ALERTS{alertstate="firing"', list[str]()
    with tempfile.TemporaryDirectory(prefix="breakage-") as name:
        folder = Path(name)
        with (
            Traffic(folder) as traffic,
            plane(lambda: traffic.sidecar.text("/metrics")) as control,
            scraped(folder, control) as ask,
        ):
            time.sleep(CALM)
            calm = sorted({each["metric"]["alertname"] for each in ask(f"{firing}}}")})
            traffic.users, began = FAILING, time.monotonic()
            one = f'{firing},severity="page",slo="endpoints",endpoint="GET /notes"}}'
            try:
                until(lambda: ask(f'{firing},severity="page",view="users",endpoint="all"}}'), PATIENCE, "a page")
                until(lambda: ask(one), PATIENCE, "the endpoint's own page")
            except AssertionError as error:
                wrong.append(str(error))
            took = time.monotonic() - began
    if calm:
        wrong.append(f"alerts for nothing: {', '.join(calm)}")
    return ", ".join(calm) or "nothing", f"page, the endpoint's too, after {took:.0f} s", wrong
