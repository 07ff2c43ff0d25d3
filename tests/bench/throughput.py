"""`make bench`: the upstream direct, nginx with a log in JSON, mitmproxy recording with -w, proxy.py, the release of
before and this tree, both recording durably with everything switched on: by turns in one run on one machine, at 1, 16
and 128 connections, with one URL and with 2,000; the median of each figure over the rounds. Each turn ends when its
target rests, so that nobody pays for what another put off. Of each its CPU time a request, of all its processes, what
is done after the answer included; how far its event store is behind after its turns; and its memory. Then this tree's
memory over 200,000 requests.

Needs wrk and nginx on PATH; peers are installed into the cache on first use.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.bench import peers
from tests.bench.peers import MITMPROXY, Target
from tests.bench.readme import put
from tests.bench.wrk import NOTES, Run, nginx, wrk

CONNECTIONS = (1, 16, 128)
URLS = (1, 2000)
PEERS = {
    "nginx": peers.logging_nginx, "mitmproxy": peers.mitmproxy, "proxy.py": peers.proxy_py, "release": peers.release,
    "this-in-two": peers.this_in_two, "this": peers.this,
}  # fmt: skip
HEAD = "| way to the upstream | connections | URLs | requests/s (lowest – highest) | of mitmproxy's | p50 ms | p99 ms |"
MORE = " CPU µs a request | events behind, s |"


@dataclass
class Turns:
    """What one target's turns have measured. `behind`: seconds, at the worst of their ends."""

    runs: list[Run] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    behind: float | None = None


def turn(target: Target, turns: Turns, connections: int, urls: int, seconds: int) -> None:
    before = target.cpu()
    run = wrk(target.port, connections, seconds, urls=urls)
    behind = target.behind()
    target.rest()
    turns.cpu.append((target.cpu() - before) * 1e6 / max(1.0, run.rate * seconds))
    turns.runs.append(run)
    if behind is not None:
        turns.behind = max(behind, turns.behind or 0.0)


def speed(targets: Sequence[Target], rounds: int, seconds: int) -> Iterator[str]:
    """Rows: every target in every round, so that whatever else the machine does meets all of them."""
    yield HEAD + MORE
    yield "|---" * 9 + "|"
    for urls in URLS:
        for connections in CONNECTIONS:
            found = {target.name: Turns() for target in targets}
            for _ in range(rounds):
                for target in targets:
                    turn(target, found[target.name], connections, urls, seconds)
            peer = found.get(f"mitmproxy {MITMPROXY} -w")
            base = median(run.rate for run in peer.runs) if peer else 0.0
            for name, turns in found.items():
                yield f"| {name} | {connections} | {urls:,} | {_figures(turns, base)} |"


def _figures(turns: Turns, base: float) -> str:
    rates = sorted(run.rate for run in turns.runs)
    times = base and f"{median(rates) / base:.1f}"
    return " | ".join(
        [
            f"{median(rates):.0f} ({rates[0]:.0f} – {rates[-1]:.0f})",
            times or "",
            f"{median(run.p50 for run in turns.runs):.2f}",
            f"{median(run.p99 for run in turns.runs):.1f}",
            f"{median(turns.cpu):.0f}",
            "" if turns.behind is None else f"{turns.behind:.1f}",
        ]
    )


def memory(target: Target, requests: int) -> str:
    """Memory of all its processes, at each fifth of so many requests."""
    done, found = 0.0, [target.resident()]
    for part in range(1, 6):
        while done < requests * part / 5:
            done += wrk(target.port, 16, 2).rate * 2
        found.append(target.resident())
    told = ", ".join(f"{mebibytes:.0f}" for mebibytes in found)
    return f"Memory of all processes of {target.name}, at each fifth of {requests:,} further requests: {told} MiB."


def run(rounds: int, seconds: int, requests: int, wanted: Sequence[str]) -> Iterator[str]:
    with ExitStack() as stack:
        upstream, pid = stack.enter_context(nginx(NOTES))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        targets = [Target("direct", upstream, pid)]
        for name in wanted:
            (folder / name).mkdir()
            targets.append(stack.enter_context(PEERS[name](upstream, folder / name)))
        for target in targets:
            wrk(target.port, 16, 2)  # warm
        told = f"{rounds} rounds of {seconds} s by turns, medians; {os.cpu_count()} cores for everything, wrk included"
        yield f"Measured by `make bench` ({told}; load average {os.getloadavg()[0]:.1f} as it began):\n"
        yield from speed(targets, rounds, seconds)
        told = "; ".join(f"{target.name} {target.resident():.0f}" for target in targets[1:])
        yield f"\nMemory as this ended, in MiB: {told}."
        if requests:
            yield memory(targets[-1], requests)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of each run")
    parser.add_argument("--requests", type=int, default=200_000, help="over which memory is watched; 0: it is not")
    parser.add_argument("--beside", nargs="*", choices=list(PEERS), default=list(PEERS), help="which; all of them")
    parser.add_argument("--readme", type=Path, help="a file to put the table into")
    given = parser.parse_args()
    lines = []
    for line in run(given.rounds, given.seconds, given.requests, given.beside):
        print(line, flush=True)
        lines.append(line)
    if given.readme:
        put(given.readme, "bench", "\n".join(lines))


if __name__ == "__main__":
    main()
