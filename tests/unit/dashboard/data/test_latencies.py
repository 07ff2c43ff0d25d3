"""How long answers took over many days: as an independent reading of each event tells, and asked for once a day."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest

from dashboard.data import latencies
from dashboard.data.event_queries import Queries
from sidecar.events.store import Event
from sidecar.timeunits import DAY, HOUR, SECOND, parse_rfc3339
from tests.support.dashboard import seed
from tests.support.dashboard.watched import Watched

NOW = 20_000 * DAY + 9 * HOUR
MONTH = 30 * 86400
SLOWER = {"patient": 1, "notes": 7}


def events(count: int, days: int) -> list[Event]:
    """Each day is slower than the one before it, and one endpoint than the other."""
    dice, made = random.Random(8), []
    for _ in range(count):
        back, kind = dice.randrange(days * DAY), dice.choice(list(SLOWER))
        document, _ = seed.event(NOW - back, dice, kind=kind)
        took = dice.lognormvariate(0, 1) * SLOWER[kind] * (1 + 2 * (days - back // DAY) / days)
        document["event"]["duration"] = int(took * SECOND)
        made.append(document)
    return made


def share(made: Sequence[Event], most: float) -> float:
    """How many percent were answered within so many ns."""
    return 100 * sum(each["event"]["duration"] <= most for each in made) / len(made)


@pytest.mark.parametrize("seconds", [3600, 86400, MONTH])
def test_so_many_percent_were_answered_in_the_time_that_is_told(store: Watched, seconds: int) -> None:
    """Of an endpoint within one part exactly, else within the fifth of a step between two marks."""
    made = events(4000, 30) + events(400, 1)
    store.append(made)
    told = latencies.each(Queries(store), seconds, NOW)
    since = NOW - seconds * SECOND
    inside = [each for each in made if parse_rfc3339(each["@timestamp"]) >= since]
    for kind, name in (("patient", "GET /patients/{id}"), ("notes", "GET /notes")):
        mine = [each for each in inside if each["understudy"]["endpoint"] == name]
        assert len(mine) > 5, kind
        near(told[name], mine)
    near(latencies.whole(Queries(store), seconds, NOW), inside)


def near(told: Mapping[float, float], made: Sequence[Event]) -> None:
    one = 100 / len(made)
    for percent, beside in ((50.0, 1.5), (95.0, 1.0), (99.0, 0.5)):
        assert abs(share(made, told[percent]) - percent) <= beside + one, percent


def test_a_day_that_is_over_is_asked_for_once_and_again_when_something_was_added_to_it(store: Watched) -> None:
    now = [0.0]
    queries = Queries(store, lambda: now[0])
    store.append(events(300, 20))

    def asked() -> set[tuple[int | None, int | None]]:
        store.asked.clear()
        now[0] += 3600
        latencies.each(queries, MONTH, NOW)
        return set(store.asked)

    midnight = NOW - NOW % DAY
    live = {(NOW - 30 * DAY, midnight - 29 * DAY), (midnight, None)}
    assert len(asked() - live) == 20
    assert asked() == live
    late, _ = seed.event(midnight - 3 * DAY + HOUR, random.Random(9), kind="patient")
    store.append([late])
    assert asked() == {*live, (midnight - 3 * DAY, midnight - 2 * DAY)}


def test_the_same_is_shown_again_for_a_while_and_each_period_has_its_own(store: Watched) -> None:
    store.append(events(300, 2))
    queries = Queries(store, lambda: 0.0)
    day = latencies.each(queries, 86400, NOW)
    store.append([seed.event(NOW - SECOND, random.Random(9), kind="create")[0]])
    assert latencies.each(queries, 86400, NOW) == day
    assert "POST /notes" not in day
    assert "POST /notes" in latencies.each(queries, 3600, NOW)


def test_without_requests_nothing_is_told(store: Watched) -> None:
    assert latencies.each(Queries(store), MONTH, NOW) == {}
    assert latencies.whole(Queries(store), MONTH, NOW) == {}
