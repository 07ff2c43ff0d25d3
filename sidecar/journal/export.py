"""Exports the journal: its lines byte for byte, then the signed statements about them. Verified with nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from sidecar.journal.keys import SigningKey
from sidecar.journal.offsets import started
from sidecar.journal.statements import Statements


def export(
    paths: Iterable[Path], statements: Statements | None = None, key: SigningKey | None = None
) -> Iterator[bytes]:
    """Every whole line of the segments in the order in which these were begun, then the statements.

    With `key` the export ends with a statement of its own, which names all that it holds. Raises OSError, SigningError
    and BadStatement. Segments that retention removes meanwhile are exported all the same.
    """
    with ExitStack() as held:
        if statements is not None:
            with statements.locked():
                files = [held.enter_context(path.open("rb")) for path in sorted(paths, key=lambda p: started(p.name))]
                told, said = statements.told(), statements.lines()
        else:
            files = [held.enter_context(path.open("rb")) for path in sorted(paths, key=lambda p: started(p.name))]
            told, said = None, []
        heads: dict[str, dict[str, Any]] = {}
        for file in files:
            last = None
            for raw in _whole(file):
                yield raw
                last = raw
            heads |= _head(last)
        yield from said
        if statements is not None and key is not None and told is not None:
            yield statements.closing(key, {"heads": heads}, told)


def _head(raw: bytes | None) -> dict[str, dict[str, Any]]:
    """Where a segment's last line stands; nothing for what no journal wrote: `verify` tells that."""
    try:
        line = orjson.loads(raw or b"")
        return {str(line["segment"]): {"sequence": line["sequence"], "hash": line["hash"]}}
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return {}


def _whole(file: BinaryIO) -> Iterator[bytes]:
    return (raw for raw in file if raw.endswith(b"\n"))
