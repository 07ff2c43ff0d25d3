"""What is used from outside keeps its name: settings, metrics, routes, commands, event fields, log actions, tables."""

from __future__ import annotations

from tests.public_names import FILE, names


def test_every_public_name_is_the_promised_one() -> None:
    promised, there = set(FILE.read_text().splitlines()), set(names())
    assert sorted(promised - there) == [], "gone: somebody uses it; if it must go, say so in CHANGELOG"
    assert sorted(there - promised) == [], "new: `python -m tests.public_names` writes the list anew"
