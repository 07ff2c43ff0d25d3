"""The short version of `python -m tests.policy.screenings 10000`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.policy.screenings import play


@pytest.mark.slow
def test_screenings_under_the_ambiguous_profile_leave_exactly_one_note_each(tmp_path: Path) -> None:
    seen = play(60, tmp_path)
    assert len(seen.screened) == 60
    assert seen.faults > 5  # it was ambiguous indeed
    assert (seen.missing, seen.twice, seen.strange, seen.wrong) == ([], [], [], [])
