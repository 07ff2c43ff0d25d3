"""An effect is there, is not there, or cannot be told: what proves each."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.contract import Action, Contract
from sidecar.http.messages import Response
from sidecar.standby.observations import RecordSeen
from sidecar.standby.outbox.effect_lookup import (
    Effect,
    is_whole,
    judge_new,
    judge_record,
    looks_paged,
    next_page,
    span_of,
)
from sidecar.standby.outbox.overlay import Pending
from tests.support.growth import is_linear

PATIENTS = Contract.load("hosp").resources["patients"]
AT = 1_800_000_000_000_000_000
"""Wall ns: 2027-01-15T08:00:00Z."""
NOW, BEFORE, OLD = "2027-01-15T07:59:58.000Z", "2027-01-15T07:57:00.000Z", "2027-01-01T08:00:00.000Z"
SENT = {"name": "Rex", "birthdate": "2019-1-2"}


def write(
    fields: dict[str, Any] = SENT, floor: int | None = 10, whole: bool = True,
    span: tuple[float, float] | None = (AT, AT),
) -> Pending:  # fmt: skip
    return Pending(
        1, "patients", Action.CREATE, "2000000000", fields, None, "Dr Holt", AT, sent=True, floor=floor, whole=whole,
        span=span,
    )  # fmt: skip


def patient(ident: int | str, name: str = "Rex", born: str | None = "2019-01-02", made: str | None = NOW) -> Any:
    times = {} if made is None else {"created_at": made}
    return {"id": ident, "name": name, "birthdate": born, **times}


def judged(values: list[Any], entry: Pending, *, claimed: tuple[str, ...] = (), whole: bool = True) -> Effect:
    return judge_new(PATIENTS, entry, values, set(), lambda ident: ident in claimed, whole).effect


@pytest.mark.parametrize(
    ("values", "entry", "effect"),
    [
        ([], write(), "not_applied"),
        ([patient(11)], write(), "applied"),
        ([patient(9, made=OLD)], write(), "not_applied"),
        ([patient(9)], write(), "undeterminable"),  # newer by its time, older by its id: ids do not rise here
        ([patient(11, name="Mia")], write(), "not_applied"),
        ([patient(11, name="REX")], write(), "undeterminable"),
        ([patient(11, born=None)], write(), "undeterminable"),
        ([{"id": 11, "name": "Rex", "created_at": NOW}], write(), "undeterminable"),
        ([patient("a-uuid")], write(floor=None), "applied"),
        ([patient("a-uuid", made=OLD)], write(floor=None), "not_applied"),
        ([patient("a-uuid", made=BEFORE)], write(floor=None), "undeterminable"),
        ([patient("a-uuid", made=None)], write(floor=None), "undeterminable"),
        ([patient("a-uuid", made=OLD)], write(floor=None, span=None), "undeterminable"),
        ([patient(11, made=OLD)], write(), "undeterminable"),
        ([patient(11, made=OLD)], write(span=None), "undeterminable"),
        ([patient(11, made=None)], write(whole=False), "undeterminable"),
        ([patient(11, made=None)], write(), "applied"),
        ([patient(11)], write(fields={}), "undeterminable"),
        ([], write(fields={}), "not_applied"),
        ([patient(11, name="REX"), patient(12)], write(), "applied"),
    ],
)
def test_a_create_is_found_by_proof_alone(values: list[Any], entry: Pending, effect: str) -> None:
    assert judged(values, entry) == effect


def test_a_record_of_another_write_is_nobodys() -> None:
    assert judged([patient(11)], write(), claimed=("11",)) is Effect.NOT_APPLIED
    assert judged([patient(11), patient(12)], write(), claimed=("11",)) is Effect.APPLIED


def test_a_part_of_the_collection_proves_no_absence() -> None:
    assert judged([], write(), whole=False) is Effect.UNDETERMINABLE
    assert judged([patient(11)], write(), whole=False) is Effect.APPLIED


@given(
    off=st.floats(-1e15, 1e15), stepped=st.floats(-1e15, 1e15), took=st.integers(0, 10**9),
    waited=st.integers(0, 10**15),
    floor=st.sampled_from((None, 10)), whole=st.booleans(), dated=st.booleans(),
)  # fmt: skip
def test_no_clock_that_is_wrong_has_a_create_sent_twice(
    off: float, stepped: float, took: int, waited: int, floor: int | None, whole: bool, dated: bool
) -> None:
    """`off`: the upstream's clock against ours; `stepped`: ours, between acceptance and the look."""
    true = float(AT)
    made = datetime.fromtimestamp((true + off + took) / 1e9, UTC).isoformat()
    ages = [int(waited + stepped), waited]
    span = span_of(ages, true + off + waited if dated else None)
    assert judged([patient(11, made=made)], write(floor=floor, whole=whole, span=span)) is not Effect.NOT_APPLIED


