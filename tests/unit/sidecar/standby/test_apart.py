"""What was known of a record before another was written is known no more, until the upstream was seen to leave it alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.gateway import InProcess
from tests.support.upstream import HOLT


def beside(folder: Path) -> InProcess:
    """Two patients and a note of one of them; one comparison is proof enough."""
    gateway = InProcess(folder, proof=1, parity_sample=1.0)
    for number in (17, 18):
        gateway.upstream.state.patients[number] = {"id": number, "name": f"Rex {number}", "updated_at": "2026-01-01"}
    gateway.upstream.state.notes[1] = {"id": 1, "title": "Limps", "patient_id": 17}
    return gateway


def looks(gateway: InProcess) -> None:
    for target in ("/patients", "/notes"):
        gateway.ask("GET", target, HOLT)
        gateway.learned()


def touches(gateway: InProcess, at: str) -> None:
    """A write to a note that changes its patient's time as well."""
    assert gateway.ask("PATCH", "/notes/1", HOLT, {"title": at}).status == 200
    gateway.upstream.state.patients[17]["updated_at"] = at


@pytest.mark.parametrize("target", ["/patients/17", "/patients"])
def test_what_another_records_write_may_have_touched_is_not_known(tmp_path: Path, target: str) -> None:
    with beside(tmp_path) as gateway:
        looks(gateway)
        gateway.knows(target, HOLT)
        touches(gateway, "2026-02-02")
        assert gateway.down(target, HOLT).status == 503
        assert b"2026-02-02" in gateway.knows(target, HOLT).body, "seen since"
        touches(gateway, "2026-03-03")
        assert gateway.down(target, HOLT).status == 503, "refuted"


def test_what_writes_were_seen_to_leave_alone_is_known_after_the_next(tmp_path: Path) -> None:
    with beside(tmp_path) as gateway:
        looks(gateway)
        gateway.ask("GET", "/patients/17", HOLT)
        gateway.ask("PATCH", "/notes/1", HOLT, {"title": "Better"})
        assert gateway.down("/patients/17", HOLT).status == 503, "nobody has looked since"
        looks(gateway)
        gateway.ask("PATCH", "/notes/1", HOLT, {"title": "Well"})
        assert gateway.down("/patients/17", HOLT).json()["name"] == "Rex 17"


def test_a_name_that_is_given_again_is_another_question_in_another_order(tmp_path: Path) -> None:
    with beside(tmp_path) as gateway:
        gateway.ask("GET", "/notes?staff_id=1&staff_id=2&fields=id", HOLT)
        assert gateway.down("/notes?staff_id=2&staff_id=1&fields=id", HOLT).status == 503
        assert gateway.down("/notes?staff_id=1&staff_id=2&fields=%69d", HOLT).status == 503
        assert gateway.down("/notes?fields=id&staff_id=1&staff_id=2", HOLT).status == 200
