"""SLO files of other tools: any order, several files, percent, kinds that are passed over; a wrong number is named."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path

import pytest

from alerts.objectives.openslo import load, locate

ENDPOINTS = ["GET /notes", "POST /patients/{id}/screen"]
SERVICE = "apiVersion: openslo/v1\nkind: Service\nmetadata: {name: other}\nspec: {}\n"
SLO = """apiVersion: openslo/v1
kind: SLO
metadata: {name: %s}
spec:
  service: other
  indicator:
    metadata: {name: a}
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {type: understudy, spec: {users: [{outcome: [success]}], %s: [{outcome: [success]}]}}}
        total: {metricSource: {type: understudy, spec: {}}}
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: x, %s}]
"""


def written(folder: Path, *documents: str, name: str = "slos.yaml") -> str:
    path = folder / name
    path.write_text("---\n".join(documents))
    return str(path)


@pytest.mark.parametrize("number", [".nan", "0:0.99", ".inf"])
def test_what_is_no_number_is_refused_with_file_and_field(tmp_path: Path, number: str) -> None:
    path = written(tmp_path, SERVICE, SLO % ("a", "upstream", f"target: {number}"))
    with pytest.raises(ValueError, match=r"document 2.*spec\.objectives\.0\.?") as error:
        load(path, ENDPOINTS)
    assert path in str(error.value)


def test_documents_come_in_any_order_and_strangers_are_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    policy = "apiVersion: openslo/v1\nkind: AlertPolicy\nmetadata: {name: p}\nspec: {whatever: 1}\n"
    found = load(written(tmp_path, SLO % ("a", "upstream", "target: 0.99"), policy, SERVICE), ENDPOINTS)
    assert [(each.objective.slo, each.objective.view) for each in found] == [("a", "users"), ("a", "hosp")]
    [word] = caplog.records
    assert word.getMessage().endswith("document 2: AlertPolicy is not read here")
    assert word.levelno >= logging.WARNING, "or nobody who runs a command hears it"


def test_percent_and_the_older_name_of_the_view(tmp_path: Path) -> None:
    [users, theirs] = load(written(tmp_path, SERVICE, SLO % ("a", "hosp", "targetPercent: 99.9")), ENDPOINTS)
    assert users.objective.target == Fraction(999, 1000)
    assert theirs.objective.view == "hosp"


def test_a_folder_and_several_files(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    written(tmp_path / "all", SLO % ("a", "upstream", "target: 0.99"), name="1.yaml")
    written(tmp_path / "all", SERVICE, name="2.yml")
    more = written(tmp_path, SLO % ("b", "upstream", "target: 0.99"))
    assert {each.objective.slo for each in load(f"{tmp_path / 'all'}, {more}", ENDPOINTS)} == {"a", "b"}


def test_the_shipped_one_says_what_is_wrong_when_it_is_missed() -> None:
    assert locate("hosp").is_file()
    words = {each.objective.slo: each.objective.broken for each in load("hosp", ENDPOINTS)}
    assert words["front-door"] == "Front door unavailable"
