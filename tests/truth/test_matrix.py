"""A part of the matrix on every run: what is false there is known, listed, and grows fewer.

`known.txt` has a line `api/twist/phase verdict` for each kind of false answer that is still given. It may only shrink:
a false answer that is not listed fails here; what a whole run of the matrix no longer finds is to be deleted there.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from compose.hosp.behaviours import TWIST_NAMES, TWISTS
from tests.truth.drive import Drive
from tests.truth.judge import BAD, VERDICTS, Judged, difference, read, table, write
from tests.truth.worlds import CELLS, WORLDS, World, any_question, changes, questions

KNOWN = Path(__file__).with_name("known.txt")
MOST_KNOWN = 0
"""Lines of known.txt at most: set to their number when it shrinks, never raised."""
SEED = 1
SUBSET = [World("hosp"), World("petclinic"), World("hosp", "page-silent"), World("hosp", "filter-prefix")]
"""Small enough for every run; the whole is `python -m tests.truth`."""
BROKEN = """
from sidecar.standby.gate import Gate
Gate.passes = lambda self, connection, resource, answer, claims: answer
"""


def known() -> set[str]:
    lines = (line.partition("#")[0].strip() for line in KNOWN.read_text().splitlines())
    return {line for line in lines if line}


@pytest.mark.parametrize("world", SUBSET, ids=lambda world: world.cell("all"))
def test_no_false_answer_but_the_known_ones(world: World, tmp_path: Path) -> None:
    judged = list(Drive(world, tmp_path / "data", SEED).run())
    new = [each for each in judged if each.verdict in BAD and f"{each.cell} {each.verdict}" not in known()]
    assert not new, "\n".join(f"{each.verdict} {each.cell}: {each.what}" for each in new)
    if not world.twist:
        untold = [each.what for each in judged if each.verdict == "honest" and each.cell == world.cell("learn")]
        assert not untold, f"not covered: {untold}"
        assert Counter(each.verdict for each in judged)["true"] > 20
    if world == World("hosp"):
        outage = Counter(each.verdict for each in judged if each.cell == world.cell("outage"))
        repeats = sum(not question.derived for question in questions(world, random.Random(0)))
        assert outage["true"] > repeats, f"nothing was derived, so nothing was tried: {outage}"


def test_without_the_gate_the_matrix_is_red(tmp_path: Path) -> None:
    """Were derivations to answer unproven and refuted, this would see it: lists by a filter that means another thing
    than the contract says are answered from the records at hand."""
    world, broken = World("hosp", "filter-prefix"), tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(BROKEN)
    judged = list(Drive(world, tmp_path / "data", SEED, {"PYTHONPATH": str(broken)}).run())
    lies = [each.what for each in judged if (each.cell, each.verdict) == (world.cell("outage"), "lie")]
    assert any("/notes?patient_id=" in what for what in lies), lies


def test_the_matrix_is_whole_and_what_is_known_of_it_only_shrinks() -> None:
    assert len(CELLS) == len(set(CELLS)) >= 120
    assert {world.twist for world in WORLDS} == {"", *TWIST_NAMES}
    assert len(TWISTS) == len(TWIST_NAMES)
    for line in known():
        cell, _, verdict = line.partition(" ")
        assert cell in CELLS, f"{KNOWN.name}: no cell {cell}"
        assert verdict in BAD, f"{KNOWN.name}: {verdict} is not one of {BAD}"
    assert len(known()) <= MOST_KNOWN


def test_a_seed_asks_the_same() -> None:
    for world in WORLDS:
        assert questions(world, random.Random(3)) == questions(world, random.Random(3))
        assert any_question(world, random.Random(3)) == any_question(world, random.Random(3))
        assert changes(world, random.Random(3)) == changes(world, random.Random(3))
        marks = [change.mark for change in changes(world, random.Random(3)) if change.mark]
        assert len(marks) == len(set(marks))


@pytest.mark.parametrize(
    ("told", "expected", "verdict"),
    [
        ((200, [1]), (200, [1]), "true"),
        ((200, [1]), (200, [2]), "lie"),
        ((503, None), (200, [1]), "honest"),
        ((404, b"x"), (404, {"status": 404}), "true"),
        ((404, None), (200, [1]), "lie"),
        ((200, [1]), (404, None), "lie"),
    ],
)
def test_a_read_is_true_honest_or_a_lie(told: tuple[int, object], expected: tuple[int, object], verdict: str) -> None:
    assert read(*told, *expected) == verdict


@pytest.mark.parametrize(
    ("told", "times", "parked", "waits", "refused", "verdict"),
    [
        (201, 1, False, False, None, "true"),
        (201, 2, False, False, None, "doubled"),
        (201, 0, False, False, None, "lost"),
        (201, 0, True, False, None, "honest"),
        (201, 0, False, True, None, "blocked"),
        (503, 0, False, False, None, "honest"),
        (422, 1, False, False, 422, "lie"),
        (422, 0, False, False, 422, "true"),
        (401, 0, False, False, 201, "lie"),
    ],
)
def test_a_write_is_judged_by_its_end(
    told: int, times: int, parked: bool, waits: bool, refused: int | None, verdict: str
) -> None:
    assert write(told, times, parked, waits, refused) == verdict


def test_the_table_counts_and_says_the_bound() -> None:
    judged = [Judged("hosp/plain/outage", "true", "x", True)] * 300 + [Judged("hosp/plain/outage", "honest", "x")] * 50
    text = table(judged, 120, 7)
    assert "seed 7: 1 of 120 cells, 350 answers judged, 300 of them the standby's" in text
    assert "0.01 of the standby's at 95%" in text
    text = table([Judged("hosp/plain/learn", "lie", "GET /x")], 120, 7)
    assert "lie      hosp/plain/learn: GET /x" in text
    assert "95%" not in text
    assert all(verdict in text for verdict in VERDICTS)


def test_a_difference_is_told_by_its_first_place() -> None:
    assert difference([{"a": 1, "b": 2}], [{"a": 1, "b": 3}]) == "b '3' for '2'"
    assert difference([1, 2], [1]) == "1 records for 2"
    assert difference([1], [1]) == ""
