"""The short version of `python -m tests.policy.screenings 10000`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.policy.screenings import play


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_screenings_under_the_ambiguous_profile_leave_exactly_one_note_each(tmp_path: Path) -> None:
    seen = play(40, tmp_path)
    assert len(seen.screened) == 40
    assert seen.faults > 3  # it was ambiguous indeed
    assert len(seen.sent) >= 40  # what we asked of HOSP in their names is in the trail, at once or replayed
    assert (seen.missing, seen.twice, seen.strange, seen.wrong) == ([], [], [], [])
