"""What clients did and saw: one line an operation. `began` and `ended` are of time.monotonic()."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class Outcome(StrEnum):
    OK = "ok"
    FAIL = "fail"
    """It certainly took no effect."""
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Operation:
    """One operation. A record is named by its title, which is unique; `value` is its body, written by one client only.

    create: title, value, and `ident` in an answer. update: title, value. delete: title. read: title, and what was seen
    (`seen`: the body, None: it was not there). list: `seen` is [[title, body], …]. screen: `value` is the image, `seen`
    what was found.
    """

    client: int
    kind: str
    outcome: Outcome
    began: float
    ended: float
    title: str = ""
    value: str = ""
    ident: int = 0
    seen: Any = None
    status: int = 0
    by: str = ""
    """Who answered: the Cache-Status."""
    target: str = ""
    """What was asked for: its method and path."""
    request: str = ""
    """The X-Request-Id of the answer."""


class History:
    """Collects operations of many threads."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self._lock = threading.Lock()

    def add(self, operation: Operation) -> None:
        with self._lock:
            self.operations.append(operation)

    def save(self, path: Path) -> None:
        path.write_text("".join(json.dumps(asdict(operation)) + "\n" for operation in self.operations))


def load(path: Path) -> list[Operation]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [Operation(**{**line, "outcome": Outcome(line["outcome"])}) for line in lines]
