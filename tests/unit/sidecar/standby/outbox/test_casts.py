"""What is sent, what is shown, and whether they are the same: three answers, never two."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.standby.outbox.casts import Match, all_of, compare

TEXT: dict[str, Any] = {"type": "string"}
DAY: dict[str, Any] = {"type": "string", "format": "date"}
TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
WHOLE: dict[str, Any] = {"type": "integer"}


@pytest.mark.parametrize(
    ("sent", "shown", "schema", "match"),
    [
        ("2019-12-31T00:00:00.000Z", "2019-12-31", DAY, "equal"),
        ("2019-1-2", "2019-01-02", DAY, "equal"),
        ("2019-1-2", "2019-01-02", {}, "equal"),
        ("2019-12-31", "2019-12-30", DAY, "different"),
        ("2019-12-31T23:30:00+02:00", "2020-01-01", DAY, "unsure"),
        ("31/02/2020", None, DAY, "unsure"),
        ("", None, DAY, "equal"),
        ("", None, TEXT, "unsure"),
        (None, None, TEXT, "equal"),
        (None, "", TEXT, "unsure"),
        (None, "given", TEXT, "different"),
        (123, "123", TEXT, "equal"),
        ("2", 2, WHOLE, "equal"),
        ("2", 3, WHOLE, "different"),
        ("17abc", 17, WHOLE, "unsure"),
        (12.345, 12.35, {"type": "number"}, "unsure"),
        ("12.30", 12.3, {"type": "number"}, "equal"),
        (1, True, {"type": "boolean"}, "equal"),
        ("false", True, {"type": "boolean"}, "different"),
        (1, True, {}, "equal"),
        (" Rex ", "Rex", TEXT, "equal"),
        ("Rex", "rex", TEXT, "unsure"),
        ("Rex", "Mia", TEXT, "different"),
        ("a < b", "a &lt; b", TEXT, "unsure"),
        ("<b>bold</b>", "bold", TEXT, "unsure"),
        ("a text that is longer than it may be", "a text that is longer", TEXT, "unsure"),
        ("2026-01-01T10:00:00+01:00", "2026-01-01T09:00:00.000Z", TIME, "equal"),
        ("2026-01-01T10:00:00", "2026-01-01T12:00:00.000Z", TIME, "unsure"),
        ("2026-01-01T10:00:00Z", "2026-01-09T10:00:00Z", TIME, "different"),
        ({"a": 1}, '{"a": 1}', TEXT, "unsure"),
        ([1], [1], {}, "equal"),
    ],
)
def test_a_cast_is_recognised_and_what_may_be_one_is_not_told(
    sent: Any, shown: Any, schema: dict[str, Any], match: str
) -> None:
    assert compare(sent, shown, schema) == match


def test_a_field_that_is_not_shown_may_have_any_value() -> None:
    assert all_of({"name": "Rex", "birthdate": "2019-01-02"}, {"name": "Rex"}, {}) is Match.UNSURE
    assert all_of({"name": "Rex", "birthdate": "2019-01-02"}, {"name": "Mia"}, {}) is Match.DIFFERENT
    assert all_of({}, {"name": "Mia"}, {}) is Match.UNSURE


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
SCHEMAS = st.sampled_from([{}, TEXT, DAY, TIME, WHOLE, {"type": ["number", "null"]}, {"type": "boolean"}])


@given(JSON, SCHEMAS)
def test_what_is_shown_as_sent_is_equal(value: Any, schema: dict[str, Any]) -> None:
    assert compare(value, value, schema) is Match.EQUAL


@given(JSON, JSON, SCHEMAS)
def test_any_two_values_have_an_answer(sent: Any, shown: Any, schema: dict[str, Any]) -> None:
    assert compare(sent, shown, schema) in Match


@given(st.dates(), st.sampled_from(["{}", "{}T00:00:00.000Z", "{}T23:59:59Z", " {} ", "{} 10:00:00"]))
def test_a_day_is_the_day_of_any_time_on_it(day: date, form: str) -> None:
    assert compare(form.format(day.isoformat()), day.isoformat(), DAY) is Match.EQUAL


def rails(value: Any, kind: str) -> Any:
    """How a Rails model casts (HOSP.md)."""
    if kind == "string":
        return value if value is None or isinstance(value, str) else str(value)
    if kind == "integer":
        try:
            return int(value) if value not in (None, "") else None
        except ValueError:
            return 0
    try:
        return date.fromisoformat(value[:10]).isoformat()
    except (TypeError, ValueError):
        return None


@given(
    st.sampled_from([("string", TEXT), ("integer", WHOLE), ("date", DAY)]),
    st.none() | st.integers() | st.text() | st.dates().map(str) | st.integers().map(str),
)
def test_what_rails_makes_of_a_value_is_never_taken_for_another(kind: tuple[str, dict[str, Any]], sent: Any) -> None:
    assert compare(sent, rails(sent, kind[0]), kind[1]) is not Match.DIFFERENT
