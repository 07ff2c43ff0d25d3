"""An alert's life: told once, told again, quiet while somebody works on it; not resolved by what was not seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.lifecycle.lifecycle import Alert, Condition, Kind, NotPossible, State, acknowledge, silence, step, unsilence
from sidecar.timeunits import SECOND

BURN = Condition(name="ErrorBudgetBurn", severity="page", source="events", labels={"slo": "hosp"})
REPEAT = 100 * SECOND


def told(known: dict[str, Alert], holds: bool, now: int, **more: object) -> tuple[dict[str, Alert], list[Kind]]:
    after, notices = step(known, [BURN] if holds else [], now, repeat=REPEAT, **more)  # type: ignore[arg-type]
    return after, [notice.kind for notice in notices]


def test_fires_once_repeats_and_resolves_once() -> None:
    known, kinds = told({}, True, SECOND)
    assert kinds == [Kind.FIRING]
    known, kinds = told(known, True, 2 * SECOND)
    assert kinds == []
    known, kinds = told(known, True, 101 * SECOND)
    assert kinds == [Kind.REPEAT]
    known, kinds = told(known, False, 102 * SECOND)
    assert (kinds, known[BURN.key].state) == ([Kind.RESOLVED], State.RESOLVED)
    known, kinds = told(known, False, 103 * SECOND)
    assert kinds == []
    known, kinds = told(known, True, 104 * SECOND)
    assert (kinds, known[BURN.key].episode) == ([Kind.FIRING], 2)


def test_what_holds_too_briefly_is_never_told() -> None:
    slow = replace(BURN, hold=10 * SECOND)
    known, notices = step({}, [slow], SECOND, repeat=REPEAT)
    assert (known[BURN.key].state, notices) == (State.PENDING, [])
    known, notices = step(known, [], 5 * SECOND, repeat=REPEAT)
    assert (known, notices) == ({}, [])


def test_a_source_that_does_not_answer_resolves_nothing() -> None:
    known, _ = told({}, True, SECOND)
    known, kinds = told(known, False, 2 * SECOND, unknown={"events"})
    assert (kinds, known[BURN.key].state) == ([], State.FIRING)


def test_an_alert_of_which_nothing_is_known_goes_on_while_others_of_its_source_end() -> None:
    other = replace(BURN, severity="ticket")
    known, _ = step({}, [BURN, other], SECOND, repeat=REPEAT)
    known, _ = step(known, [], 2 * SECOND, repeat=REPEAT, unknown={BURN.key})
    assert (known[BURN.key].state, known[other.key].state) == (State.FIRING, State.RESOLVED)


def test_acknowledged_is_not_repeated_but_resolved() -> None:
    known, _ = told({}, True, SECOND)
    known = {BURN.key: acknowledge(known[BURN.key], "Ms Pell", "on it")}
    known, kinds = told(known, True, 500 * SECOND)
    assert (kinds, known[BURN.key].state) == ([], State.ACKNOWLEDGED)
    known, kinds = told(known, False, 501 * SECOND)
    assert kinds == [Kind.RESOLVED]
    with pytest.raises(NotPossible, match="resolved"):
        acknowledge(known[BURN.key], "Ms Pell", "again")


def test_a_silence_outlives_an_episode_and_ends_by_itself() -> None:
    known, _ = told({}, True, SECOND)
    known = {BURN.key: silence(known[BURN.key], "Ms Pell", "works on HOSP", 50 * SECOND, 2 * SECOND)}
    known, kinds = told(known, False, 3 * SECOND)
    assert kinds == [Kind.RESOLVED]  # they were told that it fires
    known, kinds = told(known, True, 4 * SECOND)
    assert (kinds, known[BURN.key].state) == ([], State.SILENCED)
    known, kinds = told(known, True, 50 * SECOND)
    assert kinds == [Kind.FIRING]


def test_a_silence_needs_a_reason_and_an_end_and_can_be_ended() -> None:
    known, _ = told({}, True, SECOND)
    with pytest.raises(NotPossible, match="reason"):
        silence(known[BURN.key], "Ms Pell", " ", 9 * SECOND, SECOND)
    with pytest.raises(NotPossible, match="until"):
        silence(known[BURN.key], "Ms Pell", "why", SECOND, SECOND)
    quiet = silence(known[BURN.key], "Ms Pell", "why", 9 * SECOND, SECOND)
    assert unsilence(quiet).state is State.FIRING


@given(st.lists(st.sampled_from(["holds", "gone", "unknown"]), max_size=60))
def test_each_firing_is_resolved_once_and_nothing_is_told_twice(seen: list[str]) -> None:
    known: dict[str, Alert] = {}
    told_of: list[Kind] = []
    keys: list[str] = []
    for tick, what in enumerate(seen):
        unknown = {"events"} if what == "unknown" else set()
        holding = [BURN] if what == "holds" else []
        known, notices = step(known, holding, (tick + 1) * 15 * SECOND, repeat=REPEAT, unknown=unknown)
        told_of += [notice.kind for notice in notices]
        keys += [notice.key for notice in notices]
    assert len(keys) == len(set(keys))
    ends = [kind for kind in told_of if kind is not Kind.REPEAT]
    assert ends == [Kind.FIRING, Kind.RESOLVED] * (len(ends) // 2) + [Kind.FIRING] * (len(ends) % 2)
    answered = [what for what in seen if what != "unknown"]
    assert len(ends) % 2 == (bool(answered) and answered[-1] == "holds")


def test_what_flaps_is_told_once() -> None:
    """An alert goes on for its time after it was last seen; only seconds in which it could be seen may end it."""
    keep = {"keep": lambda _: 10 * SECOND}
    known, kinds = told({}, True, SECOND, **keep)
    assert kinds == [Kind.FIRING]
    for second in range(2, 20):
        known, kinds = told(known, second % 3 == 0, second * SECOND, **keep)
        assert kinds == []
    known, kinds = told(known, False, 27 * SECOND, **keep)
    assert (kinds, known[BURN.key].state) == ([], State.FIRING)
    known, kinds = told(known, False, 28 * SECOND, **keep)
    assert kinds == [Kind.RESOLVED]


def test_telling_one_of_a_group_tells_of_all() -> None:
    """So the next repeat is of all together, and a whole repeat after the last message."""
    other = replace(BURN, labels={"slo": "other"})
    together = {"repeat": REPEAT, "group": lambda _: "all"}
    known, _ = step({}, [BURN], SECOND, **together)  # type: ignore[arg-type]
    known, notices = step(known, [BURN, other], 51 * SECOND, **together)  # type: ignore[arg-type]
    assert [notice.alert.labels["slo"] for notice in notices] == ["other"]
    known, notices = step(known, [BURN, other], 101 * SECOND, **together)  # type: ignore[arg-type]
    assert notices == []
    _, notices = step(known, [BURN, other], 151 * SECOND, **together)  # type: ignore[arg-type]
    assert [notice.kind for notice in notices] == [Kind.REPEAT, Kind.REPEAT]
