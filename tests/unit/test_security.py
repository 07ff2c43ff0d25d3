"""docs/SECURITY.md: each threat names tests, and those exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs/SECURITY.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| threat")
]


def test_there_are_threats() -> None:
    assert len(ROWS) > 15


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:60] for row in ROWS])
def test_each_names_tests_that_exist(row: list[str]) -> None:
    _, _, tests = row
    named = re.findall(r"`([^`:]+)::(\w+)`", tests)
    assert named
    for file, name in named:
        assert re.search(rf"^def {name}\(", (ROOT / file).read_text(), re.MULTILINE), f"{file} has no {name}"
