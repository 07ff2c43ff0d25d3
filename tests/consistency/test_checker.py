"""The checker rejects every kind of bad history, and accepts good ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.consistency.checker import Final, check
from tests.consistency.history import History, Operation, Outcome, load

OK, FAIL, UNKNOWN = Outcome.OK, Outcome.FAIL, Outcome.UNKNOWN


def op(kind: str, began: float, outcome: Outcome = OK, value: str = "", seen: object = None) -> Operation:
    return Operation(1, kind, outcome, began, began + 1, "a", value, seen=seen)


CREATE = op("create", 0, value="v0")
UPDATE = op("update", 2, value="v1")
DELETE = op("delete", 4)

BAD = {
    "an acknowledged create is lost": ([CREATE], [], "lost"),
    "an acknowledged update is lost": ([CREATE, UPDATE], [("a", "v0")], "lost"),
    "an acknowledged deletion is undone": ([CREATE, DELETE], [("a", "v0")], "lost"),
    "a create is doubled": ([CREATE], [("a", "v0"), ("a", "v0")], "doubled"),
    "a refused create is there": ([replace(CREATE, outcome=FAIL)], [("a", "v0")], "undone"),
    "a refused update took effect": ([CREATE, replace(UPDATE, outcome=FAIL)], [("a", "v1")], "lost"),
    "a read is stale": ([CREATE, UPDATE, op("read", 4, seen="v0")], [("a", "v1")], "untrue"),
    "a read is from the future": ([CREATE, op("read", 2, seen="v9")], [("a", "v0")], "untrue"),
    "an own create is not read back": ([CREATE, op("read", 2, seen=None)], [("a", "v0")], "untrue"),
    "a deleted record is read": ([CREATE, DELETE, op("read", 6, seen="v0")], [], "untrue"),
    "a change is told that there is no record": (
        [CREATE, replace(UPDATE, outcome=FAIL, status=404)], [("a", "v0")], "untrue",
    ),
    "a list lacks a record": ([CREATE, op("list", 2, seen=[])], [("a", "v0")], "untrue"),
    "a list has a record twice": ([CREATE, op("list", 2, seen=[["a", "v0"], ["a", "v0"]])], [("a", "v0")], "untrue"),
    "a list is stale": ([CREATE, UPDATE, op("list", 4, seen=[["a", "v0"]])], [("a", "v1")], "untrue"),
    "an unclear update shows after a later one": (
        [CREATE, replace(UPDATE, outcome=UNKNOWN), op("update", 4, value="v2"), op("read", 6, seen="v1")],
        [("a", "v2")],
        "untrue",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_histories_are_rejected(name: str) -> None:
    operations, rows, promise = BAD[name]
    assert promise in {violation.promise for violation in check(operations, Final(rows))}


def test_a_write_applied_twice_is_rejected() -> None:
    found = check([CREATE, UPDATE], Final([("a", "v1")], [("update", "v1"), ("update", "v1")]))
    assert [violation.promise for violation in found] == ["doubled"]


@pytest.mark.parametrize("rows", [[], [("a", "v0")]])
def test_an_unclear_create_may_or_may_not_be_there(rows: list[tuple[str, str]]) -> None:
    assert check([replace(CREATE, outcome=UNKNOWN), op("read", 2, UNKNOWN)], Final(rows)) == []


@pytest.mark.parametrize("seen", ["v0", "v1"])
def test_a_read_beside_a_write_may_see_either(seen: str) -> None:
    read = replace(op("read", 2.2, seen=seen), ended=2.5)
    assert check([CREATE, UPDATE, read], Final([("a", "v1")])) == []


def test_a_change_to_what_was_deleted_may_be_told_so() -> None:
    assert check([CREATE, DELETE, replace(UPDATE, began=6, ended=7, outcome=FAIL, status=404)], Final([])) == []


def test_what_is_parked_waits_for_a_person_but_is_not_doubled() -> None:
    assert check([CREATE, UPDATE], Final([("a", "v0")], parked=frozenset("a"))) == []
    assert check([CREATE], Final([("a", "v0"), ("a", "v0")], parked=frozenset("a"))) != []


@pytest.mark.parametrize(
    ("outcome", "seen", "untrue"), [(OK, "normal", 0), (OK, "abnormal", 1), (OK, None, 1), (UNKNOWN, None, 0)]
)
def test_a_screening_shows_what_the_image_shows(outcome: Outcome, seen: str | None, untrue: int) -> None:
    asked = op("screen", 0, outcome, value="ABC", seen=seen)
    found = check([asked], Final([]), lambda image: "normal" if image == "ABC" else "abnormal")
    assert [violation.promise for violation in found] == ["untrue"] * untrue


@given(st.lists(st.sampled_from(["update", "read", "list", "delete"]), max_size=12), st.randoms())
def test_any_serial_history_of_a_perfect_store_is_accepted(kinds: list[str], dice: object) -> None:
    operations, value, now = [CREATE], "v0", 2.0
    current: str | None = value
    for number, kind in enumerate(kinds):
        if kind == "update" and current is not None:
            current = f"u{number}"
            operations.append(op("update", now, value=current))
        elif kind == "delete":
            current = None
            operations.append(op("delete", now))
        elif kind == "read":
            operations.append(op("read", now, seen=current))
        elif kind == "list":
            operations.append(op("list", now, seen=[] if current is None else [["a", current]]))
        now += 2
    assert check(operations, Final([] if current is None else [("a", current)])) == []


def test_histories_are_kept(tmp_path: Path) -> None:
    history = History()
    history.add(CREATE)
    history.save(tmp_path / "h.jsonl")
    assert load(tmp_path / "h.jsonl") == [CREATE]
