"""Which instance of a node this is: an id in DATA, by which two that were given one name can be told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from uuid import uuid4

from sidecar.storage.made_once import read_or_make

NAME: Final = "instance"
SHORT: Final = 8
"""Characters of it in the names of files: enough to tell a node's instances apart."""


def instance_of(data: Path) -> str:
    """The id that this DATA has, made with the first call, of whichever process. Raises OSError."""
    return read_or_make(data / NAME, lambda: f"{uuid4().hex}\n".encode()).decode().strip()


def known_instance(data: Path) -> str | None:
    """The same, where it has one. Changes nothing."""
    path = data / NAME
    return path.read_text().strip() or None if path.exists() else None


def named(data: Path, what: str) -> str:
    """`what` with the instance before it, for the names of this node's segments."""
    return f"{instance_of(data)[:SHORT]}_{what}"
