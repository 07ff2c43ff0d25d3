"""`make bench-hung`: what users of one endpoint get while HUNG calls hang on another. The upstream is nginx; the hung
calls end at a socket that takes connections and never answers.
"""

from __future__ import annotations

import argparse
import http.client
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import quantiles

from tests.bench.readme import put
from tests.bench.wrk import ANSWER, nginx
from tests.support.stack import Sidecar, ask, until
from tests.support.upstream import HOLT

HUNG = 128
PROBES, PAUSE = 4, 0.02
"""Users of the other endpoint, and the seconds that each pauses between requests."""
AGAIN = 1.0
"""Seconds, about, after which who was refused on the endpoint that hangs asks again."""


@dataclass
class Probe(threading.Thread):
    """Asks for a note again and again; `took` has (when it ended, seconds) of each answer, `bad` the other statuses."""

    port: int
    stop: threading.Event
    took: list[tuple[float, float]] = field(default_factory=list)
    bad: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=40)
        while not self.stop.wait(PAUSE):
            began = time.monotonic()
            connection.request("GET", "/notes/5", headers=HOLT)
            answer = connection.getresponse()
            answer.read()
            ended = time.monotonic()
            if answer.status == 200:
                self.took.append((ended, ended - began))
            else:
                self.bad.append(answer.status)
        connection.close()


def measure(port: int, seconds: float) -> str:
    """p50, p99 (ms), the longest time without an answer (s), and answers that were not 200."""
    stop = threading.Event()
    probes = [Probe(port, stop) for _ in range(PROBES)]
    for probe in probes:
        probe.start()
    time.sleep(seconds)
    stop.set()
    for probe in probes:
        probe.join(45)
    times = quantiles([took for probe in probes for _, took in probe.took], n=100)
    ends = sorted(end for probe in probes for end, _ in probe.took)
    gap = max(later - earlier for earlier, later in pairwise(ends))
    return (
        f"{len(ends)} | {times[49] * 1000:.1f} | {times[98] * 1000:.1f} | {gap:.2f} | {sum(len(p.bad) for p in probes)}"
    )


def hang(port: int, count: int, method: str) -> None:
    """So many clients, each with a call to the endpoint that hangs, all the time: a process of its own, which ends with
    its parent."""

    def client() -> None:
        while True:
            body = None if method == "GET" else {"name": "Rex"}
            try:
                ask(port, method, f"/patients/{random.randrange(10**6)}", HOLT, body, timeout=40)
            except OSError:
                print("a hung call got no answer", file=sys.stderr)
            time.sleep(AGAIN * random.uniform(0.5, 1.5))  # people do not ask in step

    for _ in range(count):
        threading.Thread(target=client, daemon=True).start()
    sys.stdin.read()


@contextmanager
def hanging(port: int, count: int, method: str) -> Iterator[None]:
    """Runs `hang` meanwhile."""
    command = [sys.executable, "-m", "tests.bench.hung", "--hang", str(port), str(count), method]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        try:
            yield
        finally:
            process.communicate(timeout=40)


def run(seconds: float) -> Iterator[str]:

    with ExitStack() as stack:
        hole = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))
        away = f"location /patients {{ proxy_pass http://127.0.0.1:{hole.getsockname()[1]}; proxy_read_timeout 90s; }}"
        upstream, _ = stack.enter_context(nginx(ANSWER, more=away))
        data = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "data"
        sidecar = stack.enter_context(Sidecar(f"http://127.0.0.1:{upstream}", data))
        until(lambda: sidecar.ask("GET", "/notes/5", HOLT).status == 200)
        measure(sidecar.port, 2)  # warm
        told = f"`make bench-hung` ({seconds:.0f} s each, load average {os.getloadavg()[0]:.1f} as it began)"
        yield f"Users of `GET /notes/{{id}}`, 200 requests a second, measured by {told}:\n"
        yield "| meanwhile | answers | p50 ms | p99 ms | longest without an answer, s | not answered well |"
        yield "|---|---|---|---|---|---|"
        yield f"| nothing hangs | {measure(sidecar.port, seconds)} |"
        for method in ("GET", "PATCH"):
            with hanging(sidecar.port, HUNG, method):
                first = measure(sidecar.port, 1)
                yield f"| {HUNG} calls hang on `{method} /patients/{{id}}`: their first second | {first} |"
                yield f"| … and from then on | {measure(sidecar.port, seconds)} |"
            yield f"| nothing hangs any more | {measure(sidecar.port, seconds)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--readme", type=Path, help="a file to put the table into")
    parser.add_argument("--hang", nargs=3, metavar=("PORT", "COUNT", "METHOD"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.hang:
        hang(int(given.hang[0]), int(given.hang[1]), given.hang[2])
        return
    lines = []
    for line in run(given.seconds):
        print(line, flush=True)
        lines.append(line)
    if given.readme:
        put(given.readme, "bench-hung", "\n".join(lines))


if __name__ == "__main__":
    main()
