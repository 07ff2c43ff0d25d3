"""Signs the journal at intervals: follows every segment as it grows, and states how far it has come.

It signs nothing that it has not checked: a line that does not continue its chain is told, and its segment is signed no
further. What it signs was there SETTLE seconds before, so that lines that a failed sync takes back are not among it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sidecar.journal.chain import Bad, Chain, link
from sidecar.journal.checkpoints import CheckpointNotKept
from sidecar.journal.keys import SigningError, SigningKey, raw_public
from sidecar.journal.segment import first_previous
from sidecar.journal.statements import BadStatement, Statement, Statements

SETTLE: Final = 2.0
log = logging.getLogger(__name__)


@dataclass
class _Followed:
    """How far a segment was followed."""

    offset: int
    chain: Chain
    signed: int = 0
    trouble: str | None = None

    @property
    def grown(self) -> bool:
        return self.chain.sequence > self.signed


class Signer:
    """One per journal directory. `checkpoint(name, sequence, hash)` keeps a statement's place in the event store."""

    def __init__(
        self, journal: Path, statements: Statements, key: SigningKey, checkpoint: Callable[[str, int, str], None],
        beside: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:  # fmt: skip
        """`beside`: what is stated with the heads, such as the outbox's mark."""
        self._journal = journal
        self._statements = statements
        self._key = key
        self._checkpoint = checkpoint
        self._beside = beside
        self._followed: dict[str, _Followed] = {}
        self._sizes: dict[str, int] = {}
        self.trouble: str | None = None
        """What keeps the journal, or a part of it, from being signed."""

    def run(self, stop: threading.Event, every: float) -> None:
        """Signs every so many seconds until `stop` is set."""
        pause = min(every, SETTLE)
        while not stop.wait(pause):
            pause = every
            try:
                self.look()
                if not stop.wait(SETTLE):
                    self.sign()
            except Exception as error:
                self._troubled(f"the journal could not be signed: {error}")

    def finish(self) -> None:
        """Signs all that is there: nobody writes any more, so nothing has to settle."""
        try:
            self.look()
            self.sign()
        except Exception as error:
            self._troubled(f"the journal's end could not be signed: {error}")

    def look(self) -> None:
        """Takes the segments' sizes: `sign` goes no further."""
        self._sizes = {path.stem: path.stat().st_size for path in self._journal.glob("*.jsonl")}

    def sign(self) -> Statement | None:
        """Follows what is new up to the last look, and states it; None: nothing is new, nor the key. Raises OSError and
        others."""
        self._sizes = {name: size for name, size in self._sizes.items() if (self._journal / f"{name}.jsonl").exists()}
        grown = [followed for name in sorted(self._sizes) if (followed := self._follow(name, self._sizes[name])).grown]
        for name in self._followed.keys() - self._sizes.keys():
            del self._followed[name]
        if not grown and not self._succeeds():
            return None
        heads = {each.chain.segment: {"sequence": each.chain.sequence, "hash": each.chain.hash} for each in grown}
        statement = self._say({"heads": heads, **self._beside()})
        for followed in grown:
            followed.signed = followed.chain.sequence
        if not any(followed.trouble for followed in self._followed.values()):
            self.trouble = None
        return statement

    def dropping(self, segments: Mapping[str, str]) -> bool:
        """Before retention removes segments: states why. False: it could not be stated, so they must stay."""
        there = [path.stem for path in self._journal.glob("*.jsonl") if path.stem not in segments]
        try:
            self._say({"dropped": dict(segments)}, there)
        except (OSError, BadStatement, SigningError) as error:
            self._troubled(f"segments are kept, since their removal could not be stated: {error}")
            return False
        return True

    def _say(self, said: Mapping[str, Any], alive: Iterable[str] | None = None) -> Statement:
        statement = self._statements.append(self._key, said, None if alive is None else list(alive))
        name = self._statements.told().name
        assert name is not None
        try:
            self._checkpoint(name, statement.sequence, statement.hash)
        except CheckpointNotKept:
            pass  # the next statement's checkpoint does as well
        return statement

    def _succeeds(self) -> bool:
        """Whether the key is new, and has signed nothing yet: who knows only the new one would trust nothing."""
        return self._statements.told().names_next(raw_public(self._key.private()))

    def _follow(self, name: str, size: int) -> _Followed:
        """The segment, followed over its whole lines before `size` as far as they continue its chain."""
        path = self._journal / f"{name}.jsonl"
        followed = self._followed.get(name) or self._resume(name, path)
        self._followed[name] = followed
        erased = self._statements.told().erased
        if followed.trouble is None and size > followed.offset:
            with path.open("rb") as file:
                file.seek(followed.offset)
                for raw in file:
                    if followed.offset + len(raw) > size or not raw.endswith(b"\n"):
                        break
                    try:
                        followed.chain = link(raw, followed.chain, erased)
                    except Bad as bad:
                        followed.trouble = f"{path}, line {followed.chain.sequence + 1}: {bad}"
                        self._troubled(followed.trouble)
                        break
                    followed.offset += len(raw)
        return followed

    def _resume(self, name: str, path: Path) -> _Followed:
        """Where the last statement about the segment left it. A segment's lines are numbered from 1, as its events."""
        points = self._statements.told().points.get(name, {})
        signed = max(points, default=0)
        if not signed:
            return _Followed(0, Chain(name, 0, first_previous(name)))
        offset = line = 0
        with path.open("rb") as file:
            for line, raw in enumerate(file, 1):
                offset += len(raw)
                if line == signed:
                    break
        found = _Followed(offset, Chain(name, signed, points[signed]), signed)
        if line < signed:
            found.trouble = f"{path}, line {line + 1}: cut: it was signed up to {signed}"
            self._troubled(found.trouble)
        return found

    def _troubled(self, why: str) -> None:
        if why != self.trouble:
            log.error("%s", why, extra={"fields": {"event.action": "journal_not_signed"}})
        self.trouble = why
