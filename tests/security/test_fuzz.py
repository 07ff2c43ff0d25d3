"""The fuzz program finds what is there, tells its seed, and a short run of it finds nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import strategies as st

from tests.security.fuzz import run, targets, tries


@pytest.mark.parametrize("name", ["authorization", "forwarded", "addresses", "journal"])
def test_a_short_run_finds_nothing(tmp_path: Path, name: str) -> None:
    what, strategies = targets(tmp_path)[name]
    tries(what, strategies, 18, 60)


def test_what_is_there_is_found_and_its_seed_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    def breaks_at(number: int) -> None:
        assert number < 1000

    assert run({"numbers": (breaks_at, (st.integers(0, 5000),))}, 60, 7, 3) == 1
    assert "seed 7: numbers: found" in capsys.readouterr().out
    assert run({"numbers": (breaks_at, (st.integers(0, 500),))}, 60, 7, 2) == 0
    assert "2 rounds from seed 7" in capsys.readouterr().out
