"""The last signed head of a journal, kept beside the key and outside DATA: what an older DATA, put back, has not."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from sidecar.journal.keys import SigningError, SigningKey, raw_public, read_public
from sidecar.settings import Settings
from sidecar.storage.atomic_file import write_atomically


@dataclass(frozen=True)
class Head:
    """The last statement of a chain of statements: its name, its number, its hash; and the outbox's mark that was last
    stated, where there was one."""

    name: str
    sequence: int
    hash: str
    outbox: Mapping[str, int] | None = None


def keep_head(path: Path, head: Head) -> None:
    """On disk when this returns. Raises OSError."""
    value = {"name": head.name, "sequence": head.sequence, "hash": head.hash}
    write_atomically(path, orjson.dumps(value if head.outbox is None else {**value, "outbox": head.outbox}))
    path.chmod(0o644)  # for whoever verifies: it says nothing of anybody


def read_head(path: Path) -> Head | None:
    """The head; None: none was ever kept. Raises SigningError for a file that cannot be read or is none."""
    try:
        value = orjson.loads(path.read_bytes())
        return Head(str(value["name"]), int(value["sequence"]), str(value["hash"]), value.get("outbox"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SigningError(f"{path}: {error.strerror}") from None
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        raise SigningError(f"{path}: expected the head of a journal") from None


def own_key(settings: Settings) -> str | None:
    """The public half (hex) of this node's own key, from outside DATA: the key itself, or its public half beside it for
    those who may not read that. None: neither is there for us to read. Raises SigningError."""
    key = settings.sign_key_file
    if os.access(key, os.R_OK):
        return raw_public(SigningKey(key).private())
    public = public_half(key)
    return read_public(public) if os.access(public, os.R_OK) else None


def public_half(key: Path) -> Path:
    return key.with_name(f"{key.name}.pub")
