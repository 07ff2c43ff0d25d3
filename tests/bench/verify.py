"""How long verifying a million events takes, and that damage among them is found: `python -m tests.bench.verify`.

The events are what the sidecar records: exchanges made into events by `to_event`, written by the journal's own
segments, signed as the background process signs them. `--damage N`: so many damaged copies are verified as well.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sidecar.events.document import to_event
from sidecar.exchange import AnsweredBy, Attempt, Exchange, Outcome
from sidecar.http.identifiers import traceparent, uuid7
from sidecar.http.messages import Request, Response
from sidecar.journal.keys import SigningKey, raw_public
from sidecar.journal.segment import create
from sidecar.journal.signer import Signer
from sidecar.journal.statements import Statements
from sidecar.journal.verify import Verdict, verify

SEGMENT = 64 << 20


def exchange(number: int) -> Exchange:
    """A note opened through the gateway."""
    at = 1_790_000_000_000_000_000 + number * 10_000_000
    body = b'{"id":%d,"title":"Round","body":"Eats well, %s","patient_id":%d,"staff_id":3}' % (number, b"x" * 150, 17)
    headers = [("Authorization", "Basic RHIgSG9sdDpzZWNyZXQ="), ("User-Agent", "vet-desk/4.1")]
    return Exchange(
        uuid7(at), at, Request("GET", f"/notes/{number}", headers, remote="192.0.2.7"), f"r-{number}",
        traceparent(None), "notes.read", "GET /notes/{id}", "read", "notes", str(number), "17", "Dr Holt",
        attempts=[Attempt(at, 4_000_000, Outcome.SUCCESS, 200)],
        response=Response(200, [("Content-Type", "application/json")], body), outcome=Outcome.SUCCESS,
        answered_by=AnsweredBy.UPSTREAM, ended=at + 5_000_000,
    )  # fmt: skip


class Signed:
    """A signed journal of so many events."""

    def __init__(self, directory: Path, events: int) -> None:
        self.journal, self.key = directory / "journal", SigningKey(directory / "sign-key")
        self.statements = Statements(directory / "statements.jsonl", "bench")
        self.checkpoints: dict[str, tuple[int, str]] = {}
        segment = create(self.journal, "bench-1")
        for number in range(events):
            if segment.size >= SEGMENT:
                segment.close()
                segment = create(self.journal, "bench-1")
            event, bodies = to_event(
                exchange(number), node="bench", contract_secrets=frozenset({"password"}), body_cap=65536
            )
            segment.write(segment.line(event, bodies))
        segment.close()
        signer = Signer(self.journal, self.statements, self.key, self._keep)
        signer.look()
        signer.sign()

    def _keep(self, name: str, sequence: int, hash: str) -> None:
        self.checkpoints[name] = sequence, hash

    def verify(self) -> tuple[Verdict, float]:
        began = time.perf_counter()
        verdict = verify(
            sorted(self.journal.glob("*.jsonl")), self.checkpoints, statements=self.statements.path,
            trusted=raw_public(self.key.private()), processes=os.cpu_count() or 1,
        )  # fmt: skip
        return verdict, time.perf_counter() - began


Damage = Callable[[Path, random.Random], str]


def flip(path: Path, dice: random.Random) -> str:
    """Flips one bit of a segment, in place."""
    place, bit = dice.randrange(path.stat().st_size), dice.randrange(8)
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1 << bit]))
    return f"bit {bit} of byte {place} of {path.name} flipped"


def remove(path: Path, dice: random.Random) -> str:
    """Removes one record."""
    lines = path.read_bytes().splitlines(keepends=True)
    number = dice.randrange(len(lines))
    path.write_bytes(b"".join(lines[:number] + lines[number + 1 :]))
    return f"line {number + 1} of {path.name} removed"


def swap(path: Path, dice: random.Random) -> str:
    """Swaps two records."""
    lines = path.read_bytes().splitlines(keepends=True)
    one, two = sorted(dice.sample(range(len(lines)), 2))
    lines[one], lines[two] = lines[two], lines[one]
    path.write_bytes(b"".join(lines))
    return f"lines {one + 1} and {two + 1} of {path.name} swapped"


def cut(path: Path, dice: random.Random) -> str:
    """Cuts the tail off, at a line's end."""
    lines = path.read_bytes().splitlines(keepends=True)
    kept = dice.randrange(len(lines))
    path.write_bytes(b"".join(lines[:kept]))
    return f"{path.name} cut after line {kept}"


def gone(path: Path, dice: random.Random) -> str:
    """Removes a whole segment."""
    path.unlink()
    return f"{path.name} removed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--damage", type=int, default=5)
    parser.add_argument("--seed", type=int, default=2026)
    given = parser.parse_args()
    dice = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as directory:
        signed = Signed(Path(directory), given.events)
        size = sum(path.stat().st_size for path in signed.journal.glob("*.jsonl"))
        verdict, seconds = signed.verify()
        assert verdict.ok, verdict.first_bad
        print(
            f"{verdict.events} events, {size / 1e9:.2f} GB: verified in {seconds:.1f} s, seed {given.seed}", flush=True
        )
        for number in range(given.damage):
            path = dice.choice(sorted(signed.journal.glob("*.jsonl")))
            kept = Path(directory) / "kept"
            shutil.copyfile(path, kept)
            done = (flip, remove, swap, cut, gone)[number % 5](path, dice)
            verdict, seconds = signed.verify()
            print(f"{done}: {verdict.first_bad} in {seconds:.1f} s", flush=True)
            assert not verdict.ok, done
            shutil.copyfile(kept, path)


if __name__ == "__main__":
    main()
