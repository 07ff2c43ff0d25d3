"""Who runs a command, for the trail."""

from __future__ import annotations

import os
from getpass import getuser


def this_person() -> str:
    """The user's name; `uid N` for one who has no entry among the system's users, as in a container."""
    try:
        return getuser()
    except (KeyError, OSError, ImportError):
        return f"uid {os.getuid()}"
