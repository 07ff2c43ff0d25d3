"""The standby's one rule: it never answers with what may no longer be true. A model upstream, any order of events."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sidecar.clock import stamp
from sidecar.exchange import Outcome
from sidecar.settings import load_settings
from sidecar.standby.absence import under_way_for
from sidecar.standby.answer import Answer
from sidecar.standby.knowledge import latest_stamp
from sidecar.standby.known_callers import Standing
from sidecar.standby.standby import QUEUE, QUEUE_BYTES, Standby
from sidecar.timeunits import SECOND
from tests.support.hearing import HOSP, Hearing, request, response


class World(Hearing):
    """The real upstream's notes, and a standby that hears of them."""

    def __init__(self, data: Path) -> None:
        # staleness is tried here, which no proof excuses; tests/unit/standby tries what answers before proof
        super().__init__(data, parity_sample="0", unproven="serve")
        self.notes: dict[int, dict[str, Any]] = {}
        self.next = 1

    def reset(self) -> None:
        super().reset()
        self.notes, self.next = {}, 1

    def listed(self) -> list[dict[str, Any]]:
        return [dict(self.notes[number]) for number in sorted(self.notes, reverse=True)]

    def begin(self, method: str, target: str, body: Any = None) -> Any:
        return self.standby.begin_write(HOSP.match(method, target), request(method, target, body), "u")

    def end(self, write: Any, status: int | None, value: Any = None) -> None:
        outcome = Outcome.UNKNOWN if status is None or status >= 500 else Outcome.SUCCESS
        self.standby.end_write(write, None if status is None else response(status, value), outcome, "u")

    def learn(self, target: str, status: int, value: Any, t0: int, user: str = "u") -> None:
        match = HOSP.match("GET", target.partition("?")[0])
        self.standby.learn(match, request("GET", target), response(status, value), user, t0)
        self.standby.flush()

    def answer(self, target: str, user: str = "u") -> Answer | None:
        got = self.standby.answer(HOSP.match("GET", target.partition("?")[0]), request("GET", target), user)
        return got if isinstance(got, Answer) else None

    def json(self, target: str, user: str = "u") -> Any:
        got = self.answer(target, user)
        return None if got is None else (got.status, json.loads(got.body))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("standby")) as world:
        yield world


@pytest.fixture
def world(shared: World) -> World:
    shared.reset()
    return shared


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["create", "update", "delete", "read", "list", "begin_read", "begin_list", "deliver", "passed"]
        ),
        st.integers(1, 4),
        st.sampled_from(["ok", "applied_500", "lost_500", "hang", "refused", "unsent", "passed by meanwhile"]),
    ),
    max_size=14,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([("create", 1, "ok"), ("passed", 1, "ok"), ("update", 1, "unsent")])
@example([("create", 1, "ok"), ("passed", 1, "ok"), ("delete", 1, "refused")])
@example([("create", 1, "ok"), ("update", 1, "passed by meanwhile")])
@given(STEPS)
def test_whatever_the_order_an_answer_is_the_upstreams_own(shared: World, steps: list[tuple[str, int, str]]) -> None:
    """Reads that began before a write may be delivered long after it; writes may be unclear, refused or never sent, and
    others may change records without our hearing of more than that. Never a wrong answer."""
    world = shared
    world.reset()
    waiting: list[tuple[str, int, Any, int]] = []
    for number, (kind, which, how) in enumerate(steps):
        target = f"/notes/{which}"
        if kind in ("create", "update", "delete"):
            change(world, kind, which, how, number)
        elif kind == "passed":
            passed_by(world, which, number)
        elif kind == "deliver" and waiting:
            world.learn(*waiting.pop(0))
        else:
            t0 = stamp()
            note = world.notes.get(which)
            seen = ("/notes", 200, world.listed(), t0) if kind.endswith("list") else (
                target, 200 if note else 404, dict(note) if note else {"status": 404}, t0)  # fmt: skip
            if kind.startswith("begin"):
                waiting.append(seen)
            elif kind != "deliver":
                world.learn(*seen)
        for one in range(1, 5):
            got = world.json(f"/notes/{one}")
            assert got is None or got == ((200, world.notes[one]) if one in world.notes else (404, got[1])), (one, kind)
        assert world.json("/notes") in (None, (200, world.listed()))


