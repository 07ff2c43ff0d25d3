"""Clients: each makes records of its own, changes and deletes them, reads them and lists all; and writes down what
it did and what it saw."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.consistency.history import History, Operation, Outcome
from tests.support.stack import Got, ask
from tests.support.upstream import basic

RECORDLESS = ("create", "list", "browse", "screen")
KINDS = {"create": 0.3, "update": 0.25, "delete": 0.05, "read": 0.25, "list": 0.15}


@dataclass
class Mine:
    """A record of this client's."""

    title: str
    ident: int
    deleted: bool = False


class Client:
    """One user, in a thread. `pause` is the mean time between two operations, in seconds; `kinds` are their shares."""

    def __init__(
        self, number: int, credentials: tuple[str, str], port: int, history: History, seed: int, pause: float,
        kinds: Mapping[str, float] = KINDS,
    ) -> None:  # fmt: skip
        self._number = number
        self._fields = {"Authorization": basic(*credentials), "Accept": "application/json"}
        self._port = port
        self._history = history
        self._dice = random.Random(seed * 1000 + number)
        self._pause = pause
        self._kinds = dict(kinds)
        self._mine: list[Mine] = []
        self._count = 0
        self._target, self._ended = "", 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"client-{number}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Begins nothing more."""
        self._stopping.set()

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping.wait(self._dice.expovariate(1 / self._pause)):
            kind = self._dice.choices(list(self._kinds), list(self._kinds.values()))[0]
            self._count += 1
            live = [record for record in self._mine if not record.deleted]
            if kind not in RECORDLESS and not live:
                kind = "create"
            work = getattr(self, f"_{kind}")
            work() if kind in RECORDLESS else work(self._dice.choice(live[-30:]))

    def _create(self) -> None:
        title, value = f"t{self._number}-{self._count}", f"v{self._number}-{self._count}"
        note = {"title": title, "body": value, "patient_id": self._dice.randint(1, 40), "staff_id": 1}
        got, began = self._ask("POST", "/notes", note)
        ident = got.json()["id"] if got is not None and got.status in (200, 201) else 0
        self._tell("create", got, began, title=title, value=value, ident=ident)
        if ident:
            self._mine.append(Mine(title, ident))

    def _update(self, record: Mine) -> None:
        value = f"v{self._number}-{self._count}"
        got, began = self._ask("PATCH", f"/notes/{record.ident}", {"body": value})
        self._tell("update", got, began, title=record.title, value=value, ident=record.ident)

    def _delete(self, record: Mine) -> None:
        got, began = self._ask("DELETE", f"/notes/{record.ident}")
        outcome = self._tell("delete", got, began, title=record.title, ident=record.ident)
        record.deleted = outcome is not Outcome.FAIL

    def _read(self, record: Mine) -> None:
        got, began = self._ask("GET", f"/notes/{record.ident}")
        seen: Any = None
        if got is not None and got.status == 200:
            row = got.json()
            seen = row["body"] if row["title"] == record.title else f"another record: {row['title']}"
        self._tell("read", got, began, title=record.title, ident=record.ident, seen=seen)

    def _list(self) -> None:
        got, began = self._ask("GET", "/notes")
        rows = got.json() if got is not None and got.status == 200 else []
        seen = [[row["title"], row["body"]] for row in rows if row["title"].startswith("t")]
        self._tell("list", got, began, seen=seen)

    def _browse(self) -> None:
        patient = self._dice.randint(1, 40)
        paths = (f"/patients/{patient}", "/patients", "/hospitals", "/staffs/me", f"/notes?patient_id={patient}")
        got, began = self._ask("GET", self._dice.choice(paths))
        self._tell("browse", got, began)

    def _screen(self) -> None:
        image = "".join(self._dice.choices("ABCDEFGH", k=37))
        got, began = self._ask("POST", f"/patients/{self._dice.randint(1, 40)}/screen", {"images": [image]})
        seen = got.json()["overall"] if got is not None and got.status == 200 else None
        self._tell("screen", got, began, value=image, seen=seen)

    def _ask(self, method: str, path: str, body: Any = None) -> tuple[Got | None, float]:
        began, self._target = time.monotonic(), f"{method} {path}"
        try:
            got = ask(self._port, method, path, self._fields, body, timeout=60)
        except (OSError, http.client.HTTPException):
            got = None
        self._ended = time.monotonic()  # it is there; to read it takes time of ours
        try:
            readable = got is not None and (got.status >= 300 or not got.body or got.json() is not None)
        except json.JSONDecodeError:
            readable = False
        return (got if readable else None), began

    def _tell(self, kind: str, got: Got | None, began: float, **more: Any) -> Outcome:
        outcome = _outcome(kind, got)
        if got is not None:
            more |= {"status": got.status, "by": got["Cache-Status"], "request": got["X-Request-Id"]}
        self._history.add(Operation(self._number, kind, outcome, began, self._ended, target=self._target, **more))
        return outcome


def _outcome(kind: str, got: Got | None) -> Outcome:
    """A 503 of ours says that nothing was done; what else is above 499, or nothing at all, says nothing."""
    if got is None:
        return Outcome.UNKNOWN
    if kind == "read" and got.status == 404:
        return Outcome.OK
    if got.status < 300:
        return Outcome.OK
    ours = got["Content-Type"] == "application/problem+json"
    return Outcome.FAIL if got.status < 500 or (got.status == 503 and ours) else Outcome.UNKNOWN
