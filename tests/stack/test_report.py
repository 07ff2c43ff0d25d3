"""`understudy slo report` and `backtest` as a person runs them; the figures against the journal of a real run."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from alerts.cli import slo
from alerts.objectives import openslo
from alerts.prometheus.rules import records
from compose.elasticsearch.node import Node
from compose.monitoring import Service, prometheus
from sidecar.contract import Contract
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.settings import Settings, load_settings
from sidecar.timeunits import SECOND
from tests.contracts.event_store import NOON
from tests.support.alerts.recorded import exchange, independent, mixture
from tests.support.nodes import prepared
from tests.support.stack import Sidecar, free_port, until
from tests.support.upstream import AMES, HOLT, Upstream

ENDPOINTS = [endpoint.name for endpoint in Contract.load("hosp").endpoints.values()]
PROMISES = openslo.load("hosp", ENDPOINTS)


def run(settings: Settings, *words: str, code: int = 0) -> str:
    ran = CliRunner().invoke(slo, list(words), obj=settings)
    assert ran.exit_code == code, ran.output
    return ran.output


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Settings, list[dict[str, Any]]]:
    store = EmbeddedStore(tmp_path / "events.db")
    store.install()
    events = mixture(NOON, 160)
    store.append(events)
    store.close()
    return Settings(upstream="http://127.0.0.1:1", data=tmp_path), events


SPAN = ("--since", "2026-03-10T12:00", "--until", "2026-03-10T13:00")


def test_every_format_says_the_same(stored: tuple[Settings, list[dict[str, Any]]]) -> None:
    settings, events = stored
    said = json.loads(run(settings, "report", *SPAN, "--format", "json"))
    assert said == {"objectives": expected(events)}
    rows = list(csv.DictReader(io.StringIO(run(settings, "report", *SPAN, "--format", "csv").rstrip("\n"))))
    assert [(row["slo"], int(row["good"]), int(row["total"])) for row in rows] == [
        (o["slo"], r["good"], r["total"]) for o in said["objectives"] for r in o["results"]
    ]
    assert (rows[0]["saved by the standby"], rows[0]["client left"]) == ("20", "20")
    table, html = run(settings, "report", *SPAN), run(settings, "report", *SPAN, "--format", "html")
    assert "answered (users): 2026-03-10 12:00 UTC: 30 of 100 bad" in table
    assert re.search(r"^answered +99% +100 +70% +3,000% ", table, re.M)
    assert "2026-03-10 12:00 UTC" in html
    figures = re.sub(r"<[^>]*>", " ", html)
    for told in ("100  requests of users", "70%  answered successfully for users", "20 of test traffic"):
        assert told in figures
    assert not re.search(r'(src|href)="|@import|url\(', html), "it needs nothing else"


def expected(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for promise in PROMISES:
        of = promise.objective
        entry = found.setdefault(of.slo, {"slo": of.slo, "target": float(of.target), "results": []})
        entry["results"].append(independent(events, promise))
    return list(found.values())


@pytest.fixture(params=["embedded", pytest.param("elasticsearch", marks=pytest.mark.elasticsearch)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    if request.param == "embedded":
        yield {}
        return
    node = Node(prepared(), tmp_path / "elasticsearch")
    node.start()
    yield {"elasticsearch": node.url}
    node.stop()


def traffic(upstream: Upstream, sidecar: Sidecar) -> list[dict[str, Any]]:
    """Requests of every kind; the journal's events of them."""
    upstream.state.patients[17] = {"id": 17, "name": "Rex"}
    for _ in range(4):
        sidecar.ask("GET", "/patients/17", HOLT)
    upstream.fault("slow", "/patients/17", times=2, seconds=0.7)
    sidecar.ask("GET", "/patients/17", HOLT)
    upstream.fault("500", "/patients", times=9)
    for _ in range(3):
        sidecar.ask("GET", "/patients/17", HOLT)
    sidecar.ask("GET", "/patients", HOLT)
    sidecar.ask("GET", "/patients", AMES)
    sidecar.ask("POST", "/notes", HOLT, {"title": "Limps", "patient_id": 17})
    sidecar.ask("POST", "/patients/17/screen", HOLT, {"images": ["AOTL"]})
    sidecar.ask("GET", "/wp-login.php", HOLT)
    found: list[dict[str, Any]] = until(lambda: len(sidecar.events()) >= 12 and sidecar.events(), what="a journal")
    return found


def test_each_figure_equals_an_independent_count_over_the_journal(tmp_path: Path, store: dict[str, str]) -> None:
    with (
        Upstream() as upstream,
        Sidecar(upstream.url, tmp_path / "data", test_users="Dr Ames", deadline="300ms", **store) as sidecar,
    ):
        settings = load_settings(sidecar.environ)
        journal = traffic(upstream, sidecar)

        def counted() -> Any:
            ran = CliRunner().invoke(slo, ["report", "--since", "1h", "--format", "json"], obj=settings)
            if ran.exit_code:  # of an index that has only just been made nobody can ask anything
                assert "the event store cannot be asked" in ran.output
                return None
            said = json.loads(ran.output)
            return said if said["objectives"] == expected(sidecar.events()) else None

        said = until(counted, 20, "the report equals the journal")
    assert said["objectives"][0]["results"][0]["total"] >= 11
    assert any("late" in str(each["understudy"]["attempts"]) for each in journal), "a late answer is seen as asked"


