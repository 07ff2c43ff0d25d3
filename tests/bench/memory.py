"""`python -m tests.bench.memory [REQUESTS]`: resident memory of the sidecar's processes over 200,000 requests.

Durable recording, 16 connections, sampled ten times; says at the end whether it is flat: whether the last sample is
within FLAT of the one at a fifth of the way, when all has been touched once.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.throughput import ANSWER, nginx
from tests.stack import Sidecar
from tests.upstream import HOLT

SAMPLES = 10
FLAT = 0.05
CONNECTIONS = 16


def main() -> int:
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    with (
        tempfile.TemporaryDirectory() as folder,
        nginx(ANSWER) as upstream,
        Sidecar(f"http://127.0.0.1:{upstream}", Path(folder) / "data") as sidecar,
    ):
        done, series = 0, [_sample(0, sidecar)]
        for sample in range(1, SAMPLES + 1):
            while done < wanted * sample / SAMPLES:
                done += ask(sidecar.port)
            series.append(_sample(done, sidecar))
    growth = series[-1] / series[SAMPLES // 5] - 1
    flat = growth <= FLAT
    print(f"{'flat' if flat else 'NOT FLAT'}: {growth:+.1%} from a fifth of the way to the end, {done} requests")
    return 0 if flat else 1


def ask(port: int) -> int:
    """Two seconds of requests; how many were answered."""
    headers = [word for name, value in HOLT.items() for word in ("-H", f"{name}: {value}")]
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", "-d2s", *headers, f"http://127.0.0.1:{port}/notes/5"]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    found = re.search(r"(\d+) requests in", out)
    if found is None or "Non-2xx" in out:
        sys.exit(f"not all answers were good:\n{out}")
    return int(found[1])


def resident(sidecar: Sidecar) -> dict[int, float]:
    """MiB of each process."""
    found = {}
    for pid in sidecar.processes():
        status = Path(f"/proc/{pid}/status").read_text()
        found[pid] = int(status.partition("VmRSS:")[2].split()[0]) / 1024
    return found


def _sample(done: int, sidecar: Sidecar) -> float:
    sizes = resident(sidecar)
    each = "  ".join(f"{pid}:{size:6.1f}" for pid, size in sorted(sizes.items()))
    print(f"{done:>8} requests  {sum(sizes.values()):7.1f} MiB   {each}", flush=True)
    return sum(sizes.values())


if __name__ == "__main__":
    sys.exit(main())