def change(world: World, kind: str, which: int, how: str, number: int) -> None:
    method, target = {"create": ("POST", "/notes"), "update": ("PATCH", f"/notes/{which}")}.get(
        kind, ("DELETE", f"/notes/{which}")
    )
    write = world.begin(method, target, {"title": f"t{number}"})
    if how in ("refused", "unsent", "passed by meanwhile"):
        if how == "passed by meanwhile":
            passed_by(world, which, number)
        refusal = response(422, {}) if how == "refused" else None
        world.standby.end_write(write, refusal, Outcome.SUCCESS if refusal else Outcome.FAILURE, "u")
        return
    missing = kind != "create" and which not in world.notes
    value: Any = None
    if how != "lost_500" and not missing:
        if kind == "create":
            which, world.next = world.next, world.next + 1
            world.notes[which] = {"id": which, "title": f"t{number}"}
        elif kind == "update":
            world.notes[which] = {"id": which, "title": f"t{number}"}
        else:
            del world.notes[which]
        value = None if kind == "delete" else dict(world.notes[which])
    if missing and how == "ok":
        world.end(write, 404, {"status": 404})
    elif how == "ok":
        world.end(write, {"create": 201, "update": 200}.get(kind, 204), value)
    else:
        world.end(write, None if how == "hang" else 500)


def passed_by(world: World, which: int, number: int) -> None:
    """Somebody has changed the record at the upstream itself; we hear that something may have passed us by."""
    if which in world.notes:
        world.notes[which] = {"id": which, "title": f"past us {number}"}
    world.standby.mark_gap("somebody may have passed by")


def test_a_read_that_overlaps_a_write_teaches_nothing(world: World) -> None:
    world.learn("/notes/1", 200, {"id": 1, "title": "old"}, stamp())
    before = stamp()
    write = world.begin("PATCH", "/notes/1", {"title": "new"})
    assert world.json("/notes/1") is None
    world.end(write, 200, {"id": 1, "title": "new"})
    world.learn("/notes/1", 200, {"id": 1, "title": "old"}, before)
    assert world.json("/notes/1") == (200, {"id": 1, "title": "new"})


def test_a_compressed_answer_to_a_write_is_read(world: World) -> None:
    write = world.begin("POST", "/notes", {"title": "new"})
    answer = response(201, {"id": 1, "title": "new"})
    answer.body = gzip.compress(answer.body)
    answer.headers.append(("Content-Encoding", "gzip"))
    world.standby.end_write(write, answer, Outcome.SUCCESS, "u")
    assert world.json("/notes/1") == (200, {"id": 1, "title": "new"})


def test_a_write_that_was_not_sent_leaves_things_known(world: World) -> None:
    world.learn("/notes/1", 200, {"id": 1, "title": "old"}, stamp())
    write = world.begin("PATCH", "/notes/1", {"title": "new"})
    world.standby.end_write(write, None, Outcome.FAILURE, "u")
    assert world.json("/notes/1") == (200, {"id": 1, "title": "old"})


def test_an_unclear_create_hides_only_lists_it_could_be_in(world: World) -> None:
    world.learn("/notes", 200, [{"id": 1, "patient_id": 7}], stamp())
    world.end(world.begin("POST", "/notes", {"patient_id": 8}), None)
    assert world.json("/notes?patient_id=7") == (200, [{"id": 1, "patient_id": 7}])
    assert world.json("/notes?patient_id=8") is None
    assert world.json("/notes") is None


def test_a_deleted_patient_puts_its_notes_in_doubt(world: World) -> None:
    world.learn("/notes", 200, [{"id": 2, "patient_id": 8}, {"id": 1, "patient_id": 7}], stamp())
    world.end(world.begin("DELETE", "/patients/7"), 204)
    assert world.json("/notes/1") is None
    assert world.json("/notes") is None
    assert world.json("/notes/2") == (200, {"id": 2, "patient_id": 8})


def test_what_one_caller_is_refused_is_no_longer_shown_to_callers_who_never_saw_it(world: World) -> None:
    world.learn("/patients/7", 200, {"id": 7, "name": "Rex"}, stamp(), "ann")
    world.learn("/patients/7", 404, {"status": 404}, stamp(), "ben")
    world.learn("/patients/7", 200, {"id": 7, "name": "Rex"}, stamp(), "ann")
    assert world.json("/patients/7", "ann") == (200, {"id": 7, "name": "Rex"})
    assert world.json("/patients/7", "ben") == (404, {"status": 404}), "what ben himself was told"
    assert world.json("/patients/7", "cara") is None
    assert world.standby.completeness()["patients"]["private"]


def test_a_gap_hides_everything_until_it_is_seen_again(world: World) -> None:
    world.learn("/notes/1", 200, {"id": 1}, stamp())
    world.standby.mark_gap("test")
    assert world.json("/notes/1") is None
    world.learn("/notes/1", 200, {"id": 1}, stamp())
    assert world.json("/notes/1") == (200, {"id": 1})


