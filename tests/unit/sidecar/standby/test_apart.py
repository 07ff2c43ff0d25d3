"""What was known of a record before another was written is known no more, until writes were seen to leave it alone.

And what is not believed, or not for everybody: copies that lag behind a write, and text in the language asked for.
"""

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


def test_a_read_that_lags_behind_a_write_is_not_believed(tmp_path: Path) -> None:
    with beside(tmp_path) as gateway:
        looks(gateway)
        was = dict(gateway.upstream.state.patients[17])
        gateway.ask("PATCH", "/patients/17", HOLT, {"name": "Max"})
        now, gateway.upstream.state.patients[17] = gateway.upstream.state.patients[17], was
        for target in ("/patients/17", "/patients"):
            assert b"Max" not in gateway.ask("GET", target, HOLT).body, "from a copy of before"
            assert gateway.down(target, HOLT).status == 503
        gateway.upstream.state.patients[17] = now
        assert b"Max" in gateway.knows("/patients/17", HOLT).body


def test_a_list_that_lacks_what_was_just_made_and_a_record_that_was_just_deleted_are_not_believed(
    tmp_path: Path,
) -> None:
    with beside(tmp_path) as gateway:
        looks(gateway)
        gateway.ask("GET", "/notes?patient_id=17", HOLT)
        made = gateway.ask("POST", "/notes", HOLT, {"title": "New", "patient_id": 17}).json()["id"]
        now = gateway.upstream.state.notes.pop(made)
        for target in ("/notes?patient_id=17", "/notes"):
            gateway.ask("GET", target, HOLT)
            assert gateway.down(target, HOLT).status == 503
        gateway.upstream.state.notes[made] = now
        gateway.knows("/notes", HOLT)
        gateway.ask("DELETE", f"/notes/{made}", HOLT)
        gateway.upstream.state.notes[made] = now
        gateway.ask("GET", f"/notes/{made}", HOLT)
        assert gateway.down(f"/notes/{made}", HOLT).status == 503


def test_who_asks_in_another_language_is_told_nothing_until_both_were_told_the_same(tmp_path: Path) -> None:
    german = {**HOLT, "Accept-Language": "de"}
    with beside(tmp_path) as gateway:
        looks(gateway)
        for number in (17, 18):
            gateway.knows(f"/patients/{number}", HOLT)
        assert gateway.down("/patients/17", german).status == 503
        gateway.upstream.state.patients[17]["name"] = "Rex siebzehn"
        gateway.ask("GET", "/patients/17", german)
        assert gateway.down("/patients/17", HOLT).json()["name"] == "Rex 17"
        assert gateway.down("/patients/18", german).status == 503, "it is not the same"
        gateway.upstream.state.patients[17]["name"] = "Rex 17"
        gateway.ask("GET", "/patients", german)
        assert gateway.down("/patients/18", german).json()["name"] == "Rex 18"


def test_what_was_seen_to_change_with_nothing_written_is_not_known_later(tmp_path: Path) -> None:
    with beside(tmp_path) as gateway:
        gateway.upstream.state.notes[2] = {"id": 2, "title": "Well", "age": 1}
        gateway.upstream.state.notes[1]["age"] = 1
        for target in ("/notes", "/notes/1", "/notes/2"):
            gateway.knows(target, HOLT)
        for note in gateway.upstream.state.notes.values():
            note["age"] = 2
        gateway.ask("GET", "/notes/1", HOLT)
        for target in ("/notes", "/notes/1", "/notes/2"):
            assert gateway.down(target, HOLT).status == 503
        gateway.ask("GET", "/patients", HOLT)
        assert gateway.down("/patients", HOLT).status == 200, "that is all its own"


def test_a_path_with_a_slash_at_its_end_is_answered_where_the_upstream_was_seen_to_answer_it(tmp_path: Path) -> None:
    with beside(tmp_path) as gateway:
        for number in (17, 18):
            gateway.knows(f"/patients/{number}", HOLT)
        assert gateway.down("/patients/18/", HOLT).status == 503
        gateway.ask("GET", "/patients/17/", HOLT)
        assert gateway.down("/patients/18/", HOLT).json()["name"] == "Rex 18"


def test_a_list_that_grows_says_nothing_of_what_it_may_hide_between(tmp_path: Path) -> None:
    with beside(tmp_path) as gateway:
        for number in (1, 2, 4):
            gateway.upstream.state.notes[number] = {"id": number, "title": "Limps"}
        gateway.ask("GET", "/notes/999", HOLT)
        looks(gateway)
        gateway.ask("POST", "/notes", HOLT, {"title": "New"})
        looks(gateway)
        assert gateway.down("/notes/998", HOLT).status == 404
        assert gateway.down("/notes/3", HOLT).status == 503, "archived, perhaps: no list shows it"
