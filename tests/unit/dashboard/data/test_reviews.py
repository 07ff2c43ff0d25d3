"""The weekly review: written down once, signed off once, by somebody else, the week last."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from dashboard.data import reviews
from dashboard.data.findings import Finding, Found
from dashboard.data.reviews import WHOLE, NotSigned, Reviews
from dashboard.values import time_format
from dashboard.values.filters import View
from sidecar.timeunits import HOUR

LONDON = ZoneInfo("Europe/London")
NOW = time_format.parse("2026-11-25 12:00", LONDON)
WEEK = date(2026, 11, 16)
FOUND = [
    Finding("Unusual hours", "Nurse Tan made 9 requests between 22:00 and 06:00", 9, View(person="Nurse Tan"), 1),
    Finding("Vandalised notes", "6 notes of Nurse Abara look vandalised", 6, View(event="a\nb"), 4),
]


@pytest.fixture
def kept(engine: Engine) -> Reviews:
    return Reviews(engine, lambda: NOW)


def nothing() -> Found:
    raise AssertionError("it was written down already")


def test_a_week_is_written_down_once_the_gravest_first(kept: Reviews) -> None:
    items = kept.of(WEEK, lambda: Found(FOUND, 9, 9))
    assert [item.kind for item in items] == ["Vandalised notes", "Unusual hours", "Week"]
    assert kept.of(WEEK, nothing) == items
    assert View.parse(items[0].view) == FOUND[1].view


def test_each_finding_is_signed_off_once_and_the_week_last(kept: Reviews) -> None:
    first, second, whole = kept.of(WEEK, lambda: Found(FOUND, 9, 9))
    weeks = reviews.weeks(NOW, LONDON, 2)
    assert weeks == [WEEK, date(2026, 11, 9)]
    with pytest.raises(NotSigned, match="2 of its findings are not signed off"):
        kept.sign(str(WEEK), WHOLE, "Ms Pell", "", "")
    kept.sign(str(WEEK), first.key, "Ms Pell", "reported", "the police has it")
    with pytest.raises(NotSigned, match="somebody has signed it off already"):
        kept.sign(str(WEEK), first.key, "Mr Quill", "explained", "again")
    kept.sign(str(WEEK), second.key, "Ms Pell", "explained", "night duty")
    assert kept.waiting(weeks) == weeks
    kept.sign(str(WEEK), whole.key, "Ms Pell", "", "")
    assert kept.waiting(weeks) == [date(2026, 11, 9)]
    signed = kept.of(WEEK, nothing)[0]
    assert (signed.signed_by, signed.signed_at, signed.verdict, signed.note) == (
        "Ms Pell", NOW, "reported", "the police has it"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("by", "verdict", "note", "why"),
    [
        ("nurse abara", "explained", "it was me", "about you"),
        ("Ms Pell", "", "fine", "choose what came of it"),
        ("Ms Pell", "nonsense", "fine", "choose what came of it"),
        ("Ms Pell", "explained", " ", "note: expected 3"),
    ],
)
def test_what_is_no_sign_off_is_refused(kept: Reviews, by: str, verdict: str, note: str, why: str) -> None:
    first = kept.of(WEEK, lambda: Found(FOUND, 9, 9))[0]
    with pytest.raises(NotSigned, match=why):
        kept.sign(str(WEEK), first.key, by, verdict, note)
    with pytest.raises(NotSigned, match="no such finding"):
        kept.sign(str(WEEK), "made up", "Ms Pell", "explained", "fine")


def test_a_week_without_findings_is_signed_off_too(kept: Reviews) -> None:
    (whole,) = kept.of(WEEK, lambda: Found([], 5, 12))
    assert whole.said == "0 findings; read were the newest 5 of its 12 writes"
    kept.sign(str(WEEK), whole.key, "Ms Pell", "", "")
    assert kept.waiting([WEEK]) == []


def test_a_week_lasts_from_monday_to_monday_also_over_dst() -> None:
    since, until = reviews.span(date(2026, 10, 19), LONDON)
    assert (time_format.stamp(since, LONDON), until - since) == (
        "Mon 19 Oct 2026, 00:00:00 BST (UTC+01:00)",
        169 * HOUR,
    )


@pytest.mark.parametrize("text", ["soon", "2026-11-17", "2026-11-23"])
def test_what_is_no_week_that_is_over_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="week: expected"):
        reviews.parse_week(text, NOW, LONDON)