@given(st.text(max_size=8), st.sampled_from([str.strip, str.lower, lambda text: text[:4], lambda _: None]))
def test_whatever_the_upstream_makes_of_a_name_the_create_is_not_sent_again(name: str, cast: Any) -> None:
    made = patient(11, name=cast(name))
    found = judged([made], write({"name": name}))
    assert found is not Effect.NOT_APPLIED or (name != "" and made["name"] not in (None, name.strip(), name.lower()))


@pytest.mark.parametrize(
    ("fields", "value", "hidden", "effect"),
    [
        ({"name": "Mia"}, {"name": "Mia", "updated_at": "2"}, False, "applied"),
        ({"birthdate": "2018-1-2"}, {"birthdate": "2018-01-02", "updated_at": "2"}, False, "applied"),
        ({"name": "Mia"}, {"name": "Rex", "updated_at": "1"}, False, "not_applied"),
        ({"name": "Mia"}, {"name": "Ned", "updated_at": "2"}, False, "conflict"),
        ({"birthdate": "2018-01-02"}, {"name": "Rex", "updated_at": "1"}, False, "undeterminable"),
        ({"name": "Mia"}, {"name": "Mia", "updated_at": "1"}, True, "not_applied"),
        ({"name": "Mia"}, {"name": "Mia", "updated_at": "2"}, True, "applied"),
        ({}, {"name": "Rex", "updated_at": "2"}, True, "not_applied"),
        ({"name": "MIA"}, {"name": "mia", "updated_at": "2"}, False, "undeterminable"),
    ],
)
def test_a_change_is_seen_in_the_record(
    fields: dict[str, Any], value: dict[str, Any], hidden: bool, effect: str
) -> None:
    base = {"name": "Rex", "birthdate": "2017-01-01", "updated_at": "1"}
    seen = RecordSeen("patients", "17", "{}")
    assert judge_record(PATIENTS, fields, value, base, seen, hidden=hidden).effect == effect


def test_what_hints_at_more_is_not_whole() -> None:
    link = ("Link", '<http://h/notes?page=2>; rel="next", <http://h/notes?page=9>; rel="last"')
    assert next_page(Response(200, [link])) == "/notes?page=2"
    assert next_page(Response(200, [])) is None
    assert is_linear(lambda said: next_page(Response(200, [("Link", said)])), lambda size: "<" * size, 1000)
    assert is_whole(Response(200, []), 7)
    assert is_whole(Response(200, [("X-Total-Count", "7")]), 7)
    for more in (("X-Total-Count", "70"), ("Content-Range", "items 0-6/70"), ("Link", '<?page=2>; rel="next"')):
        assert not is_whole(Response(200, [more]), 7)
    assert not is_whole(Response(206, []), 7)
    assert [count for count in range(40) if looks_paged(count)] == [5, 8, 10, 15, 16, 20, 25, 30, 32, 35]


@pytest.mark.parametrize(
    ("values", "entry", "effect"),
    [
        ([patient(11)], write(), "applied"),
        ([], write(), "not_applied"),
        ([patient(11, name="Mia")], write(), "undeterminable"),  # perhaps it was Rex, and was renamed
        ([{**patient(11, name="Mia"), "updated_at": NOW}], write(), "not_applied"),  # it was always Mia
        ([{**patient(12, name="Mia"), "updated_at": NOW}], write(), "undeterminable"),  # 11 was deleted, perhaps
        ([], write(floor=None), "undeterminable"),
    ],
)
def test_of_a_restored_create_only_a_record_that_was_never_changed_tells(
    values: list[Any], entry: Pending, effect: str
) -> None:
    assert judged(values, replace(entry, restored=True)) == effect


def test_a_restored_update_whose_record_was_touched_since_is_not_sent_again() -> None:
    base = {"id": 11, "name": "Rex", "updated_at": OLD}
    seen = RecordSeen("patients", "11", "{}")
    for restored, effect in ((False, Effect.NOT_APPLIED), (True, Effect.UNDETERMINABLE)):
        touched = {**base, "updated_at": NOW}  # changed, and changed back
        found = judge_record(PATIENTS, {"name": "Mia"}, touched, base, seen, hidden=False, restored=restored)
        assert found.effect is effect
        found = judge_record(PATIENTS, {"name": "Mia"}, base, base, seen, hidden=False, restored=restored)
        assert found.effect is Effect.NOT_APPLIED
