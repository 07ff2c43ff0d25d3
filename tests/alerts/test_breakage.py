"""`make breakage` in short: each play in one of its columns, outages on every channel, and what is promised of both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from alerts.objectives.openslo import locate
from sidecar.timeunits import SECOND
from tests.alerts import label_clash
from tests.alerts.columns import COLUMNS, SHORT, fails_first, while_well
from tests.alerts.judging import OVER, SOON, embedded, ended, paged
from tests.alerts.outages import OUTAGES, busy
from tests.alerts.plays import PLAYS, Play
from tests.alerts.simulated_sidecar import WELL
from tests.alerts.world import World

# Which column: so that each is played by a third of them, and what is told late is not waited for. Users have asked for
# a quarter of an hour before, where the play does not say for how long.
SHOWN = [
    (replace(play, world={"history": 900, **play.world}), COLUMNS[n % len(COLUMNS)]) for n, play in enumerate(PLAYS)
]


@pytest.mark.parametrize("number", range(len(SHOWN)), ids=lambda n: SHOWN[n][0].name)
def test_nothing_ends_falsely_nothing_is_silent_and_no_page_is_for_nothing(number: int) -> None:
    play, column = SHOWN[number]
    if column is fails_first and play.world.get("idle"):
        column = while_well
    assert column(play, embedded, SHORT).wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("name", OUTAGES)
def test_one_outage_is_one_message_on_each_channel(name: str) -> None:
    """Of fewer users than by `make breakage`, who have asked for a quarter of an hour before."""
    cells = OUTAGES[name](minutes=10, rate=1, history=900)
    assert {channel: cell.wrong for channel, cell in cells.items() if cell.wrong} == {}


def test_a_page_is_there_within_a_minute_at_fifty_a_second() -> None:
    """With ten minutes of history instead of an hour's, so that it takes seconds."""
    cell, took = busy(history=600)
    assert (cell.wrong, 0 < took <= SOON) == ([], True)


def test_an_end_comes_sooner_where_the_period_is_shorter(tmp_path: Path) -> None:
    """Over three days: windows and ALERT_KEEP are a tenth as long, and the group's interval is not waited for."""
    slos = tmp_path / "slos.yaml"
    slos.write_text(locate("hosp").read_text().replace("duration: 30d", "duration: 3d"))
    with World(tmp_path, embedded(tmp_path), slos=str(slos)) as world:
        world.run(60)
        world.fail()
        world.run(300)
        world.users, since = WELL, world.clock.steady
        assert paged(world) == set(world.listening)
        assert world.run(OVER // 10 + 60, until=lambda: ended(world) == set(world.listening))
        assert max(said.at for said in world.heard) - since <= (180 + 30 + 30) * SECOND


def test_a_play_that_broke_a_promise_says_so() -> None:
    """A store that is away and is not told of, and a heart that should stop."""
    silent = Play(name="nothing breaks", breaks=lambda _: None, tells=frozenset({"NoData"}), stops=True)
    assert while_well(silent, embedded, SHORT).wrong == ["the heart beats", "not told: NoData"]


@pytest.mark.prometheus
@pytest.mark.slow
def test_a_targets_label_takes_no_alert_away() -> None:
    assert label_clash.play()[2] == []
