"""The head of the trail: the last entry that this node wrote, kept beside its key, so that a cut end is found.

Many threads of several processes keep it, each after its entry and in any order: it never goes back. One that is not
in the trail any more stays, before the one that is kept now: what is written after a cut does not hide it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sidecar.storage.atomic_file import write_atomically


@dataclass(frozen=True)
class End:
    """An entry. `id` is 0 where only its hash was kept, as releases before did."""

    id: int
    hash: str

    def __str__(self) -> str:
        return f"entry {self.id}" if self.id else "an entry"


class Head:
    """In a file, a line for each end."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Sequence[End]:
        """Every entry that must be in the trail, the last one last; none: nothing was kept yet."""
        try:
            return [_end(line) for line in self._path.read_text().splitlines()]
        except FileNotFoundError:
            return []

    def keep(self, end: End, there: Callable[[End], bool]) -> End | None:
        """Unless a later one is kept already. Returns the one that was kept and is not `there`, in the trail, any more.
        Raises OSError, and what `there` does."""
        with self._alone():
            ends = self.read()
            lost = next((last for last in ends[-1:] if not there(last)), None)
            if lost is None and ends and ends[-1].id >= end.id:
                return None
            kept = [*(ends if lost else ends[:-1]), end]
            write_atomically(self._path, "\n".join(f"{each.id} {each.hash}" for each in kept).encode())
            return lost

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process or thread is here meanwhile: its folder is locked, so that no file of a lock is left."""
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def _end(line: str) -> End:
    ident, _, digest = line.rpartition(" ")
    return End(int(ident) if ident.isdecimal() else 0, digest)
