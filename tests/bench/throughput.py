"""`make bench`: the upstream direct, nginx, mitmproxy recording with -w, and the sidecar recording durably, in turn, in
one run; ratios, no verdict. Then the sidecar's memory over 200,000 requests.

Needs wrk and nginx on PATH. The upstream is nginx with a fixed answer of some 300 bytes, so that it is never the limit.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from tests.bench.mitmproxy import mitmproxy
from tests.consistency.nemesis import children
from tests.stack import Sidecar, free_port, until
from tests.upstream import HOLT

ROUNDS = 3
SECONDS = 3
REQUESTS = 200_000
NOTE = '{"id":5,"title":"Round","body":"' + "x" * 220 + '","patient_id":17,"staff_id":1}'
CONFIG = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log crit;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 1000000; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream api {{ server 127.0.0.1:{upstream}; keepalive 64; }}
  server {{ listen 127.0.0.1:{port}; location / {{ {action} }} }} }}
"""
PASS = 'proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection "";'


@contextmanager
def nginx(action: str, upstream: int = 1) -> Iterator[int]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "nginx.conf"
        config.write_text(CONFIG.format(folder=folder, port=port, action=action, upstream=upstream))
        command = [shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(config)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            until(lambda: _listens(port), what="nginx")
            yield port
        finally:
            process.terminate()
            process.wait(10)


def wrk(port: int, connections: int, seconds: int = SECONDS) -> tuple[float, str, str]:
    """(requests a second, p50, p99)"""
    headers = [word for name, value in HOLT.items() for word in ("-H", f"{name}: {value}")]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *headers]
    out = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/notes/5"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    if "Non-2xx" in out:
        sys.exit(f"not all answers were good:\n{out}")
    p50, p99 = (re.search(rf"^\s+{share}%\s+(\S+)", out, re.MULTILINE) for share in (50, 99))
    rate = re.search(r"Requests/sec:\s+(\S+)", out)
    assert rate is not None
    assert p50 is not None
    assert p99 is not None
    return float(rate[1]), p50[1], p99[1]


def main() -> None:
    answer = f"default_type application/json; return 200 '{NOTE}';"
    with ExitStack() as stack:
        upstream = stack.enter_context(nginx(answer))
        proxy = stack.enter_context(nginx(PASS, upstream))
        data = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "data"
        sidecar = stack.enter_context(Sidecar(f"http://127.0.0.1:{upstream}", data))
        peer = stack.enter_context(mitmproxy(upstream, data.parent))
        targets = {"direct": upstream, "nginx": proxy, "mitmproxy -w": peer, "sidecar (durable)": sidecar.port}
        for port in (peer, sidecar.port):
            wrk(port, 16)  # warm
        print(f"{'':20}{'connections':>12}{'req/s':>10}{'of mitmproxy':>14}{'p50':>10}{'p99':>10}")
        for connections in (1, 16, 128):
            rounds = {name: [] for name in targets}  # type: dict[str, list[tuple[float, str, str]]]
            for _ in range(ROUNDS):
                for name, port in targets.items():
                    rounds[name].append(wrk(port, connections))
            base = median(rate for rate, _, _ in rounds["mitmproxy -w"])
            for name, results in rounds.items():
                rate, p50, p99 = sorted(results)[ROUNDS // 2]
                print(f"{name:20}{connections:>12}{rate:>10.0f}{rate / base:>14.2f}{p50:>10}{p99:>10}", flush=True)

        memory(sidecar)


def memory(sidecar: Sidecar) -> None:
    """Resident memory of all the sidecar's processes, over REQUESTS requests."""
    done = 0.0
    print(f"{'requests':>12}{'MiB':>8}")
    while done < REQUESTS:
        print(f"{done:>12.0f}{resident(sidecar):>8.0f}", flush=True)
        done += wrk(sidecar.port, 16, 10)[0] * 10
    print(f"{done:>12.0f}{resident(sidecar):>8.0f}", flush=True)


def resident(sidecar: Sidecar) -> float:
    """MiB that are private to the processes (Pss: what they share counts once)."""
    total = 0
    for pid in [sidecar.process.pid, *children(sidecar)]:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    main()
