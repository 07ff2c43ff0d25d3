"""`make bench`: the upstream direct, nginx, mitmproxy recording with -w, and the sidecar recording durably, by turns in
one run on one machine; the median of each figure over the rounds. Then the sidecar's memory over 200,000 requests.

Needs wrk and nginx on PATH. The sidecar ships what it records meanwhile; how far it is behind at the end is told.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from tests.bench.mitmproxy import VERSION, mitmproxy
from tests.bench.readme import put
from tests.bench.wrk import ANSWER, PASS, Run, nginx, wrk
from tests.consistency.nemesis import children
from tests.support.stack import Sidecar

CONNECTIONS = (1, 16, 128)
PEER, OURS = f"mitmproxy {VERSION} -w", "Understudy, recording durably"


def speed(targets: Mapping[str, int], rounds: int, seconds: int) -> Iterator[str]:
    """Rows: every target in every round, so that whatever else the machine does meets all of them."""
    yield "| way to the upstream | connections | requests/s (lowest – highest) | of mitmproxy's | p50 ms | p99 ms |"
    yield "|---|---|---|---|---|---|"
    for connections in CONNECTIONS:
        runs: dict[str, list[Run]] = {name: [] for name in targets}
        for _ in range(rounds):
            for name, port in targets.items():
                runs[name].append(wrk(port, connections, seconds))
        base = median(run.rate for run in runs[PEER])
        for name, mine in runs.items():
            rates = sorted(run.rate for run in mine)
            rate = f"{median(rates):.0f} ({rates[0]:.0f} – {rates[-1]:.0f}) | {median(rates) / max(base, 1):.1f}"
            times = f"{median(run.p50 for run in mine):.2f} | {median(run.p99 for run in mine):.1f}"
            yield f"| {name} | {connections} | {rate} | {times} |"


def memory(sidecar: Sidecar, requests: int) -> str:
    """Memory of all the sidecar's processes, at each fifth of so many requests."""
    done, found = 0.0, [resident(sidecar)]
    for part in range(1, 6):
        while done < requests * part / 5:
            done += wrk(sidecar.port, 16, 2).rate * 2
        found.append(resident(sidecar))
    told = ", ".join(f"{mebibytes:.0f}" for mebibytes in found)
    return f"Memory of all its processes, in MiB, at each fifth of {requests:,} further requests: {told}."


def resident(sidecar: Sidecar) -> float:
    """MiB that the processes hold (Pss: what they share counts once)."""
    total = 0
    for pid in [sidecar.process.pid, *children(sidecar)]:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def run(rounds: int, seconds: int, requests: int) -> Iterator[str]:
    with ExitStack() as stack:
        upstream = stack.enter_context(nginx(ANSWER))
        proxy = stack.enter_context(nginx(PASS, upstream))
        data = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "data"
        sidecar = stack.enter_context(Sidecar(f"http://127.0.0.1:{upstream}", data))
        peer = stack.enter_context(mitmproxy(upstream, data.parent))
        for port in (peer, sidecar.port):
            wrk(port, 16, 3)  # warm
        told = f"{rounds} rounds of {seconds} s by turns, medians; {os.cpu_count()} cores for everything, wrk included"
        yield f"Measured by `make bench` ({told}; load average {os.getloadavg()[0]:.1f} as it began):\n"
        targets = {"direct": upstream, "nginx": proxy, PEER: peer, OURS: sidecar.port}
        yield from speed(targets, rounds, seconds)
        waiting = sidecar.plane("GET", "/shipper").json()["unshipped"]
        yield f"\nOf its events {waiting:,} were not yet in the event store as this ended."
        if requests:
            yield memory(sidecar, requests)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of each run")
    parser.add_argument("--requests", type=int, default=200_000, help="over which memory is watched; 0: it is not")
    parser.add_argument("--readme", type=Path, help="a file to put the table into")
    given = parser.parse_args()
    lines = []
    for line in run(given.rounds, given.seconds, given.requests):
        print(line, flush=True)
        lines.append(line)
    if given.readme:
        put(given.readme, "bench", "\n".join(lines))


if __name__ == "__main__":
    main()
