"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("understudy", deadline=None)
"""How long one example takes says how busy the machine is."""
settings.load_profile("understudy")