@pytest.mark.prometheus
def test_each_figure_equals_an_independent_count_in_prometheus_too(tmp_path: Path) -> None:
    """The rules' own expressions over what the sidecar counted, as real Prometheus scrapes and sums it."""
    with (
        Upstream() as upstream,
        Sidecar(upstream.url, tmp_path / "data", test_users="Dr Ames", deadline="300ms") as sidecar,
    ):
        port, control = free_port(), f"127.0.0.1:{sidecar.control}"
        with prometheus(tmp_path, port, "groups: []", control, "127.0.0.1:1", "1s") as asked:
            upstream.state.patients[18] = {"id": 18, "name": "Slow"}
            upstream.fault("slow", "/patients/18", times=9, seconds=3.2)
            sidecar.ask("GET", "/patients/18", HOLT)
            traffic(upstream, sidecar)

            def wrong() -> list[Any]:
                events = sidecar.events()
                both = ((p, in_prometheus(asked, p), independent(events, p)) for p in PROMISES)
                return [(p.objective, told, counted) for p, told, counted in both if told != counted]

            until(lambda: not wrong() or time.sleep(0.5), 40, "equal figures")
            slow = [e for e in sidecar.events() if e["event"]["duration"] > 3 * SECOND]
    assert slow, "something was late"


def in_prometheus(asked: Service, promise: openslo.Promise) -> dict[str, Any]:
    of = promise.objective

    def value(query: str) -> int:
        (found,) = asked.get("/api/v1/query", query=f"({query}) or vector(0)")["data"]["result"]
        return int(float(found["value"][1]))

    bad, total = (value(counters(rule["expr"])) for rule in records(promise, 60))
    where = "" if of.endpoint is None else f',endpoint="{of.endpoint}"'
    strangers = 'endpoint="other"' + where
    not_asked = f'understudy_upstream_requests_total{{client="user",outcome="not_asked",endpoint!="other"{where}}}'
    return {
        "view": of.view, "endpoint": of.endpoint, "good": total - bad, "total": total,
        "not_asked": value(f"sum({not_asked})") if of.view == "hosp" else 0,
        "excluded": {
            "test": value(f'sum(understudy_requests_total{{client="test"{where}}})'),
            "outside_contract": value(f'sum(understudy_requests_total{{client="user",{strangers}}})'),
        },
    }  # fmt: skip


def counters(expression: str) -> str:
    """A rule's expression over the counters as they are, instead of over their increase within a window."""
    return re.sub(r"increase\((\w+\{.*?\})\[\d+s\]\)", r"\1", expression)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("report", "--since", "yesterday"), "found 'yesterday'"),
        (("report", "--since", "1h", "--until", "2h"), "--since must be before --until"),
        (("backtest", "--since", "1h", "--windows", "/no/such"), "/no/such"),
    ],
)
def test_errors_are_one_line(stored: tuple[Settings, Any], words: tuple[str, ...], said: str) -> None:
    ran = CliRunner().invoke(slo, list(words), obj=stored[0])
    assert ran.exit_code != 0
    assert said in ran.output.strip().splitlines()[-1]


def test_a_store_that_is_away_and_a_wrong_slo_file(tmp_path: Path) -> None:
    settings = Settings(upstream="http://127.0.0.1:1", data=tmp_path / "no" / "such")
    assert "the event store cannot be asked" in run(settings, "report", code=1)
    settings = Settings(upstream="http://127.0.0.1:1", data=tmp_path, slos="nothing")
    assert "nothing: No such file" in run(settings, "report", code=1)


def test_backtest_says_which_pages_when_and_how_long(tmp_path: Path) -> None:
    """A quiet day at 0.4 a second, then an hour in which all fail."""
    store = EmbeddedStore(tmp_path / "events.db")
    store.install()
    failed = {"outcome": "failure", "status": 500, "upstream": ("failure",)}
    calm = [exchange(n, NOON - n * 20 * SECOND) for n in range(1, 4000)]
    outage = [exchange(10_000 + n, NOON + n * 5 * SECOND // 2, **failed) for n in range(1440)]
    after = [exchange(20_000 + n, NOON + (3600 + n * 10) * SECOND) for n in range(700)]
    store.append([*calm, *outage, *after])
    store.close()
    settings = Settings(upstream="http://127.0.0.1:1", data=tmp_path)
    said = run(settings, "backtest", "--since", "2026-03-10T11:00", "--until", "2026-03-10T14:00")
    assert re.search(r"^Users: 2026-03-10 12:00:00 UTC, for 1 h: paged after 15 s$", said, re.M)
    page = "  page   after 2 min, held 1 h 27 min 45 s: answered (all) 3600s-300s: "
    assert len([line for line in said.splitlines() if line.startswith(page)]) == 2, "of users, and of HOSP"
    assert "2026-03-10 11:" not in said, "a calm day says nothing"
    assert "no alert" in run(settings, "backtest", "--since", "2026-03-10T06:00", "--until", "2026-03-10T12:00")
