"""mitmproxy, in reverse mode and recording with -w: what the sidecar is compared with.

Its dependencies clash with ours, so it has a virtual environment of its own, made once in the cache.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.stack import free_port, until

VERSION = "11.0.2"


class Missing(RuntimeError):
    """mitmproxy could not be had; the message says why."""


def prepare() -> Path:
    """The path of mitmdump. Installed on first use, whole or not at all. Raises Missing."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = base / "understudy" / f"mitmproxy-{VERSION}"
    done = home / ".done"
    if not done.exists():
        shutil.rmtree(home, ignore_errors=True)
        _run(sys.executable, "-m", "venv", str(home))
        _run(str(home / "bin" / "pip"), "install", "--quiet", f"mitmproxy=={VERSION}")
        done.touch()
    return home / "bin" / "mitmdump"


def _run(*command: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if ran.returncode:
        raise Missing(f"{' '.join(command)}: {ran.stderr.strip()[-300:]}")


@contextmanager
def reverse(upstream: int, folder: Path) -> Iterator[int]:
    """Its port, in front of a port of loopback; flows are written to a file in the folder."""
    port = free_port()
    command = [str(prepare()), "--mode", f"reverse:http://127.0.0.1:{upstream}", "--listen-host", "127.0.0.1"]
    command += [
        "--listen-port",
        str(port),
        "-w",
        str(folder / "flows"),
        "-q",
        "--set",
        f"confdir={folder / 'mitmproxy'}",
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        until(lambda: _listens(port), 60, "mitmproxy")
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
