"""SLO files: the shipped one says what was promised; a wrong one is refused with file, document and field."""

from copy import deepcopy
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.objectives import openslo
from sidecar.contract import Contract

ENDPOINTS = [endpoint.name for endpoint in Contract.load("hosp").endpoints.values()]


def test_the_shipped_promises() -> None:
    promises = openslo.load("hosp", ENDPOINTS)
    found = {(p.objective.slo, p.objective.target, p.within) for p in promises}
    assert found == {
        ("answered", Fraction(99, 100), None),
        ("in-time", Fraction(9999, 10000), 3_000_000_000),
        ("front-door", Fraction(99999, 100000), None),
        ("screening", Fraction(99, 100), None),
        ("endpoints", Fraction(99, 100), None),
    }
    assert {p.objective.period for p in promises} == {30 * 86400}
    assert len({p.objective for p in promises}) == len(promises)
    for slo in ("answered", "in-time", "front-door", "screening"):
        assert [p.objective.view for p in promises if p.objective.slo == slo] == ["users", "hosp"]
    each = {p.objective.endpoint for p in promises if p.objective.slo == "endpoints"}
    assert each == set(ENDPOINTS)
    assert {p.objective.endpoint for p in promises if p.objective.slo == "screening"} == {"POST /patients/{id}/screen"}


def documents() -> list[dict]:
    return deepcopy(_documents())


@cache
def _documents() -> list[dict]:
    return [
        d
        for d in yaml.safe_load_all((openslo.FOLDER / "hosp.yaml").read_text())
        if d["metadata"]["name"] in ("hosp", "screening")
    ]


def change(*path: object, to: object) -> list[dict]:
    """The documents with one value changed; ... takes it away."""
    changed = documents()
    at = changed[1]
    for part in path[:-1]:
        at = at[part]  # type: ignore[index]
    if to is ...:
        del at[path[-1]]  # type: ignore[arg-type]
    else:
        at[path[-1]] = to  # type: ignore[index]
    return changed


def aligned(duration: str, start: str = "2026-01-01 00:00:00", zone: str = "Europe/Berlin") -> dict[str, Any]:
    return {"duration": duration, "isRolling": False, "calendar": {"startTime": start, "timeZone": zone}}


RATIO = ("spec", "indicator", "spec", "ratioMetric")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (change("apiVersion", to="openslo/v2"), "document 2: apiVersion: 'openslo/v1' was expected"),
        (change("kind", to="SLI"), "document 2: kind"),
        (change("metadata", "name", to="A B"), "document 2: metadata.name"),
        (change("spec", "service", to="other"), r"document 2 \(screening\): spec.service: no Service .* 'other'"),
        (
            change("spec", "timeWindow", 0, "duration", to="1 month"),
            "document 2: spec.timeWindow.0.duration: '1 month'",
        ),
        (
            change("spec", "timeWindow", 0, "isRolling", to=False),
            "document 2: spec.timeWindow.0: 'calendar' is a required",
        ),
        (change("spec", "timeWindow", 0, "duration", to="1M"), "document 2: spec.timeWindow.0.duration: '1M'"),
        (
            change("spec", "timeWindow", 0, to=aligned("1M", zone="Berlin")),
            "timeWindow.0.calendar.timeZone: .*'Berlin'",
        ),
        (
            change("spec", "timeWindow", 0, to=aligned("1M", start="2026-02-30 00:00:00")),
            "timeWindow.0.calendar.startTime: .*02-30",
        ),
        (change("spec", "timeWindow", 0, to=aligned("6h")), "document 2: spec.timeWindow.0.duration: '6h'"),
        (change("spec", "objectives", 0, "target", to=1.0), "document 2: spec.objectives.0.target"),
        (change("spec", "objectives", to=[]), "document 2: spec.objectives"),
        (change("spec", "budgetingMethod", to="Timeslices"), "document 2: spec.budgetingMethod"),
        (change(*RATIO, "good", to=...), "document 2: spec.indicator.spec.ratioMetric: 'good' is a required"),
        (change(*RATIO, "good", "metricSource", "spec", "within", to="soon"), "good.metricSource.spec.within"),
        (
            change(*RATIO, "good", "metricSource", "spec", "users", to=[{"outcome": ["fine"]}]),
            "users.0.outcome.0: 'fine'",
        ),
        (change(*RATIO, "total", "metricSource", "spec", "endpoints", to=["GET /no"]), "no endpoint 'GET /no'"),
        ([documents()[0]], "expected at least one SLO"),
        ([*documents(), documents()[1]], r"document 3 \(screening\): metadata.name: another"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, wrong: list[dict], said: str) -> None:
    path = tmp_path / "slos.yaml"
    path.write_text(yaml.safe_dump_all(wrong))
    with pytest.raises(ValueError, match=said) as raised:
        openslo.load(str(path), ENDPOINTS)
    assert str(path) in str(raised.value)


def test_a_file_that_is_not_there_or_not_yaml(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="hsop: No such file"):
        openslo.load("hsop", ENDPOINTS)
    (tmp_path / "x.yaml").write_text("a: [")
    with pytest.raises(ValueError, match=r"x\.yaml: not YAML"):
        openslo.load(str(tmp_path / "x.yaml"), ENDPOINTS)


def test_a_target_is_exact_and_the_period_is_the_files(tmp_path: Path) -> None:
    wanted = change("spec", "timeWindow", 0, "duration", to="1h")
    wanted[1]["spec"]["objectives"][0]["target"] = 0.999
    path = tmp_path / "slos.yaml"
    path.write_text(yaml.safe_dump_all(wanted))
    (promise, _) = openslo.load(str(path), ENDPOINTS)
    assert (promise.objective.target, promise.objective.period) == (Fraction(999, 1000), 3600)
