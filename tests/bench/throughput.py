"""`make bench`: the upstream direct, nginx, mitmproxy recording with -w, and the sidecar recording durably.

In turn, in one run on one machine; medians of rounds, and ratios; no verdict. Needs wrk and nginx on PATH. The upstream
is nginx with a fixed answer of some 300 bytes, so that it is never the limit. mitmproxy lives in a virtual environment
of its own (see mitmproxy.py); without it that line is left out, and the run says so.
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

from tests.bench import mitmproxy
from tests.stack import Sidecar, free_port, until
from tests.upstream import HOLT

ROUNDS = 3
SECONDS = 3
NOTE = '{"id":5,"title":"Round","body":"' + "x" * 220 + '","patient_id":17,"staff_id":1}'
CONFIG = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log crit;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 1000000; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream api {{ server 127.0.0.1:{upstream}; keepalive 64; }}
  server {{ listen 127.0.0.1:{port}; location / {{ {action} }} }} }}
"""
ANSWER = f"default_type application/json; return 200 '{NOTE}';"
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


def wrk(port: int, connections: int) -> tuple[float, str, str]:
    """(requests a second, p50, p99)"""
    headers = [word for name, value in HOLT.items() for word in ("-H", f"{name}: {value}")]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", *headers]
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
    with ExitStack() as stack:
        upstream = stack.enter_context(nginx(ANSWER))
        proxy = stack.enter_context(nginx(PASS, upstream))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        targets = {"direct": upstream, "nginx": proxy}
        try:
            targets["mitmproxy -w"] = stack.enter_context(mitmproxy.reverse(upstream, folder))
        except mitmproxy.Missing as missing:
            print(f"without mitmproxy: {missing}", file=sys.stderr)
        sidecar = stack.enter_context(Sidecar(f"http://127.0.0.1:{upstream}", folder / "data"))
        targets["sidecar (durable)"] = sidecar.port
        names = "".join(f"{'of ' + name.split()[0]:>14}" for name in list(targets)[1:-1])
        print(f"{'':20}{'connections':>12}{'req/s':>10}{names}{'p50':>10}{'p99':>10}")
        for connections in (1, 16, 128):
            _compare(targets, connections)


def _compare(targets: dict[str, int], connections: int) -> None:
    rounds: dict[str, list[tuple[float, str, str]]] = {name: [] for name in targets}
    for _ in range(ROUNDS):
        for name, port in targets.items():
            rounds[name].append(wrk(port, connections))
    bases = [median(rate for rate, _, _ in rounds[name]) for name in list(targets)[1:-1]]
    for name, results in rounds.items():
        rate, p50, p99 = sorted(results)[ROUNDS // 2]
        ratios = "".join(f"{rate / base:>14.2f}" for base in bases)
        print(f"{name:20}{connections:>12}{rate:>10.0f}{ratios}{p50:>10}{p99:>10}", flush=True)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    main()
