"""Puts a measured table into a text, between its marks <!-- NAME --> and <!-- /NAME -->."""

from __future__ import annotations

import sys
from pathlib import Path


def put(path: Path, name: str, made: str) -> None:
    """Replaces what stands between the marks; ends with a word when there are none."""
    head, begin, rest = path.read_text().partition(f"<!-- {name} -->")
    _, end, tail = rest.partition(f"<!-- /{name} -->")
    if not begin or not end:
        sys.exit(f"{path}: no marks <!-- {name} --> and <!-- /{name} -->")
    path.write_text(f"{head}{begin}\n{made}\n{end}{tail}")
