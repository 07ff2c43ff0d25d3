"""The circuit opens for outages at any traffic, and not for the failures of a normal day."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.takeover.circuit import FIRST_BACKOFF, LAST_BACKOFF, Circuit, State, Tally, evaluate, merge, probe_now
from sidecar.timeunits import SECOND

NOW = 1_000_000
CLOSED = Circuit()


@st.composite
def tally(draw: st.DrawFn) -> Tally:
    bad = draw(st.integers(0, 5))
    return Tally(draw(st.integers(NOW - 150, NOW)), draw(st.integers(0, 5)), bad, draw(st.integers(0, bad)))


tallies = st.lists(tally(), max_size=12)
half_open = st.builds(
    Circuit, st.just(State.HALF_OPEN), st.just((NOW - 9) * SECOND), st.floats(FIRST_BACKOFF, LAST_BACKOFF)
)


def at(second: float) -> int:
    return int(second * SECOND)


@given(tallies, st.permutations(range(12)))
def test_order_and_split_change_nothing(found: list[Tally], order: list[int]) -> None:
    singles = [
        one
        for tally in found
        for one in [Tally(tally.second, 1)] * tally.good
        + [Tally(tally.second, 0, 1, 1)] * tally.refused
        + [Tally(tally.second, 0, 1)] * (tally.bad - tally.refused)
    ]
    shuffled = [found[index] for index in order if index < len(found)]
    whole = evaluate(CLOSED, found, at(NOW))
    assert evaluate(CLOSED, shuffled, at(NOW)) == evaluate(CLOSED, singles, at(NOW)) == whole
    assert merge(merge(found)) == merge(found)


@given(tallies)
def test_closed_opens_only_for_three_failures_or_more(found: list[Tally]) -> None:
    after = evaluate(CLOSED, found, at(NOW))
    if after.state is State.OPEN:
        assert sum(tally.bad for tally in found) >= 3
        assert (after.epoch, after.since, after.backoff) == (1, at(NOW), FIRST_BACKOFF)
    else:
        assert after is CLOSED


@given(st.lists(st.integers(NOW - 119, NOW), min_size=4, unique=True))
def test_four_failures_in_a_row_open_at_any_traffic(seconds: list[int]) -> None:
    older = [Tally(min(seconds) - 1, good=1000)]
    assert evaluate(CLOSED, older + [Tally(second, bad=1) for second in seconds], at(NOW)).state is State.OPEN


def test_many_failures_within_one_second_wait_for_the_next() -> None:
    burst = [Tally(NOW - 9, good=40), Tally(NOW, bad=8)]
    assert evaluate(CLOSED, burst, at(NOW)) is CLOSED
    assert evaluate(CLOSED, [*burst, Tally(NOW + 1, bad=1)], at(NOW + 1)).reason == "consecutive_failures"


def test_three_refused_connections_open_at_once() -> None:
    assert evaluate(CLOSED, [Tally(NOW, bad=2, refused=2)], at(NOW)) is CLOSED
    assert evaluate(CLOSED, [Tally(NOW, bad=3, refused=3)], at(NOW)).reason == "refused"


def test_half_of_a_busy_window_failing_opens() -> None:
    busy = [Tally(NOW - back, good=4, bad=4) for back in range(5)]
    assert evaluate(CLOSED, busy, at(NOW)).reason == "failure_rate"
    well = [Tally(NOW - back, good=6, bad=4) for back in range(5)]
    assert evaluate(CLOSED, well, at(NOW)) is CLOSED


@given(tallies, st.floats(FIRST_BACKOFF, LAST_BACKOFF), st.floats(0, 60))
def test_open_waits_for_its_backoff_whatever_is_seen(found: list[Tally], backoff: float, waited: float) -> None:
    circuit = Circuit(State.OPEN, at(NOW), backoff, 1)
    now = at(NOW + waited)
    expected = State.HALF_OPEN if now - at(NOW) >= backoff * SECOND else State.OPEN
    assert evaluate(circuit, found, now).state is expected


def test_a_clock_set_back_does_not_keep_it_open() -> None:
    assert evaluate(Circuit(State.OPEN, at(NOW), 30.0, 1), [], at(NOW - 3600)).state is State.HALF_OPEN


@given(half_open, tallies)
def test_half_open_closes_on_three_successes_and_reopens_on_one_failure(before: Circuit, found: list[Tally]) -> None:
    after = evaluate(before, found, at(NOW))
    good, bad = sum(tally.good for tally in found), sum(tally.bad for tally in found)
    if bad:
        assert after.state is State.OPEN
        assert before.backoff <= after.backoff <= LAST_BACKOFF
    elif good >= 3:
        assert after.state is State.CLOSED
    else:
        assert after is before


def test_backoff_grows_to_its_limit_and_starts_again_after_calm() -> None:
    circuit = evaluate(CLOSED, [Tally(NOW, bad=3, refused=3)], at(NOW))
    now, seen = NOW, [circuit.backoff]
    while circuit.backoff < LAST_BACKOFF:
        now += int(circuit.backoff)
        circuit = evaluate(circuit, [], at(now))
        circuit = evaluate(circuit, [Tally(now, bad=1)], at(now))
        seen.append(circuit.backoff)
    assert seen == [1, 2, 4, 8, 16, 30]
    now += 30
    closed = evaluate(evaluate(circuit, [], at(now)), [Tally(now, good=3)], at(now))
    outage = [Tally(now + 5, bad=3, refused=3)]
    assert evaluate(closed, outage, at(now + 5)).backoff == LAST_BACKOFF
    assert evaluate(closed, [Tally(now + 90, bad=3, refused=3)], at(now + 90)).backoff == FIRST_BACKOFF


def test_an_operator_may_probe_at_once() -> None:
    assert probe_now(Circuit(State.OPEN, at(NOW), 30.0, 7), at(NOW)).state is State.HALF_OPEN
    assert probe_now(CLOSED, at(NOW)) is CLOSED


@pytest.mark.parametrize("seed", [1, 2])
def test_a_normal_day_hardly_ever_opens(seed: int) -> None:
    """One request every two seconds, 6% failing, and each failure retried at once with the same chance."""
    chance, opened, recent = random.Random(seed), 0, []
    for second in range(NOW, NOW + 43_200, 2):
        bad = chance.random() < 0.06
        again = bad and chance.random() < 0.06
        recent = [*recent[-60:], Tally(second, good=int(not bad or not again), bad=int(bad) + int(again))]
        looked_at = bad or second % 20 == 0
        if looked_at and evaluate(CLOSED, recent, at(second)) is not CLOSED:
            opened, recent = opened + 1, []
    assert opened <= 1, seed


def test_an_outage_at_low_traffic_opens_within_ten_seconds() -> None:
    found = [Tally(NOW - back, good=1) for back in range(2, 60, 2)]
    for second in range(NOW, NOW + 10, 2):
        found.append(Tally(second, bad=1))
        if evaluate(CLOSED, found, at(second)).state is State.OPEN:
            return
    pytest.fail("still closed after ten seconds of failures")
