"""nginx and wrk as the benchmarks use them."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.stack import free_port, until
from tests.support.upstream import HOLT

NOTE = '{"id":5,"title":"Round","body":"' + "x" * 220 + '","patient_id":17,"staff_id":1}'
ANSWER = f"default_type application/json; return 200 '{NOTE}';"
"""What the upstream does: a fixed answer of some 300 bytes, so that it is never the limit."""
NOTES = f"""{ANSWER} }} location ~ ^/notes/(?<note>[0-9]+)$ {{
  default_type application/json; return 200 '{NOTE.replace('"id":5', '"id":$note')}';"""
"""The same, with the id that was asked for."""
CONFIG = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log crit;
events {{ worker_connections 1024; }}
http {{ {http} keepalive_requests 1000000; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream api {{ server 127.0.0.1:{upstream}; keepalive 64; }}
  server {{ listen 127.0.0.1:{port}; location / {{ {action} }} {more} }} }}
"""
PASS = 'proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection "";'
BY_TURNS = """
local made, at = {{}}, 0
init = function() for n = 1, {urls} do made[n] = wrk.format("GET", "/notes/" .. n) end end
request = function() at = at % {urls} + 1; return made[at] end
"""
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


@contextmanager
def nginx(action: str, upstream: int = 1, more: str = "", http: str = "access_log off;") -> Iterator[tuple[int, int]]:
    """One nginx process; gives its port and its process's id. `more`: further locations; `http`: what of its log."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "nginx.conf"
        config.write_text(
            CONFIG.format(folder=folder, port=port, action=action, upstream=upstream, more=more, http=http)
        )
        command = [shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(config)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            until(lambda: _listens(port), what="nginx")
            yield port, process.pid
        finally:
            process.terminate()
            process.wait(10)


@dataclass(frozen=True)
class Run:
    """What one run of wrk measured; times in milliseconds."""

    rate: float
    p50: float
    p99: float
    longest: float


def wrk(port: int, connections: int, seconds: int, path: str = "/notes/5", urls: int = 1) -> Run:
    """Asks as fast as answers come, on so many connections; for so many notes by turns, where these are `urls`. Ends
    everything when an answer was not 2xx or 3xx."""
    headers = [word for name, value in HOLT.items() for word in ("-H", f"{name}: {value}")]
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--latency",
        *headers,
    ]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        if urls > 1:
            script.write(BY_TURNS.format(urls=urls))
            script.flush()
            command += ["-s", script.name]
        command.append(f"http://127.0.0.1:{port}{path}")
        out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60).stdout
    if "Non-2xx" in out:
        sys.exit(f"not all answers were good:\n{out}")
    rate = float(_found(r"Requests/sec:\s+(\S+)", out))
    p50, p99 = (_milliseconds(_found(rf"^\s+{share}%\s+(\S+)", out)) for share in (50, 99))
    return Run(rate, p50, p99, _milliseconds(_found(r"Latency\s+\S+\s+\S+\s+(\S+)", out)))


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        sys.exit(f"wrk said something else:\n{text}")
    return found[1]


def _milliseconds(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)([a-z]+)", text)
    assert found is not None
    return float(found[1]) * _UNITS[found[2]]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
