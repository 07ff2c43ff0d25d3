"""How far the outbox had come, in a small file outside DATA, raised after each change and before anybody is told of it.

So a database that is put back, however little older it is, is behind the mark. The file is changed in place, under a
lock, by all processes of a node: it is JSON of a fixed width, smaller than what a disk writes at once. A power cut may
cost the last second of it (`sync`), and never more than that.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sidecar.storage.made_once import read_or_make

log = logging.getLogger(__name__)
_FORM: Final = '{{"changes": {changes:19d}, "next_id": {next_id:19d}}}\n'


@dataclass(frozen=True)
class Mark:
    """How far it had come: the outbox's count of changes, and the last provisional id. Zeros: nothing is known."""

    changes: int = 0
    next_id: int = 0

    def above(self, other: Mark) -> Mark:
        """The higher of the two, number by number."""
        return Mark(max(self.changes, other.changes), max(self.next_id, other.next_id))

    def reaches(self, other: Mark) -> bool:
        return self.changes >= other.changes and self.next_id >= other.next_id


def parsed(value: Mapping[str, Any]) -> Mark:
    """Raises KeyError, TypeError, ValueError."""
    return Mark(int(value["changes"]), int(value["next_id"]))


def read(path: Path) -> Mark:
    """The mark; one that cannot be read is none, and said."""
    try:
        return parsed(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return Mark()
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.error("%s: the mark cannot be read (%s)", path, type(error).__name__)
        return Mark()


class Watermark:
    """The mark as one process of the node sees it. That it cannot be written is said, and ends nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._trouble = ""

    def read(self) -> Mark:
        """The node's mark now."""
        try:
            with self._path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH)
                return parsed(json.loads(file.read()))
        except FileNotFoundError:
            return Mark()
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._troubled(f"read ({type(error).__name__})")
            return Mark()

    def raise_to(self, mark: Mark) -> None:
        """It is this high, or higher."""
        try:
            self._raise(mark)
            self._trouble = ""
        except OSError as error:
            self._troubled(f"written: {error.strerror}")

    def sync(self) -> None:
        """On disk when this returns, if the disk takes it."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return  # it was never written, which was said
        try:
            os.fsync(descriptor)
        except OSError as error:
            self._troubled(f"written: {error.strerror}")
        finally:
            os.close(descriptor)

    def _raise(self, mark: Mark) -> None:
        read_or_make(self._path, lambda: _content(mark))
        with self._path.open("r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            raw = file.read()
            try:
                kept = parsed(json.loads(raw))
            except (ValueError, KeyError, TypeError):
                kept = Mark()
            content = _content(kept.above(mark))
            if content != raw:
                os.pwrite(file.fileno(), content, 0)
                if len(raw) > len(content):
                    file.truncate(len(content))

    def _troubled(self, what: str) -> None:
        if what != self._trouble:
            log.error("%s: the mark cannot be %s", self._path, what)
        self._trouble = what


def _content(mark: Mark) -> bytes:
    return _FORM.format(**asdict(mark)).encode()
