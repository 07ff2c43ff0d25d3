"""docs/OPERATIONS.md, played under traffic on what is installed from the wheel: nobody notices (tests/stack/day.py)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.stack.day import STEPS, NotInstalled, play
from tests.support.postgres import programs

pytestmark = [pytest.mark.haproxy, pytest.mark.postgresql, pytest.mark.slow]


@pytest.mark.timeout(1200)
def test_nothing_is_lost_doubled_or_refused_on_a_day_of_operations(tmp_path: Path) -> None:
    everything = os.environ.get("UNDERSTUDY_TESTS") == "all"
    if programs() is None and not everything:
        pytest.skip("PostgreSQL is not installed (apt install postgresql)")
    try:
        played = play(tmp_path)
    except NotInstalled as error:
        if everything:
            raise
        pytest.skip(f"the packages cannot be had: {error}")
    assert len(played.steps) == len(STEPS)
    assert len(played.tally.titles) > 50
    assert played.is_good(), str(played)
