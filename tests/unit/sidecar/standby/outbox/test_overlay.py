"""Pending writes over the upstream's records: visible at once, told apart from what was there, and never twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.contract import Action, Contract
from sidecar.standby.outbox.overlay import (
    PROVISIONAL,
    SKEW,
    Pending,
    about,
    candidates,
    effect,
    laid_over,
    merged,
    moment,
    new_record,
    provisional,
    sent_fields,
)  # fmt: skip
from sidecar.timeunits import MINUTE

NOTES = Contract.load("hosp").resources["notes"]
STAFFS = Contract.load("hosp").resources["staffs"]
AT = 1_764_000_000_000_000_000


def create(seq: int, ident: int, *, sent: bool = False, floor: int | None = 5, at: int = AT, **fields: Any) -> Pending:
    body = {"id": ident, **fields}
    return Pending(seq, "notes", Action.CREATE, str(ident), fields, body, "Dr Holt", at, sent=sent, floor=floor)


def change(seq: int, ident: int, **fields: Any) -> Pending:
    action = Action.UPDATE if fields else Action.DELETE
    return Pending(seq, "notes", action, str(ident), fields, None, "Dr Holt", AT)


def shown(values: list[dict[str, Any]], *pending: Pending, settled: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    seen = laid_over(NOTES, values, pending, settled.__contains__)
    assert seen is not None
    return seen


@pytest.mark.parametrize(
    ("value", "ours"),
    [(PROVISIONAL, True), (str(PROVISIONAL), True), (PROVISIONAL - 1, False), ("", False), (None, False), (True, False)]
    + [("٢٠٠٠٠٠٠٠٠٠", False), ("2e9", False), (-PROVISIONAL, False), ([], False)],
)
def test_only_a_plain_number_from_two_thousand_million_up_is_ours(value: object, ours: bool) -> None:
    assert provisional(value) is ours


def test_secrets_and_what_the_resource_does_not_take_are_left_out() -> None:
    assert "password" in STAFFS.secrets
    found = sent_fields(STAFFS, {"name": "Dr New", "password": "x", "unheard-of": 1})
    assert found is not None
    assert found.get("name") == "Dr New"
    assert not {"password", "unheard-of"} & found.keys()
    assert sent_fields(STAFFS, ["no", "object"]) is None


def test_a_new_record_has_keys_of_one_that_was_seen_and_nothing_invented() -> None:
    sample = {"id": 4, "title": "a", "body": None, "url": "http://hosp/notes/4.json", "created_at": "x"}
    made = new_record(NOTES, {"title": "b"}, PROVISIONAL, AT, sample)
    assert list(made) == [name for name in sample if name in made]
    assert (made["id"], made["title"], made["created_at"]) == (PROVISIONAL, "b", moment(AT))
    assert "body" not in made, "what nobody sent and nobody saw is not invented"
    assert made["url"] == f"http://hosp/notes/{PROVISIONAL}.json"


def test_creates_changes_and_deletes_are_visible_in_their_order() -> None:
    there = [{"id": 1, "title": "a"}, {"id": 2, "title": "b"}]
    pending = (
        create(1, PROVISIONAL, title="new"),
        change(2, PROVISIONAL, title="newer"),
        change(3, 1, title="c"),
        change(4, 2),
    )
    assert {row["id"]: row["title"] for row in shown(there, *pending)} == {1: "c", PROVISIONAL: "newer"}
    assert there == [{"id": 1, "title": "a"}, {"id": 2, "title": "b"}], "what was given is not changed"


def test_a_change_touches_no_field_that_the_upstream_does_not_show() -> None:
    assert merged(NOTES, {"id": 1, "title": "a"}, change(1, 1, title="b", hidden="x")) == {"id": 1, "title": "b"}
    with_time = merged(NOTES, {"id": 1, "title": "a", "updated_at": "then"}, change(1, 1, title="b"))
    assert with_time["updated_at"] == moment(AT)


def test_a_create_that_arrived_is_not_shown_twice() -> None:
    arrived = {"id": 6, "title": "new", "created_at": moment(AT)}
    assert shown([arrived], create(1, PROVISIONAL, sent=True, title="new")) == [arrived]
    assert len(shown([arrived], create(1, PROVISIONAL, title="new"))) == 2, "it was not sent: that one is another's"


@pytest.mark.parametrize("made", [moment(AT - 2 * SKEW), None])
def test_what_may_be_a_pending_create_is_shown_neither_once_nor_twice(made: str | None) -> None:
    """Its time says that it is older, or nothing; its id that it is newer. Our clock may have been wrong."""
    perhaps = {"id": 6, "title": "new", "created_at": made}
    unclear = create(1, PROVISIONAL, sent=True, title="new")
    assert laid_over(NOTES, [perhaps], [unclear], lambda _: False) is None
    assert len(shown([perhaps], unclear, settled=("6",))) == 2, "that one is another's"


@pytest.mark.parametrize(
    "other",
    [
        {"id": 5, "title": "new", "created_at": moment(AT)},
        {"id": 6, "title": "old", "created_at": moment(AT)},
        {"id": 6, "title": "new", "created_at": moment(AT - 2 * SKEW)},
        {"id": PROVISIONAL + 1, "title": "new", "created_at": moment(AT)},
        {"id": True, "title": "new"},
        {"title": "new"},
    ],
)
def test_what_was_there_or_is_not_what_was_sent_is_no_effect(other: dict[str, Any]) -> None:
    assert effect(NOTES, create(1, PROVISIONAL, sent=True, title="new"), [other], (), lambda _: False) is None


def test_a_record_is_the_effect_of_one_write_alone() -> None:
    twins = [{"id": number, "title": "new", "created_at": moment(AT)} for number in (6, 7)]
    writes = [create(n, PROVISIONAL + n, sent=True, title="new") for n in range(3)]
    assert sorted(row["id"] for row in shown(twins, *writes)) == [6, 7, PROVISIONAL + 2]
    assert sorted(row["id"] for row in shown(twins, writes[0], settled=("6", "7"))) == [6, 7, PROVISIONAL]


def test_changes_of_a_create_that_arrived_are_about_the_record_it_made() -> None:
    arrived = {"id": 6, "title": "new", "created_at": moment(AT)}
    pending = [create(1, PROVISIONAL, sent=True, title="new"), change(2, PROVISIONAL, title="newer"), change(3, 1)]
    found = about(NOTES, pending, "6", [arrived], lambda _: False)
    assert [write.seq for write in found] == [1, 2]


@given(st.integers(0, 2**61))
def test_moments_are_in_order(at: int) -> None:
    assert moment(at) <= moment(at + 1_000_000)


def test_what_stood_in_a_database_that_went_back_is_shown_to_nobody() -> None:
    values = [{"id": 6, "title": "changed since"}]
    for pending in (create(1, PROVISIONAL, sent=True, title="a"), change(2, 6, title="b")):
        assert laid_over(NOTES, values, [replace(pending, restored=True)], lambda _: False) is None


class Counted(dict[str, Any]):
    """A record that counts how often it is looked into."""

    looks = 0

    def get(self, key: str, default: Any = None) -> Any:
        Counted.looks += 1
        return super().get(key, default)


def test_a_list_takes_no_longer_for_each_create_that_is_unclear() -> None:
    """In a brownout they are many, and records thousands: lists came too late because each was held against each."""
    there = [Counted(id=n, title="a", created_at=moment(AT - 9 * MINUTE)) for n in range(1, 101)]
    new = {"id": 101, "title": "t7", "created_at": moment(AT)}
    unclear = [create(n, PROVISIONAL + n, sent=True, floor=100, title=f"t{n}") for n in range(50)]
    Counted.looks = 0
    rows = shown([*there, new], *unclear)
    assert len(rows) == 150, "the one that arrived is shown once"
    assert Counted.looks <= 5 * len(there)


made = st.sampled_from((AT - 2 * SKEW, AT - 2 * MINUTE, AT - MINUTE, AT, AT + MINUTE)).map(moment) | st.none()
rows_of_few = st.lists(
    st.builds(lambda i, t, m: {"id": i, "title": t, "created_at": m},
              st.integers(1, 9) | st.sampled_from(("7", "a")), st.sampled_from("ab"), made),
    max_size=5, unique_by=lambda row: str(row["id"]),
)  # fmt: skip
unclear_creates = st.builds(
    lambda floor, at, title, span, whole: replace(
        create(0, PROVISIONAL, sent=True, floor=floor, at=at, title=title), span=span, whole=whole
    ),
    st.none() | st.integers(0, 9), st.sampled_from((AT - 2 * SKEW, AT, AT + MINUTE)), st.sampled_from("ab"),
    st.none() | st.sampled_from(((AT - 3 * SKEW, AT), (AT, AT + MINUTE))), st.booleans(),
)  # fmt: skip
changes = st.builds(lambda ident, made: change(0, ident, created_at=made), st.integers(1, 9), made)


@given(rows_of_few, st.lists(unclear_creates | changes, max_size=4))
@example(
    [{"id": 1, "title": "a", "created_at": moment(AT - 9 * MINUTE)}],
    [change(0, 1, created_at=moment(AT)), create(0, PROVISIONAL, sent=True, floor=5, title="a")],
)
def test_which_records_may_be_new_is_found_at_once_as_it_is_one_by_one(
    there: list[dict[str, Any]], drawn: list[Pending]
) -> None:
    pending = [
        replace(write, seq=n, record=str(PROVISIONAL + n), body={**write.body, "id": PROVISIONAL + n})
        if write.body is not None else replace(write, seq=n)
        for n, write in enumerate(drawn)
    ]  # fmt: skip
    assert laid_over(NOTES, there, pending, lambda _: False) == one_by_one(there, pending)


def one_by_one(there: list[dict[str, Any]], pending: list[Pending]) -> list[dict[str, Any]] | None:
    """As laid_over has it, each create held against each record."""
    rows, arrived = {str(row["id"]): row for row in there}, dict[str, str]()
    for write in pending:
        if write.action is not Action.CREATE:
            if write.record in rows:
                rows[write.record] = merged(NOTES, rows[write.record], write)
            continue
        exact, unsure = candidates(NOTES, write, rows.values(), arrived.values(), lambda _: False)
        if not exact and unsure:
            return None
        if exact:
            arrived[write.record] = str(exact[0]["id"])
        else:
            rows[write.record] = dict(write.body or {})
    return list(rows.values())
