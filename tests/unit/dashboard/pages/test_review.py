"""The weekly review is found before anybody waits for it, and never stands as it was before something was added."""

from __future__ import annotations

import random
from datetime import date

from dashboard.context import Parts
from dashboard.data import reviews
from dashboard.pages import review
from sidecar.timeunits import DAY, HOUR
from tests.support.dashboard import seed


def put(parts: Parts, week: date, *kinds: str) -> None:
    since, dice = reviews.span(week, parts.zone)[0] + DAY, random.Random(str(kinds))
    said = {"title": "Round", "body": "You were hacked by the lulz", "patient_id": 1}
    made = [seed.event(since + n * HOUR, dice, kind=kind, user="Nurse Tan", body=said) for n, kind in enumerate(kinds)]
    parts.store.append([event for event, _ in made], [body for _, body in made if body])


def test_what_was_prepared_is_told_until_something_is_added(parts: Parts) -> None:
    parts.store.install()
    week = reviews.weeks(parts.clock(), parts.zone, 1)[0]
    put(parts, week, "patient", "create")
    review.prepare(parts)
    assert not parts.reviews.written(week), "it is written down when somebody opens it"
    made = review.found(parts, week)
    assert [each.kind for each in made.findings] == ["Vandalised notes"]
    assert review.found(parts, week) is made
    put(parts, week, "create", "create", "create")
    again = review.found(parts, week)
    assert [each.said for each in again.findings] == ["4 notes of Nurse Tan look vandalised"]
    parts.reviews.of(week, lambda: again)
    assert parts.reviews.written(week)
