"""What an evidence pack says of each row by the journal."""

from __future__ import annotations

import pytest

from dashboard.data.evidence import status


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"ok": None}, "not compared: the journal is not on this machine"),
        ({"ok": True, "matched_ids": ["a"], "different_ids": []}, "proven"),
        ({"ok": False, "matched_ids": ["a"], "different_ids": []}, "in the journal, which does NOT verify"),
        ({"ok": True, "matched_ids": [], "different_ids": ["a"]}, "DIFFERENT in the journal"),
        ({"ok": True, "matched_ids": ["b"], "different_ids": []}, "not in the journal"),
    ],
)
def test_a_row_is_proven_only_where_the_journal_verifies_and_holds_it(said: dict[str, object], words: str) -> None:
    assert status("a", said) == words
