"""Where a journal's files lie under DATA."""

from __future__ import annotations

from typing import Final

PUBLIC_KEY: Final = "audit.pub"
"""In DATA: the public key of the journal's signatures, for everyone to take."""
STATEMENTS: Final = "statements.jsonl"
"""The file of a journal's signed statements, beside the journal."""