def test_a_gap_that_is_kept_late_does_not_undo_a_later_one(tmp_path: Path, world: World) -> None:
    """It was told in a file, for the database took nothing; another process keeps it, which has not looked since."""
    other = Standby(HOSP, world.engine, load_settings({"UNDERSTUDY_DATA": str(tmp_path)}))
    other.outbox.note_gap(stamp())
    world.learn("/notes/1", 200, {"id": 1}, stamp())
    world.standby.mark_gap("a later one")
    other.refresh()
    world.standby.refresh()
    assert world.json("/notes/1") is None
    other.close()


def test_few_large_answers_wait_to_be_learned_from_and_many_small_ones(world: World) -> None:
    learning, large = threading.Event(), "x" * (QUEUE_BYTES // 4)
    world.standby._later(learning.wait)
    for number in range(1, 9):
        answer = response(200, {"id": number, "title": large if number < 7 else "small"})
        world.standby.learn(
            HOSP.match("GET", f"/notes/{number}"), request("GET", f"/notes/{number}"), answer, "u", stamp()
        )
    learning.set()
    world.standby.flush()
    assert [number for number in range(1, 9) if world.answer(f"/notes/{number}")] == [1, 2, 3, 7, 8]
    world.learn("/notes/4", 200, {"id": 4, "title": large * 5}, stamp())
    assert world.answer("/notes/4"), "alone, one of any size is"


def test_what_is_seen_while_what_passed_us_by_may_take_effect_yet_is_not_believed(tmp_path: Path) -> None:
    """Until the balancer has turned back to us, and the upstream has done all that it was sent meanwhile; not even by a
    restart is that over sooner."""
    with World(tmp_path) as world:
        note, lasts = {"id": 1, "title": "Limps"}, under_way_for(world.settings)
        world.learn("/notes/1", 200, note, stamp())
        assert world.answer("/notes/1")
        world.standby.mark_gap("away", under_way=True)
        world.standby.refresh()
        for at in (stamp(), world.standby.verified_since() - SECOND):
            world.learn("/notes/1", 200, note, at)
            assert world.answer("/notes/1") is None
        assert not world.standby.may_verify()
        assert latest_stamp(world.engine, lasts) < world.standby.verified_since()
        world.learn("/notes/1", 200, note, world.standby.verified_since() + SECOND)
        assert world.answer("/notes/1"), "seen once more, though no word has changed"
        for later in (True, False):
            world.standby.mark_gap("a write outside the contract", later=later)
            assert world.standby.intents.verified_since >= world.standby.verified_since()
            world.standby.refresh()
            assert not world.standby.may_verify(), "nor by a gap that is over at once"


def test_what_is_not_learned_for_want_of_room_gives_its_bytes_back(world: World) -> None:
    learning = threading.Event()
    world.standby._later(learning.wait)
    for _ in range(QUEUE - 50):
        world.standby._later(bool)
    for number in range(100):
        question = HOSP.match("GET", f"/notes/{number}"), request("GET", f"/notes/{number}")
        world.standby.learn(*question, response(200, {"id": number, "title": "t"}), "u", stamp())
    learning.set()
    world.standby.flush(60)
    assert world.standby._held == 0
    world.learn("/notes/1", 200, {"id": 1, "title": "again"}, stamp())
    assert world.answer("/notes/1")


def test_urls_are_the_callers(world: World) -> None:
    world.learn("/notes/1", 200, {"id": 1, "url": "http://other:81/notes/1.json"}, stamp())
    assert world.json("/notes/1") == (200, {"id": 1, "url": "http://other:81/notes/1.json"}), "word for word"
    assert world.json("/notes/1", "v") == (200, {"id": 1, "url": "http://h/notes/1.json"})


def test_a_new_password_retires_the_old_one(world: World) -> None:
    world.standby.accepted("Dr Holt", "old")
    world.standby.flush()
    world.standby.refresh()
    assert world.standby.check("Dr Holt", "old") is Standing.KNOWN
    assert world.standby.check("Dr Holt", "bad") is Standing.WRONG
    write = world.begin("PATCH", "/staffs/3", {"password": "new"})
    world.end(write, 200, {"id": 3, "name": "Dr Holt"})
    assert world.standby.check("Dr Holt", "old") is Standing.UNKNOWN
    world.standby.revoke("Dr Holt")
    assert world.standby.check("Dr Holt", "old") is Standing.REVOKED
