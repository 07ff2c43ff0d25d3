"""The standby as the system: each resource's checks, and the step that comes next."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard.data.replacement import READY, Step, candidates, only_upstream
from sidecar.contract import Contract

HOSP = Contract.load("hosp")
FIT: dict[str, Any] = {
    "complete": True, "verified": True, "private": False, "in_doubt": 0, "parked": 0, "pending": 0,
    "owner": "upstream", "doubts": [],
}  # fmt: skip
PROVEN = {"state": "proven", "rivals": []}
OPEN = {"state": "unproven", "rivals": [{"name": "ignored", "settled_by": "a list with another patient_id"}]}


def evidence(**derivations: Any) -> dict[str, Any]:
    """Of every endpoint of notes and patients that is compared."""
    names = [each.id for each in HOSP.endpoints.values() if each.safe and each.resource in ("notes", "patients")]
    return {name: {"ready": True, "derivations": derivations or {"filter": PROVEN}} for name in names}


def found(row: dict[str, Any], of: dict[str, Any] | None = None) -> Any:
    (made,) = candidates(HOSP, {"notes": {**FIT, **row}}, evidence() if of is None else of, "HOSP")
    return made


@pytest.mark.parametrize(
    ("row", "step", "missing"),
    [
        ({}, Step.PROMOTE, []),
        ({"parked": 2, "doubts": ["x"]}, Step.DECIDE, ["2 writes are parked"]),
        (
            {"parked": 1, "complete": False, "doubts": ["x"]},
            Step.DECIDE,
            ["Not all notes are known", "1 write is parked"],
        ),
        ({"complete": False, "doubts": ["x"]}, Step.FILL, ["Not all notes are known"]),
        ({"in_doubt": 1, "doubts": ["x"]}, Step.FILL, ["1 note is in doubt"]),
        (
            {"pending": 3, "doubts": ["3 writes of notes are under way"]},
            Step.WAIT,
            ["3 writes are waiting to reach HOSP"],
        ),
        ({"private": True, "doubts": ["x"]}, Step.WAIT, ["Each caller sees other records"]),
        ({"owner": "standby"}, Step.NOTHING, []),
    ],
)
def test_the_next_step_follows_from_what_is_missing(row: dict[str, Any], step: Step, missing: list[str]) -> None:
    made = found(row)
    assert (made.step, [check.said for check in made.checks if not check.ok]) == (step, missing)
    assert made.owned is (step is Step.NOTHING)


def test_what_is_not_proven_is_named_with_what_settles_it() -> None:
    made = found({"doubts": ["what notes.list answers is not proven"]}, evidence(filter=OPEN, single_item=PROVEN))
    assert made.step is Step.PROVE
    assert "What settles it: a list with another patient_id." in made.advice
    assert "notes.list: 1 of 2 derivations are proven" in [check.said for check in made.checks if not check.ok]


def test_what_is_refuted_is_said() -> None:
    made = found({"doubts": ["x"]}, evidence(whole_list={"state": "refuted", "rivals": []}))
    assert any("refuted: whole list" in check.said for check in made.checks)
    assert made.step is Step.PROVE


def test_what_may_be_served_unproven_may_be_promoted_and_is_told() -> None:
    """UNPROVEN=serve: nothing speaks against it, and yet it is not proven."""
    made = found({"doubts": []}, evidence(filter=OPEN))
    assert made.step is Step.PROMOTE
    assert made.advice.startswith("Nothing speaks against promoting it. First: Prove what ")


@pytest.mark.parametrize(
    ("row", "step", "advice"),
    [
        ({}, Step.PROMOTE, READY),
        ({"pending": 2}, Step.WAIT, "Wait: 2 writes are waiting to reach HOSP."),
        ({"pending": 1, "private": True}, Step.WAIT, "Wait: 1 write is waiting to reach HOSP."),
        (
            {"private": True},
            Step.PROMOTE,
            "Nothing speaks against promoting it, but: Each caller sees other records.",
        ),
    ],
)
def test_that_every_check_passes_is_said_only_where_every_one_does(
    row: dict[str, Any], step: Step, advice: str
) -> None:
    """`doubts` are not all that the page checks."""
    made = found(row)
    assert (made.step, made.advice) == (step, advice)
    assert (made.advice == READY) is all(check.ok for check in made.checks)


def test_an_endpoint_that_is_proven_and_not_ready_is_named_before_a_promotion() -> None:
    unready = {"ready": False, "reason": "its list is not whole", "derivations": {"filter": PROVEN}}
    made = found({}, evidence() | {"notes.list": unready})
    assert made.step is Step.PROMOTE
    assert made.advice.startswith("Nothing speaks against promoting it, but: notes.list: 1 of 1 derivations are proven")
    assert made.advice.endswith("its list is not whole.")


def test_what_others_refer_to_comes_first() -> None:
    names = [each.name for each in candidates(HOSP, dict.fromkeys(HOSP.resources, FIT), evidence(), "HOSP")]
    assert sorted(names) == sorted(HOSP.resources)
    assert names.index("patients") < names.index("notes")
    assert names.index("staffs") < names.index("notes")


def test_what_no_copy_answers_stays_behind() -> None:
    states = [
        {"name": "GET /notes", "ready_reason": "ready"},
        {"name": "POST /patients/{id}/screen", "ready_reason": "only the upstream can answer this"},
        {"name": "not asked"},
    ]
    assert only_upstream(states) == ["POST /patients/{id}/screen"]
