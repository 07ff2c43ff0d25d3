"""What depends on what keeps its order; nothing else waits."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.contract import Contract
from sidecar.standby.outbox.dependencies import Held, Needs, of_write

CONTRACT = Contract.load("hosp")


def needs(
    name: str, record: str | None = None, user: str = "Dr Holt", people: tuple[str, ...] = (), **fields: Any
) -> Needs:
    return of_write(CONTRACT, CONTRACT.endpoints[name], record, {}, fields, user, people, lambda kind, ident: None)


@pytest.mark.parametrize(
    ("before", "after", "waits"),
    [
        (needs("notes.create", patient_id=17), needs("notes.create", patient_id=17), False),
        (needs("notes.update", "5"), needs("notes.update", "6"), False),
        (needs("notes.update", "5"), needs("notes.update", "5", user="Dr Ames"), True),
        (needs("notes.update", "5"), needs("notes.delete", "5", user="Dr Ames"), True),
        (needs("patients.update", "17"), needs("notes.create", patient_id=17), False),
        (needs("patients.delete", "17"), needs("notes.create", patient_id=17), True),
        (needs("notes.create", patient_id=17), needs("patients.delete", "17"), True),
        (needs("notes.create", patient_id=18), needs("patients.delete", "17"), False),
        (needs("staffs.create", people=("Dr New",)), needs("notes.create", user="Dr New"), True),
        (needs("staffs.create", people=("Dr New",)), needs("notes.create", user="Dr Ames"), False),
        (needs("notes.create", user="Dr Ames"), needs("staffs.update", "3", people=("Dr Ames",)), True),
    ],
)
def test_what_depends_on_an_earlier_write_waits_for_it(before: Needs, after: Needs, waits: bool) -> None:
    held = Held()
    held.add(before)
    assert held.stops(after) is waits


def test_what_names_a_record_that_is_not_there_yet_waits() -> None:
    assert needs("notes.create", patient_id=2_000_000_001).missing
    assert needs("notes.update", "2000000001").missing
    assert not needs("notes.create", "2000000001").missing
