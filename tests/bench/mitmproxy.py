"""mitmproxy in reverse mode, recording with -w: the peer in the benchmark.

It lives in an environment of its own, made on first use in the cache, for its dependencies are not ours.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.stack import ask, free_port, until

VERSION = "11.0.2"


def program() -> Path:
    """mitmdump, installed where it was not."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "understudy" / f"mitmproxy-{VERSION}"
    found = home / "bin" / "mitmdump"
    if not found.exists():
        print(f"installing mitmproxy {VERSION} in {home} …", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(home / "bin" / "pip"), "install", "-q", f"mitmproxy=={VERSION}"], check=True)
    return found


@contextmanager
def mitmproxy(upstream: int, folder: Path) -> Iterator[int]:
    """Its port."""
    port = free_port()
    command = [
        str(program()), "-q", "--mode", f"reverse:http://127.0.0.1:{upstream}", "--listen-host", "127.0.0.1",
        "--listen-port", str(port), "-w", str(folder / "flows"), "--set", "termlog_verbosity=error",
        "--set", f"confdir={folder / 'conf'}",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: ask(port, "GET", "/").status, 30, "mitmproxy")
        yield port
    finally:
        process.terminate()
        process.wait(20)
