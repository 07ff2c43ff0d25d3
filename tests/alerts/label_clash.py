"""A real Prometheus, with our rules and our configuration, whose target has a label `endpoint` as Prometheus Operator
gives it: ours must win, or no alert of one endpoint ever fires."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

import yaml

from alerts.objectives.openslo import load, locate
from alerts.prometheus import rules
from alerts.rules.burn_rules import Rule
from alerts.rules.evaluation import levels
from compose.monitoring import RULES, Service, prometheus_config
from sidecar.timeunits import SECOND
from tests.alerts.shelves import Shelf
from tests.alerts.simulated_sidecar import ASKED, BY_NAME, FAILING, WELL, Clock, Sidecar
from tests.contracts.event_store import NOON
from tests.support.alerts.receivers import plane
from tests.support.stack import free_port, until

NAME: Final = "Prometheus' target has a label `endpoint`"
PERIOD: Final = "2d"
"""So that windows are a fifteenth as long."""
CALM, PATIENCE = 20, 90


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


def scraping(folder: Path, control: int) -> Service:
    """Prometheus as we ship its configuration, but for its pace and the target's label."""
    slos = folder / "slos.yaml"
    slos.write_text(locate("hosp").read_text().replace("duration: 30d", f"duration: {PERIOD}"))
    promised = load(str(slos), list(BY_NAME))
    (folder / RULES).write_text(rules.rules(promised, levels(promised), Rule(), keep=5))
    config = yaml.safe_load(prometheus_config([f"127.0.0.1:{control}"], "127.0.0.1:9", "1s"))
    config["scrape_configs"][0]["static_configs"][0]["labels"] = {"endpoint": "http"}
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return Service("prometheus", folder, free_port(), f"--config.file={path}", f"--storage.tsdb.path={folder / 'tsdb'}")


def play() -> tuple[str, str, list[str]]:
    """What is told while users are well, and when they fail; and what is wrong."""
    firing, wrong = 'ALERTS{alertstate="firing"', list[str]()
    with tempfile.TemporaryDirectory(prefix="breakage-") as name:
        folder = Path(name)
        with Traffic(folder) as traffic, plane(traffic.told) as control, scraping(folder, control) as service:

            def ask(query: str) -> list[Any]:
                found: list[Any] = service.get("/api/v1/query", query=query)["data"]["result"]
                return found

            until(lambda: ask("up == 1"), PATIENCE, "Prometheus scrapes")
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
