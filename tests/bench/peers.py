"""What the sidecar is measured beside: nginx with a log in JSON, mitmproxy recording with -w, proxy.py, and the release
of before. Each lives in an environment of its own, made on first use in the cache: their dependencies are not ours.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.wrk import PASS, nginx
from tests.support.stack import Sidecar, ask, free_port, until

MITMPROXY, PROXY_PY = "11.0.2", "2.4.10"
RELEASE = "67acd0a"
"""The commit that is called the release of before."""
PAUSE, QUIET = 0.5, 0.06
"""Seconds between looks at whether a target rests, and the share of a core that one uses at rest."""
LOGGING = (
    'log_format json escape=json \'{"time":"$time_iso8601","client":"$remote_addr","user":"$remote_user",'
    '"request":"$request","status":$status,"bytes":$body_bytes_sent,"took":$request_time,"id":"$request_id"}\';'
)
ROOT = Path(__file__).parents[2]
REVERSE = """
from proxy.http import Url
from proxy.http.server import ReverseProxyBasePlugin

class Reverse(ReverseProxyBasePlugin):
    def routes(self):
        return [r'/.*$']

    def handle_route(self, request, pattern):
        url = Url.from_bytes(b'http://127.0.0.1:{upstream}/')
        url.remainder = request.path
        return url
"""


@dataclass(frozen=True)
class Target:
    """A way to the upstream. `pid`: its first process, whose CPU time and memory count with those of its children."""

    name: str
    port: int
    pid: int
    sidecar: Sidecar | None = None

    def cpu(self) -> float:
        """Seconds that its processes have used so far."""
        ticks = sum(int(fields[11]) + int(fields[12]) for fields in self._processes().values())
        return ticks / os.sysconf("SC_CLK_TCK")

    def rest(self) -> None:
        """Until it has done what it put off, so that it takes nothing from whose turn is next; 30 s at most."""
        end, before = time.monotonic() + 30, self.cpu()
        while time.monotonic() < end:
            time.sleep(PAUSE)
            now = self.cpu()
            if now - before < QUIET * PAUSE:
                return
            before = now

    def resident(self) -> float:
        """MiB that they hold (Pss: what they share counts once)."""
        total = 0
        for pid in self._processes():
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            total += next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
        return total / 1024

    def behind(self) -> float | None:
        """Seconds by which its event store is behind the journal; None where it keeps none."""
        if self.sidecar is None:
            return None
        told = self.sidecar.plane("GET", "/shipper").json()
        return max(0.0, time.time() - float(told["at"])) + float(told["oldest_seconds"])

    def _processes(self) -> dict[int, list[str]]:
        """Its processes, with the fields of their `stat` after the name (proc(5)): state, parent, …"""
        every = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                every[int(path.parent.name)] = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
        found, waiting = {}, [self.pid]
        while waiting:
            pid = waiting.pop()
            if pid in every:
                found[pid] = every[pid]
            waiting += [child for child, fields in every.items() if int(fields[1]) == pid]
        return found


def environment(name: str, *wanted: str) -> Path:
    """The folder of programs of a virtual environment with what is wanted in it."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "understudy" / name
    done = home / "done"
    if not done.exists():
        print(f"installing {name} in {home} …", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(home / "bin" / "pip"), "install", "-q", *wanted], check=True)
        done.touch()
    return home / "bin"


@contextmanager
def _running(name: str, port: int, command: Sequence[str], folder: Path) -> Iterator[Target]:
    environ = {**os.environ, "PYTHONPATH": str(folder)}  # where proxy.py finds its plugin
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ)
    try:
        until(lambda: ask(port, "GET", "/").status, 30, name)
        yield Target(name, port, process.pid)
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def mitmproxy(upstream: int, folder: Path) -> Iterator[Target]:
    """In reverse mode, writing its flows to a file."""
    port, program = free_port(), environment(f"mitmproxy-{MITMPROXY}", f"mitmproxy=={MITMPROXY}") / "mitmdump"
    command = [
        str(program), "-q", "--mode", f"reverse:http://127.0.0.1:{upstream}", "--listen-host", "127.0.0.1",
        "--listen-port", str(port), "-w", str(folder / "flows"), "--set", "termlog_verbosity=error",
        "--set", f"confdir={folder / 'conf'}",
    ]  # fmt: skip
    with _running(f"mitmproxy {MITMPROXY} -w", port, command, folder) as target:
        yield target


@contextmanager
def proxy_py(upstream: int, folder: Path) -> Iterator[Target]:
    """In reverse mode, recording nothing. Threaded: its loop answers one request of a connection, and then no more."""
    port, program = free_port(), environment(f"proxy.py-{PROXY_PY}", f"proxy.py=={PROXY_PY}") / "proxy"
    (folder / "reverse.py").write_text(REVERSE.replace("{upstream}", str(upstream)))
    command = [
        str(program), "--hostname", "127.0.0.1", "--port", str(port), "--enable-reverse-proxy", "--plugins",
        "reverse.Reverse", "--threaded", "--log-level", "ERROR",
    ]  # fmt: skip
    with _running(f"proxy.py {PROXY_PY}", port, command, folder) as target:
        yield target


@contextmanager
def logging_nginx(upstream: int, folder: Path) -> Iterator[Target]:
    """Passing on, with a line of JSON for each request."""
    with nginx(PASS, upstream, http=f"{LOGGING} access_log {folder / 'nginx.log'} json;") as (port, pid):
        yield Target("nginx, JSON log", port, pid)


@contextmanager
def release(upstream: int, folder: Path) -> Iterator[Target]:
    """The sidecar of before, from its commit."""
    name = f"understudy-{RELEASE}"
    if not (ROOT / ".git").exists():
        sys.exit(f"{ROOT} is no git repository: the release of before cannot be had")
    source = folder / "source"
    source.mkdir()
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", RELEASE], capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(source)], input=archive, check=True)
    python = environment(name, str(source)) / "python"
    # PYTHONSAFEPATH: or it would find this tree's package in the folder where it starts
    old = Sidecar(
        f"http://127.0.0.1:{upstream}", folder / "data", {"PYTHONSAFEPATH": "1"}, evidence=None,
        interpreter=str(python),
    )  # fmt: skip
    with old:
        yield Target(f"Understudy {RELEASE}", old.port, old.process.pid, old)


@contextmanager
def this(upstream: int, folder: Path, **settings: str) -> Iterator[Target]:
    """This tree: as it comes, or with settings."""
    name = ", ".join(["Understudy, this tree", *(f"{key.upper()}={value}" for key, value in settings.items())])
    with Sidecar(f"http://127.0.0.1:{upstream}", folder / "data", **settings) as sidecar:
        yield Target(name, sidecar.port, sidecar.process.pid, sidecar)


this_in_two = partial(this, workers="2")
"""In as many processes as the release of before has."""
