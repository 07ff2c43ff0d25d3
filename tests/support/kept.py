"""What takes long to make and comes out the same each time: made by whoever needs it first, beside pytest's cache."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".pytest_cache" / "understudy"
MADE_FROM = ("sidecar", "compose", "tests/support")
"""Whatever changes in these has it made again."""


def kept(name: str, make: Callable[[], Any]) -> Any:
    """What `make` made, as JSON says it; others who want it meanwhile wait, for they would make the same."""
    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
        lock = (FOLDER / f"{name}.lock").open("w")
    except PermissionError:  # another user's, who ran the tests before
        return make()
    path, new = FOLDER / f"{name}.json", FOLDER / f"{name}.new"
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists() and (found := json.loads(path.read_text()))["made_from"] == made_from():
            return found["made"]
        made = make()
        new.write_text(json.dumps({"made_from": made_from(), "made": made}))
        new.replace(path)
        return made


@cache
def made_from() -> str:
    """A digest of the program's own text."""
    files = sorted(path for folder in MADE_FROM for path in (ROOT / folder).rglob("*") if _is_source(path))
    return sha256(b"".join(sha256(path.read_bytes()).digest() for path in files)).hexdigest()


def _is_source(path: Path) -> bool:
    return path.suffix in (".py", ".yaml", ".json") and path.is_file()
