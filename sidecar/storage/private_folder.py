"""DATA is its owner's alone: who may not enter the folder reads nothing under it, whatever a file's own mode."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)
UMASK: Final = 0o077
"""Of every process that writes under DATA: nothing is for the group, or others."""


def make_private(folder: Path) -> None:
    """The folder is there, and nobody but its owner may enter. A folder of somebody else's stays as it is, and is told.

    Raises OSError where it cannot be made.
    """
    os.umask(UMASK)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    mode = folder.stat().st_mode & 0o777
    if mode & UMASK:
        try:
            folder.chmod(mode & ~UMASK)
        except OSError as error:
            fields = {"event.action": "data_not_private"}
            log.warning("%s may be entered by others (%o): %s", folder, mode, error.strerror, extra={"fields": fields})
