"""The head of the trail: the last entry that this node wrote, kept beside its key, so that a cut end is found.

Many threads of several processes keep it, each after its entry and in any order: it never goes back.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sidecar.storage.atomic_file import write_atomically


@dataclass(frozen=True)
class End:
    """An entry. `id` is 0 where only its hash was kept, as releases before did."""

    id: int
    hash: str


class Head:
    """In a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> End | None:
        """None: nothing was kept yet."""
        try:
            ident, _, digest = self._path.read_text().rpartition(" ")
        except FileNotFoundError:
            return None
        return End(int(ident) if ident.isdecimal() else 0, digest)

    def keep(self, end: End) -> None:
        """Unless a later one is kept already. Raises OSError."""
        with self._alone():
            kept = self.read()
            if kept is None or kept.id < end.id:
                write_atomically(self._path, f"{end.id} {end.hash}".encode())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process or thread is here meanwhile: its folder is locked, so that no file of a lock is left."""
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)
