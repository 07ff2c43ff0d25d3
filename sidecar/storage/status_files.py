"""What the background process tells the control plane, and is asked by it: small files under DATA."""

from __future__ import annotations

import json
import time
from typing import Any, Final

from sidecar.settings import Settings
from sidecar.storage.atomic_file import write_atomically

STALE: Final = 15.0
"""Seconds after which a sign of life is none any more."""


def background_trouble(settings: Settings) -> str | None:
    """Why background work (replay, shipping, signing, backfill) is not going on, in a sentence; None: it is."""
    at = told(settings, "background").get("at")
    if not isinstance(at, int | float):
        return "background work has not begun"
    silent = time.time() - at
    return None if silent < STALE else f"background work has given no sign of life for {silent:.0f} s"


def tell(settings: Settings, name: str, state: dict[str, Any]) -> None:
    """Tells how `name` (background, backfill, shipper) is doing."""
    write_atomically(settings.data / f"{name}.json", json.dumps(state).encode())


def told(settings: Settings, name: str) -> dict[str, Any]:
    """What was last told of `name`; empty before anything was."""
    try:
        found = json.loads((settings.data / f"{name}.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def ask_for_backfill(settings: Settings) -> None:
    """Asks the background process, from any other, to fill the copy now."""
    (settings.data / "backfill.request").touch()


def backfill_asked(settings: Settings) -> bool:
    """Whether that was asked since the last time this was called."""
    try:
        (settings.data / "backfill.request").unlink()
    except FileNotFoundError:
        return False
    return True
