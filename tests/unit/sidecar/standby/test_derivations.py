"""Rivals say what they would have answered; an upstream that behaves as one of them never gets a false answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from sidecar.clock import stamp
from sidecar.http.messages import Request, Response
from sidecar.standby import queries
from sidecar.standby.answer import Answer, DontKnow
from sidecar.standby.derivations import (
    MEANINGS,
    ONE_PAGE,
    PAGES,
    RESPELLED,
    Comparison,
    by_format,
    by_manner,
    crosses_a_cap,
    leaves_out,
    places,
    probes,
    room,
    told_by_absence,
)
from sidecar.standby.evidence import NOTHING, Standing, State
from sidecar.standby.gate import Claim, Gate
from sidecar.standby.tables import KNOWN, records
from tests.support.hearing import HOSP, JSON, Hearing

Note = dict[str, Any]
NOTES = [{"id": number, "title": f"t{number}", "patient_id": patient} for number, patient in
         ((1, 1), (2, 11), (3, 2), (5, 12), (6, 1), (8, 21), (9, 2), (11, 3), (12, 1))]  # fmt: skip
FILTERED = [1, 2, 3, 11, 12, 21, 77, 78, 5]


class Api:
    """An upstream that lists and filters in its own way. `meaning`: of its filter; `shows`: its list of all notes."""

    def __init__(
        self, meaning: Callable[[Any, str], bool], shows: Callable[[list[Note]], list[Note]] = lambda notes: notes,
        notes: list[Note] = NOTES,
    ) -> None:  # fmt: skip
        self.meaning, self.shows, self.notes = meaning, shows, notes

    def answer(self, target: str) -> tuple[int, Any]:
        path, _, query = target.partition("?")
        if path != "/notes":
            found = [note for note in self.notes if path == f"/notes/{note['id']}"]
            return (200, found[0]) if found else (404, {"error": "Not Found"})
        newest = sorted(self.notes, key=lambda note: -int(note["id"]))
        if not query:
            return 200, self.shows(newest)
        wanted = query.partition("=")[2]
        return 200, [note for note in newest if self.meaning(note["patient_id"], wanted)]


class World(Hearing):
    """A standby that refuses what is not proven, and hears of an upstream."""

    def __init__(self, data: Path, parity_sample: str = "1") -> None:
        super().__init__(data, parity_sample=parity_sample)

    def learn(
        self, target: str, status: int, value: Any, user: str = "u", headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        request = Request("GET", target, [], host="h")
        response = Response(status, [*JSON, *headers], json.dumps(value).encode())
        t0 = stamp()
        self.standby.learn(HOSP.match("GET", target.partition("?")[0]), request, response, user, t0)
        self.standby.flush()

    def ask(self, target: str, user: str = "u", headers: tuple[tuple[str, str], ...] = ()) -> Answer | DontKnow:
        request = Request("GET", target, list(headers), host="h")
        return self.standby.answer(HOSP.match("GET", target.partition("?")[0]), request, user)

    def json(self, target: str, user: str = "u") -> tuple[int, Any] | None:
        got = self.ask(target, user)
        return (got.status, json.loads(got.body)) if isinstance(got, Answer) else None


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("standby")) as world:
        yield world


@pytest.fixture
def world(shared: World) -> World:
    shared.reset()
    return shared


TEXTS = [
    "Weight 12.3 kg, up 0.4 since last visit.",
    "Wound clean and dry; sutures out in ten days.",
    "Well.",
    "Owner reports limping on the left hind leg.",
    "Wound clean and dry; sutures out on Friday. Recheck then.",
]
"""Of which the first is just as long as what is left of those that are cut."""
TOLD = [{"id": number, "title": "t", "patient_id": 1, "body": TEXTS[number % len(TEXTS)]} for number in range(1, 28)]
EQUAL = Api(lambda found, wanted: str(found) == wanted)
APIS = {name: Api(meaning) for name, meaning in MEANINGS.items()} | {
    "equal": EQUAL,
    "page of the newest": Api(EQUAL.meaning, lambda notes: notes[:4]),
    "page of the oldest": Api(EQUAL.meaning, lambda notes: notes[4:]),
    "some are hidden": Api(EQUAL.meaning, lambda notes: [note for note in notes if note["id"] % 3]),
    "oldest first": Api(EQUAL.meaning, lambda notes: notes[::-1]),
    "a list that shows less": Api(
        EQUAL.meaning, lambda notes: [{**note, "title": note["title"][:1]} for note in notes]
    ),
    "a list that cuts texts": Api(
        EQUAL.meaning, lambda notes: [{**note, "body": note["body"][:40]} for note in notes], TOLD
    ),
    "a list that shortens texts": Api(
        EQUAL.meaning,
        lambda notes: [{**note, "body": note["body"][:20] + "..." * (len(note["body"]) > 20)} for note in notes],
        TOLD,
    ),
}
TARGETS = [f"/notes/{number}" for number in range(1, 18)] + [f"/notes?patient_id={value}" for value in FILTERED]
ABOVE = ["/notes/13", "/notes/14", "/notes/15", "/notes/16", "/notes/17"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(APIS)), st.lists(st.sampled_from(["/notes", *TARGETS]), max_size=24))
@example("some are hidden", ["/notes/4", "/notes/7", "/notes/10", *ABOVE])
@example("page of the newest", ["/notes/4", "/notes/7", "/notes/10", *ABOVE])
@example("a list that cuts texts", [f"/notes/{number}" for number in (2, 7, 12, 17, 22)])
@example("a list that cuts texts", [f"/notes/{number}" for number in (5, 10, 15, 20, 25)])
@example("a list that shortens texts", [f"/notes/{number}" for number in (2, 7, 12, 17, 22)])
@example("page of the oldest", ["/notes/4", "/notes/10", "/notes/7", *ABOVE])
def test_an_api_that_behaves_as_a_rival_never_gets_a_false_answer(shared: World, name: str, asked: list[str]) -> None:
    api, world = APIS[name], shared
    world.reset()
    world.learn("/notes", *api.answer("/notes"))
    for target in asked:
        world.learn(target, *api.answer(target))
    for target in ("/notes", *TARGETS):
        got = world.json(target)
        assert got is None or got == api.answer(target), (name, target)


def learn_all(world: World, api: Api) -> None:
    world.learn("/notes", *api.answer("/notes"))
    for target in TARGETS:
        if target not in ("/notes/4", "/notes/12", "/notes?patient_id=5"):
            world.learn(target, *api.answer(target))


def test_what_is_proven_is_answered_and_nothing_before(world: World) -> None:
    world.learn("/notes", *EQUAL.answer("/notes"))
    assert world.json("/notes") == EQUAL.answer("/notes")  # a literal repeat needs no proof
    for target in ("/notes/12", "/notes/4", "/notes/19", "/notes?patient_id=5", "/notes?patient_id=1"):
        got = world.ask(target)
        assert isinstance(got, DontKnow), target
        assert got.detail
    learn_all(world, EQUAL)
    for target in ("/notes/12", "/notes/19", "/notes?patient_id=5", "/notes?patient_id=1"):
        assert world.json(target) == EQUAL.answer(target), target
    assert isinstance(world.ask("/notes/4"), DontKnow), "of the few ids between each may be one that lists leave out"


def test_a_difference_refutes_until_it_is_proven_anew(world: World) -> None:
    learn_all(world, EQUAL)
    assert world.json("/notes?patient_id=5") == (200, [])
    world.learn("/notes?patient_id=79", 200, [NOTES[0]])
    assert world.json("/notes?patient_id=5") is None
    assert world.standby.evidence()["notes.list"]["derivations"]["filter:patient_id"]["state"] == State.REFUTED
    for target in TARGETS:
        if target != "/notes?patient_id=5":
            world.learn(f"{target}", *EQUAL.answer(target))
    assert world.json("/notes?patient_id=5") == (200, [])


def test_another_callers_view_needs_proof_of_its_own(world: World) -> None:
    learn_all(world, EQUAL)
    assert world.json("/notes/3", "u") is not None
    assert world.json("/notes/3", "v") is None
    for number in (1, 2, 5, 6, 8):
        world.learn(f"/notes/{number}", *EQUAL.answer(f"/notes/{number}"), user="v")
    assert world.json("/notes/3", "v") == EQUAL.answer("/notes/3")
    assert world.json("/notes/3", "w") is None  # of whom nothing is known


@pytest.mark.parametrize(
    "headers",
    [
        (("Link", '</notes?page=2>; rel="next"'),), (("X-Total-Count", "40"),), (("Content-Range", "items 0-8/40"),),
        (("Age", "100"),), (("Vary", "X-Tenant"),), (("Vary", "*"),), (("X-Has-More", "true"),),
    ],
)  # fmt: skip
def test_an_answer_that_does_not_determine_is_not_learned_from(
    world: World, headers: tuple[tuple[str, str], ...]
) -> None:
    world.learn("/notes", *EQUAL.answer("/notes"), headers=headers)
    assert not world.standby.completeness()["notes"]["complete"]


def test_a_field_that_selects_is_part_of_the_question(world: World) -> None:
    learn_all(world, EQUAL)
    assert isinstance(world.ask("/notes/3"), Answer)
    assert isinstance(world.ask("/notes/3", headers=(("X-Tenant", "other"),)), DontKnow)
    assert isinstance(world.ask("/notes/3?fields=id"), DontKnow)


def test_a_page_leaves_out_what_lies_beyond_it() -> None:
    assert leaves_out({"3", "5"}, "2") == {"page_of_newest"}
    assert leaves_out({"3", "5"}, "4") == {"hidden"}
    assert leaves_out({"3", "5"}, "6") == {"page_of_oldest"}
    assert room({"1", "2"}) == {"page_of_oldest"}
    assert leaves_out({"a"}, "b") >= set(PAGES)
    assert leaves_out(set(), "1") == set(PAGES)


@pytest.mark.parametrize("asked", ["017", "+17", "17abc", "17 ", "17.0", "\u0661\u0667", "-1"])
def test_an_id_that_is_not_written_as_ids_are_may_be_another_spelling(asked: str) -> None:
    assert leaves_out({"3", "17"}, asked) == {RESPELLED}
    assert told_by_absence({"3", "17"}, asked) is None
    assert RESPELLED in leaves_out({"abc"}, "ABC"), "of names nobody can say"


def test_only_an_absence_in_a_certain_place_tells_anything() -> None:
    assert told_by_absence({"3", "17"}, "4") == {"hidden"}
    assert told_by_absence({"a", "b"}, "c") is None
    assert told_by_absence(set(), "1") is None


@given(
    known=st.sets(st.integers(1, 60), min_size=1, max_size=40), proof=st.integers(1, 8),
    rival=st.sampled_from(PAGES), asked=st.sets(st.integers(1, 80)),
)  # fmt: skip
def test_an_id_is_taken_to_be_missing_where_as_many_of_its_place_were_or_all(
    known: set[int], proof: int, rival: str, asked: set[int]
) -> None:
    ids, low, high = {str(number) for number in known}, min(known), max(known)
    place = {
        "page_of_newest": set(range(1, low)), "hidden": set(range(low, high)) - known,
        "page_of_oldest": set(range(high + 1, high + 200)),
    }[rival]  # fmt: skip
    needed = places(ids, room(ids), (), proof)
    assert needed.get(rival, 0) == min(proof, len(place))
    assert places(ids, room(ids), {ONE_PAGE}, proof).get(rival, 0) == (needed.get(rival, 0) if rival == "hidden" else 0)
    found = [int(each) for each in probes(ids, rival, proof, lambda each: int(each) in asked)]
    assert len({*found}) == len(found) == min(proof, len(place - asked))
    assert place - asked >= {*found}
    assert all(leaves_out(ids, str(number)) == {rival} for number in found)


def test_a_record_that_is_there_after_all_undoes_what_was_seen_of_every_place(world: World) -> None:
    learn_all(world, EQUAL)
    assert world.json("/notes/19") == EQUAL.answer("/notes/19")
    world.learn("/notes/4", 200, {"id": 4, "title": "t4", "patient_id": 1})
    told = world.standby.evidence()["notes.read"]["derivations"]
    assert {told[name]["state"] for name in ("missing", "missing:above", "missing:between")} == {State.REFUTED}


def test_a_list_that_writes_have_changed_stands_on_what_lies_beyond_its_ends(world: World) -> None:
    learn_all(world, EQUAL)
    resource, endpoint = HOSP.resources["notes"], HOSP.endpoints["notes.list"]
    gate = Gate(HOSP, proof=5, serve_unproven=False)
    with world.engine.begin() as connection:
        rows = connection.execute(select(records).where(records.c.type == "notes", records.c.state == KNOWN)).all()
        whole = queries.collection(connection, "notes")
        values = [{**json.loads(row.body), "title": "changed"} for row in rows]
        claims = gate.listing(connection, endpoint, resource, whole, rows, values, [])
    assert not isinstance(claims, DontKnow)
    assert Claim("notes.read", "missing:above", agreed=5) in claims


def test_what_only_a_list_has_shown_is_read_where_it_is_the_longest(world: World) -> None:
    api = Api(EQUAL.meaning, notes=TOLD)
    learn_only(world, api, (2, 7, 12, 17, 22))
    assert isinstance(world.ask("/notes/1"), DontKnow)
    assert {f"/notes/{number}" for number in (4, 9, 14, 19, 24)} <= set(world.standby.questions()), "the longest"
    world.learn("/notes/4", *api.answer("/notes/4"))
    assert world.json("/notes/1") == api.answer("/notes/1"), "a longer one was shown whole"
    assert isinstance(world.ask("/notes/9"), DontKnow), "as long as lists may show"


def learn_only(world: World, api: Api, numbers: tuple[int, ...]) -> None:
    for target in ("/notes", *(f"/notes/{number}" for number in numbers)):
        world.learn(target, *api.answer(target))


def test_of_a_proven_endpoint_what_samples_may_never_say_is_compared_all_the_same(tmp_path: Path) -> None:
    world = World(tmp_path, parity_sample="0")
    api = Api(EQUAL.meaning, notes=TOLD)
    learn_only(world, api, (2, 7, 12, 17, 22))
    world.standby.refresh()
    proven = world.standby.evidence()["notes.read"]["derivations"]["item"]["agreements"]
    world.learn("/notes/27", *api.answer("/notes/27"))
    told = world.standby.evidence()["notes.read"]["derivations"]
    assert told["item"]["agreements"] == proven == 5, "it is proven, and compared by sample"
    world.learn("/notes/4", *api.answer("/notes/4"))
    world.learn("/notes/90", 404, {"error": "Not Found"})
    told = world.standby.evidence()["notes.read"]["derivations"]
    assert (told["item"]["agreements"], told["missing:above"]["agreements"]) == (6, 1)
    world.standby.close()
    world.engine.dispose()


def test_how_far_a_list_shows_texts_is_what_reads_have_shown_no_more_of() -> None:
    def read(standing: Standing, number: int, size: float, difference: str | None = None) -> Standing:
        return standing.after(Comparison("item", str(number), difference, reach={"body": size}), 3)

    standing = read(read(NOTHING, 1, 45), 2, 40.5)
    assert standing.beyond({"body": 40.5}, 3) is None
    assert standing.beyond({"body": 45}, 3) == "body", "one that is just as long may be cut there"
    assert standing.beyond({"body": inf}, 3) == "body"
    assert standing.beyond({"title": 31}, 3) == "title"
    assert read(read(standing, 1, 45), 1, 45).beyond({"body": 45}, 3) == "body", "the same record tells no more"
    assert read(read(standing, 3, 45), 4, 45).beyond({"body": 45}, 3) is None, "always of this length"
    assert read(standing, 5, 60, "text of 3 letters here").beyond({"body": 40}, 3) == "body", "undone"


def test_parity_is_kept_of_every_kind_of_answer(world: World, caplog: pytest.LogCaptureFixture) -> None:
    learn_all(world, EQUAL)
    before = world.standby.parity.scores()
    for target in ("/notes", "/notes/2", "/notes/19", "/notes?patient_id=1"):
        world.learn(target, *EQUAL.answer(target), headers=(("X-Turn", "2"),))
    after = world.standby.parity.scores()
    added = {name: after[name]["equal"] - before[name]["equal"] for name in after}
    assert added == {"notes.list": 2, "notes.read": 2}
    assert "learning failed" not in caplog.text


def test_of_names_nobody_can_say_what_a_list_leaves_out() -> None:
    assert places({"a", "b"}, PAGES, (), 5) == {}
    assert probes({"a", "b"}, "hidden", 5, lambda _: False) == []
    assert places(set(), PAGES, (), 5) == {}


def test_lists_grow_past_what_is_no_page() -> None:
    assert not crosses_a_cap(7, 9)
    assert crosses_a_cap(10, 11)
    assert not crosses_a_cap(2090, 2110), "nobody cuts at 2100"


@pytest.mark.parametrize("size", [5, 10, 16, 20, 25, 30, 50, 64, 75, 100, 120, 128, 250, 500, 1000, 1024, 2500, 10_000])
def test_no_list_is_made_that_a_page_of_a_usual_size_would_cut(size: int) -> None:
    assert crosses_a_cap(size, size + 1)
    assert crosses_a_cap(size - 1, size + 3)
    assert not crosses_a_cap(size, size), "as many as were seen"


def test_a_long_list_that_was_seen_whole_may_grow() -> None:
    assert not crosses_a_cap(2051, 2095)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.sets(st.sampled_from(["x", "y"]))), max_size=30))
def test_a_standing_is_what_was_seen_since_the_last_difference(seen: list[tuple[bool, int, set[str]]]) -> None:
    standing, inputs, told = NOTHING, set[int](), set[str]()
    for agreed, input_, apart in seen:
        comparison = Comparison("item", str(input_), None if agreed else "text of 3 letters here", frozenset(apart))
        standing = standing.after(comparison, 3)
        inputs, told = (inputs | {input_}, told | apart) if agreed else (set(), set())
        assert (standing.agreements, standing.told_apart) == (len(inputs), told)
        proven = len(inputs) >= 3 and told == {"x", "y"}
        assert (standing.state(3, ("x", "y")) is State.PROVEN) == proven


@pytest.mark.parametrize("named", [by_format, by_manner])
def test_what_tells_two_long_texts_apart_tells_their_derivations_apart(named: Callable[[str], str]) -> None:
    long = "x" * 300
    assert named(f"{long}a") != named(f"{long}b")
    assert len(named(long)) <= 200
    assert named("de").endswith("de"), "a short one is told as it is"
