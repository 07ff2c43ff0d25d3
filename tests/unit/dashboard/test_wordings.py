"""Wordings that nobody understood at three in the morning are left nowhere in what people read."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
OLD = (
    "Nobody has acknowledged", "Could the standby", "both answers, ", "overruling", "even so, over", "just so",
    "neither as it was nor as it should be", "What was told to whom", "Everyone who was here", "\"Do it\"",
    "You work on it", "Nobody has said whether",
    "It is not told again", "it is not told again until", "budget spent {",
)  # fmt: skip
READ = [
    path
    for folder, endings in (
        ("dashboard", ("py", "js", "html", "md")), ("alerts", ("py", "md", "html", "yaml")), ("docs", ("md",)),
        ("sidecar", ("py",)), ("compose", ("py",)),
    )
    for ending in endings
    for path in (ROOT / folder).rglob(f"*.{ending}")
]  # fmt: skip


@pytest.mark.parametrize("wording", OLD)
def test_an_old_wording_is_left_nowhere(wording: str) -> None:
    assert len(READ) > 300
    assert [str(path.relative_to(ROOT)) for path in READ if wording in path.read_text()] == []
