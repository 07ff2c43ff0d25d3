"""Builds the image and runs it, where a Docker engine answers: `python -m tests.stack.image`.

    --host unix:///…   the engine (default: DOCKER_HOST, else the usual socket)
    --base IMAGE       a local base with Python 3.11, where none can be pulled; see below
    --skip-build       only run what was built before

Where nothing can be pulled a base is made by hand: `debootstrap --variant=minbase --include=python3,python3-venv
bookworm base`, then `tar -C base -c . | docker import - base:bookworm`. Wheels are made here and copied in: the build
needs no network. The containers share one network namespace that leads nowhere: an engine without bridges will do.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.stack import until

ROOT = Path(__file__).parents[2]
IMAGE = "understudy:local"
NAMES = ("understudy-test-hosp", "understudy-test-sidecar")
BOUNDS = ("--read-only", "--tmpfs=/tmp:size=64m", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--memory=512m",
          "--pids-limit=200", "--user=10001:10001")  # fmt: skip
LOOK = """
import http.client, json, os
def ask(port, path):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=5); c.request("GET", path); a = c.getresponse()
    return a.status, a.read().decode(), a.getheader("Cache-Status") or ""
try:
    open("/opt/understudy/probe", "w"); wrote = True
except OSError:
    wrote = False
print(json.dumps({"page": ask(8080, "/"), "health": ask(8081, "/healthz")[0], "uid": os.getuid(), "wrote": wrote}))
"""


class Engine:
    def __init__(self, host: str | None) -> None:
        self._host = ["--host", host] if host else []

    def __call__(self, *words: str, check: bool = True, timeout: float = 1500) -> str:
        command = ["/usr/bin/docker", *self._host, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        if check and done.returncode:
            sys.exit(f"docker {words[0]}: {done.stderr.strip()[-2000:]}")
        return done.stdout.strip()


def build(docker: Engine, base: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        locked = ["--require-hashes", "--no-deps", "-r", f"{folder}/compose/requirements.lock"]
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "-d", f"{folder}/wheels", *locked], check=True)
        words = ["--network", "none", "-f", f"{folder}/compose/Dockerfile", "-t", IMAGE]
        words += ["--build-arg", "PIP_ARGS=--no-index --find-links wheels"]
        words += ["--build-arg", f"BASE={base}"] if base else []
        docker("build", "-q", *words, folder)


def run(docker: Engine) -> None:
    """The simulator and a sidecar, as in the demo profile."""
    hosp, sidecar = NAMES
    docker("run", "-d", "--name", hosp, "--network", "none", *BOUNDS, "--no-healthcheck", IMAGE,
           "simulate", "--profile", "calm")  # fmt: skip
    docker("run", "-d", "--name", sidecar, "--network", f"container:{hosp}", *BOUNDS, "--health-interval=1s",
           "-e", "UNDERSTUDY_UPSTREAM=http://127.0.0.1:9000", IMAGE)  # fmt: skip
    state = ["inspect", "-f", "{{.State.Health.Status}}", sidecar]
    until(lambda: docker(*state) == "healthy", 90, "the container's own health check is content")
    seen = json.loads(docker("exec", sidecar, "python", "-c", LOOK))
    print(seen)
    status, page, by = seen["page"]
    assert (status, "online" in page, by.startswith("understudy; fwd")) == (200, True, True)
    assert (seen["health"], seen["uid"], seen["wrote"]) == (200, 10001, False)
    docker("stop", "-t", "50", sidecar)
    code = docker("inspect", "-f", "{{.State.ExitCode}}", sidecar)
    assert code == "0", f"stopped with {code}"
    print("built, healthy, answers, writes nowhere but its data, stops by itself")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default=os.environ.get("DOCKER_HOST"))
    parser.add_argument("--base")
    parser.add_argument("--skip-build", action="store_true")
    given = parser.parse_args()
    docker = Engine(given.host)
    docker("version", timeout=20)
    if not given.skip_build:
        build(docker, given.base)
    try:
        run(docker)
    finally:
        docker("rm", "-f", "-v", *NAMES, check=False)


if __name__ == "__main__":
    main()
