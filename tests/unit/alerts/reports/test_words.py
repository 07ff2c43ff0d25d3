"""What is told about another API than HOSP never says HOSP; only the view's old name stays, in labels and files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from alerts.backtest.incidents import incidents, replay
from alerts.backtest.text import lines
from alerts.channels.pagerduty import payload
from alerts.message import RUNBOOKS, paragraphs
from alerts.objectives import openslo
from alerts.prometheus import conditions as prometheus_conditions
from alerts.prometheus.rules import rules
from alerts.reports.html import as_html
from alerts.reports.report import as_table, make
from alerts.rules import conditions
from alerts.rules.burn_rules import Rule
from alerts.rules.evaluation import levels
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.timeunits import SECOND
from tests.contracts.event_store import NOON
from tests.support.alerts.recorded import exchange
from tests.unit.alerts.test_openslo_files import SERVICE, SLO, written

VIEW = re.compile(r"""view['"]?\s*[=:]\s*['"]?hosp\b|`hosp`""")
"""The label's value, which rules and dashboards go by."""
ENDPOINT = "GET /notes/{id}"


def said_of(folder: Path, *, service: str = SERVICE) -> Iterator[tuple[str, str]]:
    """(which text, text) of everything that people read about objectives of an API."""
    promises = openslo.load(written(folder, service, SLO % ("answered", "upstream", "target: 0.99")), [ENDPOINT])
    store = EmbeddedStore(folder / "events.db")
    store.install()
    failed = {"outcome": "failure", "status": 500, "upstream": ("failure",)}
    store.append([exchange(n, NOON + n * SECOND, **(failed if n > 300 else {})) for n in range(900)])
    try:
        report = make(store, promises, NOON, NOON + 3600 * SECOND)
        yield "table", as_table(report)
        yield "html", as_html(report)
        start = NOON // SECOND
        fired = replay(store, promises, levels(promises), Rule(), start, start + 3600)
        yield "backtest", "\n".join(lines(incidents(fired)))
    finally:
        store.close()
    yield "rules", rules(promises, levels(promises), Rule(), [ENDPOINT])
    beyond = conditions.load(conditions.SHIPPED)
    yield "conditions", prometheus_conditions.rules(beyond) + " ".join(rule.said for rule in beyond)
    for path in sorted(RUNBOOKS.glob("*.md")):
        yield path.name, path.read_text()
    labels = {"slo": "answered", "objective": "x", "view": "hosp", "endpoint": "all"}
    alert = {
        "key": "k", "name": "ErrorBudgetBurn", "severity": "page", "labels": labels, "notes": {"reason": "5 of 9 bad"},
        "kind": "firing", "fired_at": NOON, "resolved_at": 0,
    }  # fmt: skip
    content = {"group": {}, "status": "firing", "alerts": [alert]}
    yield "message", "\n".join(paragraphs(content, "http://dashboard"))
    yield "pagerduty", repr(payload(content, "l", "key", "http://dashboard", "source"))


def test_nothing_about_another_api_says_hosp(tmp_path: Path) -> None:
    wrong = {which for which, text in said_of(tmp_path) if "hosp" in VIEW.sub("", text).lower()}
    assert wrong == set()


@pytest.mark.parametrize("which", ["table", "html"])
def test_reports_call_an_api_as_its_service_is_called(tmp_path: Path, which: str) -> None:
    library = SERVICE.replace("{name: other}", "{name: other, displayName: City Library}")
    assert "City Library gave" in dict(said_of(tmp_path, service=library))[which]
