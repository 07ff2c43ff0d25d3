"""What counts as evidence: what a write may explain tells nothing, and what no write can explain counts however many
writes wait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sidecar.clock import stamp
from sidecar.exchange import Outcome
from sidecar.standby import evidence
from sidecar.standby.answer import Answer
from sidecar.standby.derivations import ITEM, LIST, OWN, SHARED, by_filter, shared_with
from sidecar.standby.evidence import Standing
from tests.support.hearing import HOSP, JSON, Hearing, request, response

Note = dict[str, Any]


class World(Hearing):
    """An upstream that does just what its contract says, and a standby that hears of it."""

    def __init__(self, data: Path, late: bool = True) -> None:
        """`late`: a write may take effect for half a minute after nobody waits for it; else at once, or never."""
        self.late = late
        late_effect = "30s" if late else "0s"
        super().__init__(data, parity_sample="0", seal_key=str(data / "seal-key"), late_effect=late_effect)
        self.notes: dict[int, Note] = {}

    def reset(self) -> None:
        super().reset()
        self.notes = {number: {"id": number, "title": f"t{number}", "patient_id": number % 3} for number in range(1, 9)}
        self.read("/patients", said=(200, [{"id": number, "name": f"p{number}"} for number in (2, 1, 0)]))

    def says(self, target: str) -> tuple[int, Any]:
        path, _, query = target.partition("?")
        if path == "/notes":
            newest = [dict(self.notes[number]) for number in sorted(self.notes, reverse=True)]
            wanted = query.partition("=")[2]
            return 200, [note for note in newest if not wanted or str(note["patient_id"]) == wanted]
        note = self.notes.get(int(path.rpartition("/")[2]))
        return (200, dict(note)) if note else (404, {"status": 404})

    def read(self, target: str, user: str = "u", said: tuple[int, Any] | None = None, t0: int | None = None) -> None:
        match, t0 = HOSP.match("GET", target.partition("?")[0]), stamp() if t0 is None else t0
        self.standby.learn(match, request("GET", target), response(*(said or self.says(target))), user, t0)
        self.standby.flush()

    def read_every(self, user: str = "u") -> None:
        for number in sorted(self.notes):
            self.read(f"/notes/{number}", user)

    def begin(self, method: str, target: str, body: Any = None, user: str = "u") -> Any:
        return self.standby.begin_write(HOSP.match(method, target), request(method, target, body), user)

    def accept(self, write: Any, body: Any, *, sent: bool, method: str, target: str) -> bool:
        taken = self.standby.intents.accept(
            write, request(method, target, body), "r", list(JSON), "u", sent=sent, answered=sent, under_way=False
        )
        return isinstance(taken, Answer)

    def change(self, number: int, sent: bool) -> None:
        """A change of a note that is accepted, and has or has not been sent."""
        target, body = f"/notes/{number}", {"title": "changed"}
        assert self.accept(self.begin("PATCH", target, body), body, sent=sent, method="PATCH", target=target)

    def create(self, body: Note, sent: bool) -> None:
        assert self.accept(self.begin("POST", "/notes", body), body, sent=sent, method="POST", target="/notes")

    def standing(self, of: str, derivation: str) -> Standing:
        with self.engine.connect() as connection:
            return evidence.standing(connection, of, derivation)

    def refuted(self) -> list[tuple[str, str, str | None]]:
        with self.engine.connect() as connection:
            every = evidence.every(connection)
        return [(*name, seen.difference) for name, seen in every.items() if seen.differences]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("standby")) as world:
        yield world


@pytest.fixture
def world(shared: World) -> World:
    shared.reset()
    return shared


def test_what_was_never_sent_explains_nothing(world: World) -> None:
    """Where writes always wait, as in an ordinary hour beside a flaky upstream, evidence grows all the same."""
    world.read("/notes")
    world.change(1, sent=False)
    world.create({"title": "new", "patient_id": 1}, sent=False)
    world.read_every()
    world.read("/notes")
    assert world.standing("notes.read", ITEM).agreements == 8
    assert world.standing("notes.list", LIST).agreements == 1


def test_a_write_that_may_have_arrived_explains_its_own_record_and_no_other(world: World) -> None:
    world.read("/notes")
    world.change(1, sent=True)
    world.notes[1]["title"] = "changed"
    world.read_every()
    world.read("/notes")
    assert world.standing("notes.read", ITEM).agreements == 7
    assert world.standing("notes.list", LIST).agreements == 0
    assert not world.refuted()


def test_a_create_of_unknown_fate_explains_lists_and_no_record_that_was_there_before(world: World) -> None:
    world.read("/notes")
    write = world.begin("POST", "/notes", {"title": "new", "patient_id": 1})
    world.standby.end_write(write, None, Outcome.UNKNOWN, "u")
    world.read_every()
    world.read("/notes?patient_id=1")
    assert world.standing("notes.read", ITEM).agreements == 8
    assert world.standing("notes.list", by_filter("patient_id")).agreements == 0


def test_what_was_asked_before_a_write_was_settled_tells_nothing_of_its_record(world: World) -> None:
    world.read("/notes")
    before = stamp()
    write = world.begin("PATCH", "/notes/1", {"title": "changed"})
    world.notes[1]["title"] = "changed"
    world.standby.end_write(write, response(200, world.notes[1]), Outcome.SUCCESS, "u")
    world.read("/notes/1", t0=before)
    world.read("/notes/2", t0=before)
    assert world.standing("notes.read", ITEM).agreements == 1
    assert not world.refuted()


def test_a_name_that_was_changed_meanwhile_tells_nothing_of_whose_the_record_is(world: World) -> None:
    """Who was asked for as ann, before she was renamed, is answered as anna."""
    ann = {"id": 3, "name": "ann", "hospital_id": 1}
    world.read("/staffs/me", "ann", said=(200, ann))
    before = stamp()
    write = world.begin("PATCH", "/staffs/3", {"name": "anna"}, "ann")
    world.standby.end_write(write, response(200, {**ann, "name": "anna"}), Outcome.SUCCESS, "ann")
    world.read("/staffs/me", "ann", said=(200, {**ann, "name": "anna"}), t0=before)
    assert not world.standing("staffs.me", OWN).differences


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["create", "change", "delete", "read", "list", "filter", "begin", "deliver", "arrive"]),
        st.integers(1, 9),
        st.sampled_from(["done", "done, then 500", "lost", "taken over", "taken over and sent", "sent and done"]),
    ),
    max_size=16,
)


@pytest.fixture(scope="module")
def prompt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("prompt"), late=False) as world:
        yield world


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([("create", 1, "done, then 500"), ("list", 1, "done")])
@example([("create", 1, "sent and done"), ("list", 1, "done")])
@example([("begin", 1, "done"), ("delete", 1, "done"), ("deliver", 1, "done"), ("read", 1, "done")])
@given(STEPS)
def test_an_upstream_that_does_what_its_contract_says_is_never_refuted(
    shared: World, prompt: World, steps: list[tuple[str, int, str]]
) -> None:
    """Whatever writes wait, hang, arrive late or not at all, and whenever what was asked before is answered."""
    assert not _refuted(shared, steps)
    assert not _refuted(prompt, steps)


def _refuted(world: World, steps: list[tuple[str, int, str]]) -> list[tuple[str, str, str | None]]:
    """What is refuted after as few of the steps as that takes."""
    world.reset()
    world.read("/notes")
    waiting: list[tuple[str, tuple[int, Any], int]] = []
    late: list[tuple[str, int, Note]] = []
    for kind, which, how in steps:
        if kind in ("create", "change", "delete"):
            _write(world, kind, which, how, late)
        elif kind == "arrive" and late:
            _apply(world, *late.pop(0))
        elif kind == "deliver" and waiting:
            target, said, t0 = waiting.pop(0)
            world.read(target, said=said, t0=t0)
        else:
            targets = {"list": "/notes", "filter": f"/notes?patient_id={which % 3}"}
            target, t0 = targets.get(kind, f"/notes/{which}"), stamp()
            waiting.append((target, world.says(target), t0))
            if kind != "begin":
                world.read(*waiting.pop()[:1])
        if world.refuted():
            break
    return world.refuted()


def _write(world: World, kind: str, which: int, how: str, late: list[tuple[str, int, Note]]) -> None:
    method, target = {"create": ("POST", "/notes"), "change": ("PATCH", f"/notes/{which}")}.get(
        kind, ("DELETE", f"/notes/{which}")
    )
    there, body = kind == "create" or which in world.notes, {"title": how, "patient_id": which % 3}
    sent = {} if kind == "delete" else body
    write = world.begin(method, target, sent)
    if how == "taken over":
        if not world.accept(write, sent, sent=False, method=method, target=target):
            world.standby.end_write(write, None, Outcome.FAILURE, "u")
        return
    if how in ("done", "done, then 500", "sent and done"):
        which = _apply(world, kind, which, body)
    elif world.late:
        late.append((kind, which, body))  # its effect may yet come
    if how in ("taken over and sent", "sent and done") and world.accept(
        write, sent, sent=True, method=method, target=target
    ):
        return
    if how == "done":
        status = {"create": 201, "change": 200}.get(kind, 204) if there else 404
        said = response(status, world.notes.get(which, {"status": 404}) if status != 204 else None)
        world.standby.end_write(write, said, Outcome.SUCCESS, "u")
    else:
        world.standby.end_write(write, None, Outcome.UNKNOWN, "u")


def _apply(world: World, kind: str, which: int, body: Note) -> int:
    if kind == "create":
        which = max(world.notes, default=0) + 1
        world.notes[which] = {"id": which, **body}
    elif kind == "change" and which in world.notes:
        world.notes[which] = {**world.notes[which], **body}
    elif kind == "delete":
        world.notes.pop(which, None)
    return which


def test_a_list_by_a_filter_tells_that_its_caller_is_shown_what_another_was(world: World) -> None:
    world.read("/notes", "ann")
    world.read("/notes?patient_id=1", "ben")
    assert world.standing("notes", SHARED).agreements == 1
    assert world.standing("notes", shared_with("ben")).agreements == 1
    world.read("/notes?patient_id=2", "ann")
    assert world.standing("notes", SHARED).agreements == 1, "nobody but ann was shown these"


def test_a_list_by_a_filter_that_leaves_out_what_another_was_shown_tells_that_callers_are_shown_their_own(
    world: World,
) -> None:
    world.read("/notes", "ann")
    status, shown = world.says("/notes?patient_id=1")
    world.read("/notes?patient_id=1", "ben", said=(status, shown[1:]))
    assert world.standing("notes", SHARED).refuted


def test_a_list_by_a_filter_that_means_another_thing_tells_nothing_of_callers(world: World) -> None:
    world.read("/notes", "ann")
    world.read("/notes?patient_id=1", "ann", said=world.says("/notes"))
    assert world.standing("notes.list", by_filter("patient_id")).refuted
    world.read("/notes?patient_id=2", "ben", said=(200, []))
    world.read("/notes?patient_id=1", "ben")
    assert world.standing("notes", SHARED) == evidence.NOTHING


def test_what_only_a_writes_answer_has_shown_may_come_to_lists_late(world: World) -> None:
    world.read("/notes", "ann")
    write = world.begin("POST", "/notes", {"title": "new", "patient_id": 1}, "ann")
    before = world.says("/notes?patient_id=1")
    said = response(201, {"id": 20, "title": "new", "patient_id": 1})
    world.standby.end_write(write, said, Outcome.SUCCESS, "ann")
    world.read("/notes?patient_id=1", "ben", said=before)
    assert not world.standing("notes", SHARED).differences


def test_a_caller_who_comes_when_all_is_proven_is_compared_all_the_same(world: World) -> None:
    world.read("/notes", "ann")
    world.read_every("ann")
    world.standby._settled = frozenset({"notes.read", "notes.list"})  # as `refresh` finds it when all is proven
    world.read("/notes/3", "ben")
    assert world.standing("notes", shared_with("ben")).agreements == 1
