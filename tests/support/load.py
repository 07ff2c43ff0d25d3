"""Steady traffic for tests, which knows exactly what was answered, and so what has to have been recorded."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from pathlib import Path
from types import TracebackType

import orjson

from tests.support.stack import until
from tests.support.upstream import HOLT

ASKED = ("/patients/17", "/notes", "/notes?patient_id=17", "/staffs/me")


class Load:
    """`users` threads that ask without a pause, on kept-alive connections, from `with` to its end.

    `answered` holds the X-Request-Id of every answer that came whole, whatever its status: a request that was cut off
    is not in it. `statuses` counts them.
    """

    def __init__(self, port: int, users: int = 4, pause: float = 0.0) -> None:
        self.answered: list[str] = []
        self.statuses: dict[int, int] = {}
        self.longest_silence = 0.0
        self._port = port
        self._pause = pause
        self._stop = threading.Event()
        self._numbers = itertools.count()
        self._last = time.monotonic()
        self._threads = [threading.Thread(target=self._user, daemon=True) for _ in range(users)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(40)

    def more(self, count: int, seconds: float = 15) -> None:
        """Waits until `count` more requests have been answered."""
        target = len(self.answered) + count
        until(lambda: len(self.answered) >= target, seconds, f"{count} more answers")

    def _user(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        while not self._stop.wait(self._pause):
            number = next(self._numbers)
            try:
                connection.request(
                    "GET", ASKED[number % len(ASKED)], headers={**HOLT, "X-Request-Id": f"{id(self)}-{number}"}
                )
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                self._stop.wait(0.01)
                continue
            self._note(answer)
        connection.close()

    def _note(self, answer: http.client.HTTPResponse) -> None:
        now = time.monotonic()
        self.longest_silence, self._last = max(self.longest_silence, now - self._last), now
        self.answered.append(answer.getheader("X-Request-Id") or "an answer without an id")
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1


def journalled(data: Path) -> list[tuple[str, str]]:
    """(X-Request-Id, event.id) of every whole line of the journal."""
    found = []
    for path in sorted((data / "journal").glob("*.jsonl")):
        for line in path.read_bytes().split(b"\n")[:-1]:
            event = orjson.loads(line)["event"]
            found.append((event["http"]["request"]["id"], event["event"]["id"]))
    return found
