"""Prepares a real Elasticsearch once in a cache, then starts, stops and kills nodes of it.

A node listens on loopback only, keeps all it holds in its home, starts again from it after a kill, and never outlives
the process that started it: it stops when the pipe to its standard input closes, which the kernel does for a parent
however it died. Every wait is bounded.

    python -m compose.elasticsearch.node --version 8.19.21 --port 9200
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final

from compose.elasticsearch.java import Missing, java_home, maven, oldest_java

VERSIONS: Final = ("8.19.21", "9.5.3")
PREPARE_TIMEOUT: Final = 600.0
START_TIMEOUT: Final = 90.0
STOP_TIMEOUT: Final = 15.0
TRANSPORT: Final = 9300
"""The port of a cluster's nodes for each other, on hosts of their own."""

_HEAP: Final = ("-Xms256m", "-Xmx1g")
_DESCRIPTOR: Final = """\
description=HTTP and transport
name=transport-netty4
version={version}
elasticsearch.version={version}
java.version=17
classname=org.elasticsearch.transport.netty4.Netty4Plugin
"""


class NodeError(RuntimeError):
    """A node could not be prepared or did not come up; the message holds the end of what it said."""


def cache(version: str) -> Path:
    """Where a version is kept: $XDG_CACHE_HOME or ~/.cache, then understudy/elasticsearch/<version>."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "understudy" / "elasticsearch" / version


def prepare(version: str) -> Path:
    """The directory of a ready version: jars/, modules/, classes/. Fetched on first use, whole or not at all.

    Raises Missing when there is no Maven or no Java that is new enough, NodeError when fetching or compiling fails.
    """
    java = java_home(version)
    ready = cache(version)
    if ready.is_dir():
        return ready
    mvn = maven()
    ready.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"{version}.", dir=ready.parent))
    try:
        _fetch(mvn, java, version, work)
        _compile(java, version, work)
        _publish(work, ready)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return ready


def _fetch(mvn: str, java: Path, version: str, work: Path) -> None:
    here = files("compose.elasticsearch")
    shutil.copyfile(str(here / "pom.xml"), work / "pom.xml")
    shutil.copyfile(str(here / "Launcher.java"), work / "Launcher.java")
    jars, module = work / "jars", work / "modules" / "transport-netty4"
    command = [mvn, "-B", "-q", "-f", str(work / "pom.xml"), "dependency:copy-dependencies"]
    options = [f"-Delasticsearch.version={version}", f"-DoutputDirectory={jars}", "-DincludeScope=runtime"]
    _run([*command, *options], java, work)
    module.mkdir(parents=True)
    for pattern in ("netty-*.jar", "transport-netty4-*.jar"):
        for jar in sorted(jars.glob(pattern)):
            jar.rename(module / jar.name)
    (module / "plugin-descriptor.properties").write_text(_DESCRIPTOR.format(version=version))


def _compile(java: Path, version: str, work: Path) -> None:
    javac = [str(java / "bin" / "javac"), "--release", str(oldest_java(version)), "-cp", f"{work}/jars/*"]
    _run([*javac, "-d", str(work / "classes"), str(work / "Launcher.java")], java, work)


def _publish(work: Path, ready: Path) -> None:
    """Moves the finished directory into place; another process that was first has the same content."""
    work.chmod(0o755)
    try:
        work.rename(ready)
    except OSError:
        if not ready.is_dir():
            raise


def _run(command: list[str], java: Path, work: Path) -> None:
    environment = {**os.environ, "JAVA_HOME": str(java)}
    try:
        done = subprocess.run(
            command, cwd=work, env=environment, capture_output=True, text=True, timeout=PREPARE_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise NodeError(f"{command[0]} took longer than {PREPARE_TIMEOUT:.0f} s") from None
    if done.returncode:
        raise NodeError(f"{command[0]} failed ({done.returncode}): {(done.stdout + done.stderr).strip()[-2000:]}")


def free_port() -> int:
    """A port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Node:
    """One node of a version, with its data under `home`. Keeps its port over restarts.

    Alone, or one of a cluster: `members` are the addresses of all its hosts, `host` is this one's own, and `within` are
    the first words of a command that runs there.
    """

    def __init__(
        self, version: str, home: Path, http_port: int | None = None, *,
        host: str = "127.0.0.1", within: Sequence[str] = (), members: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.version = version
        self.home = home.absolute()
        self.port = http_port or free_port()
        self.host = host
        self._within, self._members = within, members
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, timeout: float = START_TIMEOUT) -> None:
        """Starts the node and waits until it answers. Raises NodeError with the end of its log when it does not."""
        if self.running:
            return
        self.launch()
        try:
            self.wait(timeout)
        except BaseException:
            self.kill()
            raise

    def launch(self) -> None:
        """Starts the node, and waits for nothing: the nodes of a cluster answer once they have found each other."""
        command = self._command(prepare(self.version), java_home(self.version))
        (self.home / "config").mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=self.home, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
            )

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """Closes the node in good order; kills it when it takes too long."""
        if self._process is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """kill -9."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(STOP_TIMEOUT)
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None

    @property
    def _log(self) -> Path:
        return self.home / "console.log"

    def _command(self, ready: Path, java: Path) -> list[str]:
        settings = {
            "path.home": self.home,
            "cluster.name": "understudy",
            "node.name": self.host,
            "network.host": self.host,
            "http.port": self.port,
            **self._discovery(),
            "cluster.routing.allocation.disk.threshold_enabled": "false",
        }
        run = [*self._within, str(java / "bin" / "java"), *_HEAP, "-cp", f"{ready}/classes:{ready}/jars/*", "Launcher"]
        return [*run, str(ready / "modules"), *(f"{key}={value}" for key, value in settings.items())]

    def _discovery(self) -> dict[str, object]:
        if not self._members:
            return {"transport.port": 0, "discovery.type": "single-node"}
        all_of_them = ",".join(self._members)
        return {
            "transport.port": TRANSPORT,
            "discovery.seed_hosts": all_of_them,
            "cluster.initial_master_nodes": all_of_them,
        }

    def wait(self, timeout: float = START_TIMEOUT) -> None:
        """Until a launched node answers. Raises NodeError with the end of its log when it does not."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                status = self._process and self._process.returncode
                raise NodeError(f"Elasticsearch {self.version} ended with {status}: {self._said()}")
            if self._answers():
                return
            time.sleep(0.1)
        raise NodeError(f"Elasticsearch {self.version} did not answer within {timeout:.0f} s: {self._said()}")

    def _answers(self) -> bool:
        """Whether the node has recovered what it holds: yellow is all that one node with replicas can be."""
        health = f"{self.url}/_cluster/health?wait_for_status=yellow&timeout=1s"
        try:
            with urllib.request.urlopen(health, timeout=5) as said:  # nosec B310 # our own node, http
                return json.load(said)["status"] in ("yellow", "green")
        except (urllib.error.URLError, OSError, ValueError):
            return False

    def _said(self) -> str:
        """The end of the log, without the frames of stack traces."""
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if not re.match(r"\s+(at|\.\.\.) ", line))[-2000:]


def main() -> int:
    """Runs a node in the foreground until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Runs a real Elasticsearch node on loopback.")
    parser.add_argument("--version", default=VERSIONS[0], help=f"one of {', '.join(VERSIONS)}, or another release")
    parser.add_argument("--port", type=int, default=9200, help="the HTTP port")
    parser.add_argument("--home", type=Path, default=Path("data/elasticsearch"), help="where the node keeps its data")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    node = Node(options.version, options.home, options.port)
    try:
        node.start()
        print(f"Elasticsearch {node.version} at {node.url} (pid {node.pid})", flush=True)
        while node.running:
            time.sleep(0.5)
        print("Elasticsearch ended by itself", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    except (Missing, NodeError, OSError) as error:
        print(f"elasticsearch: {error}", file=sys.stderr)
        return 1
    finally:
        node.stop()


if __name__ == "__main__":
    sys.exit(main())
