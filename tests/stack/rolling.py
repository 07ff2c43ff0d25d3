"""Rolling restarts under traffic: `python -m tests.stack.rolling`, 10,000 requests over 20 restarts, none may fail.

Two ways. `pair`: two sidecars on one PostgreSQL behind a real HAProxy with the printed configuration, stopped with
SIGTERM and started again one after another. `single`: one sidecar, users on kept-alive connections of its own, reloaded
with SIGHUP. In both, reads and writes; a write that is answered is at the upstream once in the end.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from compose.hosp.server import Simulator
from tests.stack.front import Front
from tests.support.postgres import cluster
from tests.support.stack import Sidecar, until
from tests.support.upstream import basic

USERS = 6
PAUSE = 0.01
"""Seconds between a user's requests: what a person's client does not do, but a gateway's might."""


@dataclass
class Tally:
    """What users saw. `failures` names each request that did not get a whole answer below 500."""

    asked: int = 0
    failures: list[str] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    closed: int = 0
    """Answers with `Connection: close`."""


class Users:
    """`USERS` threads, on kept-alive connections, one request in four a write."""

    def __init__(self, port: int, user: tuple[str, str], pause: float = PAUSE) -> None:
        self.tally = Tally()
        self._pause = pause
        self._port = port
        self._fields = {"Authorization": basic(*user), "Content-Type": "application/json"}
        self._stop, self._lock, self._numbers = threading.Event(), threading.Lock(), itertools.count()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(USERS)]
        for thread in self._threads:
            thread.start()

    def wait(self, asked: int, seconds: float = 120) -> None:
        until(lambda: self.tally.asked >= asked, seconds, f"{asked} requests, or a failure")

    def stop(self) -> Tally:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        return self.tally

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self._stop.wait(self._pause):
            number = next(self._numbers)
            if number % 4:
                self._ask(connection, "GET", ("/hospitals", "/patients/1", "/staffs/me")[number % 3], None)
            else:
                title = f"r{number}"
                note = {"title": title, "body": "b", "patient_id": 1, "staff_id": 1}
                if self._ask(connection, "POST", "/notes", note):
                    self.tally.titles.append(title)
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, method: str, path: str, body: object) -> bool:
        """Whether a whole answer below 500 came. `http.client` never asks twice."""
        trouble = ""
        try:
            connection.request(method, path, None if body is None else json.dumps(body), self._fields)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status >= 500:
                trouble = f"{answer.status} {said[:300]!r}"
            with self._lock:
                self.tally.closed += answer.getheader("Connection", "").lower() == "close"
        except (OSError, http.client.HTTPException) as error:
            trouble = type(error).__name__
            connection.close()
        with self._lock:
            self.tally.asked += 1
            if trouble:
                self.tally.failures.append(f"{method} {path}: {trouble}")
        return not trouble


@dataclass
class Played:
    """What came of a play. `lost`: answered writes that the upstream does not have; `twice`: those it has twice."""

    tally: Tally
    restarts: int
    lost: list[str]
    twice: list[str]
    seconds: float

    def __str__(self) -> str:
        seen = self.tally
        told = f"{seen.asked} requests, {self.restarts} restarts, {self.seconds:.0f} s: {len(seen.failures)} failed, "
        told += f"{len(self.lost)} writes lost, {len(self.twice)} twice"
        return "\n".join([f"{told} ({len(seen.titles)} writes, {seen.closed} connections closed)", *seen.failures[:10]])


def play(way: str, folder: Path, requests: int, restarts: int) -> Played:
    """Spreads the restarts over the requests."""
    with ExitStack() as stack:
        hosp = stack.enter_context(Simulator("calm"))
        user = hosp.users[0]
        port, sidecar, restart = stack.enter_context((_pair if way == "pair" else _single)(hosp, user, folder))
        users, began = Users(port, user), time.monotonic()
        try:
            for number in range(restarts):
                users.wait(requests * number // restarts)
                restart(number)
            users.wait(requests)
        finally:
            tally = users.stop()
        seconds = time.monotonic() - began
        until(
            lambda: not sidecar.plane("GET", "/outbox").json()["entries"], 120, "what was accepted is at the upstream"
        )
        applied = Counter(str(w["body"].get("title")) for w in hosp.hosp.applied if isinstance(w["body"], dict))
    lost = [title for title in tally.titles if not applied[title]]
    return Played(tally, restarts, lost, [title for title, times in applied.items() if times > 1], seconds)


Way = Iterator[tuple[int, Sidecar, Callable[[int], None]]]
"""The users' port, a sidecar to ask about the outbox, and the restart."""


def _settings(user: tuple[str, str]) -> dict[str, str]:
    """HOSP is waited for, however busy this machine is: here restarts are tried, not deadlines."""
    credentials = {"backfill_credentials": ":".join(user), "backfill_rate": "200"}
    return {**credentials, "deadline": "20s", "hedge_after": "20s", "grace": "20s"}


@contextmanager
def _single(hosp: Simulator, user: tuple[str, str], folder: Path) -> Way:
    with Sidecar(hosp.url, folder / "data", evidence="compose.hosp", **_settings(user)) as sidecar:
        assert sidecar.cli("backfill").returncode == 0
        yield sidecar.port, sidecar, lambda _number: sidecar.reload()


@contextmanager
def _pair(hosp: Simulator, user: tuple[str, str], folder: Path) -> Way:
    shared = {
        **_settings(user), "seal_key": str(folder / "seal-key"), "bypass_after": "0s", "drain": "2s",
        "trusted_proxies": "127.0.0.1",
    }  # fmt: skip
    with ExitStack() as stack:
        database = stack.enter_context(cluster())
        one, two = (
            stack.enter_context(
                Sidecar(hosp.url, folder / name, node=name, database=database, evidence="compose.hosp", **shared)
            )
            for name in ("one", "two")
        )
        assert one.cli("backfill").returncode == 0
        servers = [f"127.0.0.1:{sidecar.port}/{sidecar.control}" for sidecar in (one, two)]
        front = stack.enter_context(Front("haproxy", "inline", one, folder / "haproxy", servers=servers))

        def restart(number: int) -> None:
            sidecar = (one, two)[number % 2]
            sidecar.stop()
            sidecar.start()
            time.sleep(1.2)  # until HAProxy's check (every 500 ms) has seen that it is back

        yield front.port, one, restart


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--way", choices=("pair", "single"), action="append")
    given = parser.parse_args()
    failed = False
    for way in given.way or ("pair", "single"):
        with tempfile.TemporaryDirectory(prefix="understudy-rolling-") as folder:
            played = play(way, Path(folder), given.requests, given.restarts)
        print(f"{way}: {played}", flush=True)
        failed |= bool(played.tally.failures or played.lost or played.twice)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
