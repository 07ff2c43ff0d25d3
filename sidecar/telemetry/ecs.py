# pure
"""The Elastic Common Schema, which events and log lines keep to."""

from __future__ import annotations

from typing import Final

VERSION: Final = "8.17.0"
"""`ecs.version`. The values that its categorization fields allow are in tests/support/ecs.py."""
