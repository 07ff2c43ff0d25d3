"""A real balancer with the configuration that `understudy lb` prints, users who count, and parts that are killed.

`python -m tests.stack.front` plays every balancer and mode and prints README's table.
"""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from compose.hosp.server import Simulator
from tests.support.stack import Sidecar, free_port, until
from tests.support.upstream import basic

PLAYS = tuple((program, mode) for program in ("haproxy", "nginx") for mode in ("inline", "failover"))
PHASES = ("all well", "HOSP dead", "HOSP back", "sidecar dead", "sidecar back", "both dead", "both back")


class Front:
    """haproxy or nginx in the foreground, configured by the command."""

    def __init__(
        self, program: str, mode: str, sidecar: Sidecar, folder: Path, *more: str, servers: Sequence[str] = ()
    ) -> None:  # fmt: skip
        """`more`: further words for the command; HTTPS is served on `secure` when they say `--https SECURE`.
        `servers`: the sidecars' addresses, if they are more than the one."""
        self.port, self.secure, self.socket = free_port(), free_port(), folder / "s"
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / f"{program}.conf"
        place = ["--socket", str(self.socket)] if program == "haproxy" else ["--folder", str(folder)]
        place += [f"127.0.0.1:{self.secure}" if word == "SECURE" else word for word in more]
        made = sidecar.cli(
            "lb", program, "--mode", mode, "--listen", f"127.0.0.1:{self.port}", "--out", str(config), *place,
            *(word for server in servers for word in ("--sidecar", server)),
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        assert "not checked" not in made.stderr
        found = shutil.which(program) or shutil.which(program, path="/usr/sbin")
        assert found is not None, f"{program} is needed"
        words = {"haproxy": ["-db", "-f"], "nginx": ["-g", "daemon off;", "-e", str(folder / "error.log"), "-c"]}
        self.reload = [found, "-e", str(folder / "error.log"), "-s", "reload", "-c", str(config)]
        """nginx takes new files with this command."""
        with (folder / f"{program}.log").open("ab") as log:
            self.process = subprocess.Popen([found, *words[program], str(config)], stdout=log, stderr=log)
        try:
            until(lambda: _open(self.port), 40, program)
        except AssertionError:
            self.process.kill()
            self.process.wait(10)
            raise

    def __enter__(self) -> Front:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.process.terminate()
        self.process.wait(10)


@dataclass
class Count:
    """What users saw in one phase: outcomes by (reads or writes, done or failed or unknown)."""

    seen: Counter[tuple[str, str]] = field(default_factory=Counter)

    def words(self, kind: str) -> str:
        asked = sum(count for (what, _), count in self.seen.items() if what == kind)
        return f"{self.seen[kind, 'done']} of {asked}" if asked else "no data"


class Users:
    """Threads that read and write notes without a pause worth the name. A write is never asked twice."""

    def __init__(self, port: int, user: tuple[str, str], threads: int = 4) -> None:
        self.count = Count()
        self.acknowledged: list[str] = []
        self.asked: list[str] = []
        self._port, self._headers = port, {"Authorization": basic(*user), "Accept": "application/json"}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def phase(self, actions: Sequence[Callable[[], None]], requests: int, least: float = 1.0) -> Count:
        """Counts from before the first action until so many requests ended and `least` seconds went by after the last.

        A request is counted in the phase in which it was asked.
        """
        count = self.count = Count()
        for action in actions:
            action()
        self._stop.wait(least)
        until(lambda: sum(count.seen.values()) >= requests, 40, "users get an answer or an error")
        self.count = Count()
        return Count(count.seen.copy())

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(40)

    def _run(self, thread: int) -> None:
        number = 0
        while not self._stop.wait(0.02):
            number += 1
            count, title = self.count, f"{thread}-{number}"
            if number % 3:
                count.seen["reads", self._ask("GET", "/hospitals", None)] += 1
                continue
            self.asked.append(title)
            outcome = self._ask("POST", "/notes", {"title": title, "body": "b", "patient_id": 1, "staff_id": 1})
            if outcome == "done":
                self.acknowledged.append(title)
            count.seen["writes", outcome] += 1

    def _ask(self, method: str, path: str, body: object) -> str:
        """done: a whole 2xx; failed: another answer; unknown: none."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {**self._headers, "Content-Type": "application/json"})
            answer = connection.getresponse()
            json.loads(answer.read() or b"null")
        except ValueError:
            return "failed"
        except (OSError, http.client.HTTPException):
            return "unknown"
        finally:
            connection.close()
        return "done" if 200 <= answer.status < 300 else "failed"


@dataclass
class Seen:
    """What a play showed. `applied` counts each title at HOSP."""

    phases: dict[str, Count]
    acknowledged: list[str]
    asked: list[str]
    applied: Counter[str]

    @property
    def twice(self) -> list[str]:
        return [title for title, times in self.applied.items() if times > 1]

    @property
    def lost(self) -> list[str]:
        return [title for title in self.acknowledged if not self.applied[title]]


def play(program: str, mode: str, folder: Path, requests: int = 60) -> Seen:
    """Kills HOSP, the sidecar, and both, one after another, under traffic; waits for the outbox to be empty."""
    with Simulator("calm") as hosp:
        user = hosp.users[0]
        settings = {"bypass_after": "0s", "trusted_proxies": "127.0.0.1", "late_effect": "1s", "backfill_rate": "200"}
        sidecar = Sidecar(
            hosp.url, folder / "data", backfill_credentials=":".join(user), evidence="compose.hosp", **settings
        )
        try:
            assert sidecar.cli("backfill").returncode == 0
            with Front(program, mode, sidecar, folder) as front:
                until(lambda: sidecar.plane("GET", "/ready/hospitals.list").status == 200, 15, "the standby is ready")
                return _play(hosp, sidecar, Users(front.port, user), requests)
        finally:
            sidecar.stop()


def _play(hosp: Simulator, sidecar: Sidecar, users: Users, requests: int) -> Seen:
    steps: tuple[tuple[Callable[[], None], ...], ...] = (
        (),
        (lambda: hosp.set_profile("outage"),),
        (lambda: hosp.set_profile("calm"),),
        (sidecar.kill,),
        (sidecar.start,),
        (lambda: hosp.set_profile("outage"), sidecar.kill),
        (lambda: hosp.set_profile("calm"), sidecar.start),
    )
    phases = {}
    try:
        for name, actions in zip(PHASES, steps, strict=True):
            # With both dead each refusal takes HAProxy some 3 s: it waits a second before each of two more attempts.
            enough = requests // 10 if name == "both dead" else requests
            phases[name] = users.phase(actions, enough, 4.0 if name.endswith("back") else 1.0)
    finally:
        users.stop()
    until(lambda: not sidecar.plane("GET", "/outbox").json()["entries"], 180, "the outbox is empty")
    titles = Counter(str(write["body"].get("title")) for write in hosp.hosp.applied if isinstance(write["body"], dict))
    return Seen(phases, users.acknowledged, users.asked, titles)


def _open(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main() -> None:
    print("| killed | " + " | ".join(f"{p}, {m}: reads, writes" for p, m in PLAYS) + " |")
    print("|---" * (len(PLAYS) + 1) + "|")
    with tempfile.TemporaryDirectory() as folder:
        seen = [play(program, mode, Path(folder) / f"{program}-{mode}", 120) for program, mode in PLAYS]
    for name in PHASES:
        cells = [f"{s.phases[name].words('reads')}, {s.phases[name].words('writes')}" for s in seen]
        print(f"| {name} | " + " | ".join(cells) + " |")
    print("| writes applied twice | " + " | ".join(str(len(s.twice)) for s in seen) + " |")
    print("| acknowledged writes lost | " + " | ".join(str(len(s.lost)) for s in seen) + " |")


if __name__ == "__main__":
    sys.exit(main())
