"""Grafana's dashboards: a real Prometheus, which scrapes a sidecar under traffic, has series for each panel's query."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from compose import monitoring
from compose.tls import authority
from sidecar.background.verifying import NAME, Verifying
from sidecar.settings import load_settings
from sidecar.storage.status_files import told
from tests.support.stack import Sidecar, free_port, until
from tests.support.upstream import AMES, HOLT, Fault, Upstream

FOLDER = Path(__file__).parents[2] / "compose/grafana"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((FOLDER / "dashboards").glob("*.json"))}
STANDS_FOR = {
    "${datasource}": "", "$instance": ".*", "$endpoint": ".*", "$slo": ".*", "$window": "300s",
    "$__rate_interval": "30s", "$__range": "5m",
}  # fmt: skip
"""What Grafana puts in for its variables, with All chosen."""


@dataclass
class Query:
    board: str
    panel: str
    text: str
    instant: bool


def queries() -> Iterator[Query]:
    for name, board in BOARDS.items():
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                text = target["expr"]
                for variable, value in STANDS_FOR.items():
                    text = text.replace(variable, value)
                yield Query(name, f"{panel['id']} {panel['title']}", text, target["instant"])


QUERIES = list(queries())
RECORDED = ('understudy:slo_requests:increase{window="300s",endpoint!="all"} > 0', "understudy:standby_covers")
"""What the rules make, some 15 s after they were loaded."""


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[monitoring.Service]:
    """A Prometheus that has seen a sidecar serve, fail, take over, accept a write, and be taken over by hand."""
    if shutil.which("prometheus") is None:
        pytest.skip("needs prometheus")
    home = tmp_path_factory.mktemp("grafana")
    authority.write(home / "tls", ["127.0.0.1"])
    settings = {
        "certificates": str(home / "tls/server.crt"), "alert_every": "1s", "sign_every": "1s",
        "backfill_credentials": "Dr Holt:s3cret-Holt", "backfill_rate": "20", "parity_sample": "1", "deadline": "500ms",
    }  # fmt: skip
    with Upstream() as upstream, Sidecar(upstream.url, home / "data", **settings) as sidecar:
        upstream.state.patients |= {number: {"id": number, "name": "Rex"} for number in range(11, 18)}
        rules = home / "rules.yaml"
        assert sidecar.cli("slo", "rules", "--out", str(rules)).returncode == 0
        control = f"127.0.0.1:{sidecar.control}"
        with monitoring.prometheus(home, free_port(), rules.read_text(), control, "127.0.0.1:9", "1s") as asked:
            until(lambda: found(asked, "understudy_build_info"), 30, "the first scrape")
            for again in range(3):
                serve(sidecar, upstream)
                time.sleep(2.2)  # a rate needs scrapes between its requests
                if again == 0:
                    sidecar.cli("takeover", "staffs.list", "--reason", "a test")
            upstream.state.faults.append(Fault("500", "/notes", "POST", times=1000))
            sidecar.ask("POST", "/notes", HOLT, {"title": "Kept", "patient_id": 17})
            until(lambda: found(asked, "understudy_outbox_pending > 0"), 30, "a write that waits")
            verified(sidecar)
            until(lambda: found(asked, "understudy_journal_verified"), 30, "a journal that was verified")
            for recorded in RECORDED:
                until(lambda recorded=recorded: found(asked, recorded), 60, recorded)
            yield asked


def serve(sidecar: Sidecar, upstream: Upstream) -> None:
    for number in range(11, 18):
        sidecar.ask("GET", f"/patients/{number}", HOLT)
        sidecar.ask("GET", "/notes?patient_id=17", AMES)
    sidecar.ask("POST", "/notes", HOLT, {"title": "Round", "patient_id": 17})
    sidecar.ask("GET", "/patients/9999999", {})
    upstream.state.faults.append(fails := Fault("500", "/patients/12", times=1000))  # for backfill and parity as well
    until(lambda: "hit" in sidecar.ask("GET", "/patients/12", HOLT)["Cache-Status"], 30, "an answer of the standby")
    upstream.state.faults.remove(fails)
    upstream.state.faults.append(Fault("500", "/patients/13/screen", times=2))
    sidecar.ask("POST", "/patients/13/screen", HOLT, {})


def verified(sidecar: Sidecar) -> None:
    """What the sidecar's background work does, a minute after it began."""
    stop = threading.Event()
    settings = load_settings({key: value for key, value in sidecar.environ.items() if key.startswith("UNDERSTUDY_")})
    thread = threading.Thread(target=Verifying(settings).run, args=(stop, 0.1))
    thread.start()
    until(lambda: told(settings, NAME), 20, "a look at the journal")
    stop.set()
    thread.join()


def found(asked: monitoring.Service, query: str) -> list[Any]:
    answer = asked.get("/api/v1/query", query=query)
    assert answer["status"] == "success", answer
    result: list[Any] = answer["data"]["result"]
    return result


@pytest.mark.prometheus
@pytest.mark.slow
def test_every_panel_of_every_dashboard_has_series(asked: monitoring.Service) -> None:
    assert len(QUERIES) > 40
    empty = []
    for query in QUERIES:
        answer = asked.get(
            "/api/v1/query_range", query=query.text, start=str(time.time() - 60), end=str(time.time()), step="5"
        )
        assert answer["status"] == "success", (query, answer)
        values = [value for series in answer["data"]["result"] for _, value in series["values"]]
        if not values or all(value == "NaN" for value in values):
            empty.append(f"{query.board}: {query.panel}: {query.text}")
    assert empty == []


@pytest.mark.prometheus
@pytest.mark.slow
def test_a_takeover_by_hand_is_one_that_is_shown(asked: monitoring.Service) -> None:
    """The only one of that endpoint."""
    shown = [query.text for query in QUERIES if "understudy_takeovers_total" in query.text]
    assert len(shown) == 2
    mine = found(asked, 'sum(increase(understudy_takeovers_total{endpoint="GET /staffs"}[5m])) > 0')
    assert mine, "it rose from 0"


@pytest.mark.prometheus
@pytest.mark.slow
def test_every_variable_has_values(asked: monitoring.Service) -> None:
    for name, board in BOARDS.items():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                metric, label = variable["definition"].removeprefix("label_values(").removesuffix(")").split(", ")
                got = asked.get(f"/api/v1/label/{label}/values", **{"match[]": metric})
                assert got["data"], (name, variable["name"])


def test_the_dashboards_are_provisioned_and_each_is_itself() -> None:
    (provider,) = yaml.safe_load((FOLDER / "provisioning/dashboards/understudy.yml").read_text())["providers"]
    (source,) = yaml.safe_load((FOLDER / "provisioning/datasources/understudy.yml").read_text())["datasources"]
    service = yaml.safe_load((FOLDER.parent / "docker-compose.yml").read_text())["services"]["grafana"]
    mounts = [volume.split(":") for volume in service["volumes"]]
    places = {place: where for where, place, *_ in mounts}
    assert (FOLDER.parent / places[provider["options"]["path"]]).resolve() == FOLDER / "dashboards"
    assert (FOLDER.parent / places["/etc/grafana/provisioning"]).resolve() == FOLDER / "provisioning"
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS) == 4
    for board in BOARDS.values():
        declared = {variable["name"] for variable in board["templating"]["list"]}
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        for panel in board["panels"]:
            assert panel["title"]
            for target in panel.get("targets", []):
                used = {name for name in ("instance", "endpoint", "slo", "window") if f"${name}" in target["expr"]}
                assert used <= declared, (board["title"], panel["title"])
