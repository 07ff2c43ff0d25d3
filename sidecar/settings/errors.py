# pure
"""What a setting that is missing or does not fit raises, and how settings are called in the environment."""

from __future__ import annotations

from typing import Final

PREFIX: Final = "UNDERSTUDY_"


class SettingError(ValueError):
    """A setting is missing or does not fit; the message names it, what was expected and what was found."""
