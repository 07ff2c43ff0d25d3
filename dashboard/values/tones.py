# pure
"""How good a thing is, in one word: what colours, shapes and words on every page are chosen by."""

from __future__ import annotations

from typing import Final

GOOD: Final = "good"
WARN: Final = "warn"
BAD: Final = "bad"
UNKNOWN: Final = "unknown"
