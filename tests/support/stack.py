"""A real sidecar for tests: its own processes, on loopback, its data in a folder of the test's."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

TOKEN = "test-token"
LOWEST_PORT, EPHEMERAL = 12_000, 32_768
"""Linux gives from the second on to whoever asks for any (net.ipv4.ip_local_port_range)."""
LANES = 8
"""As many processes of tests can run side by side without being given each other's ports."""
LOOK, LOOK_LATER = 0.02, 0.2
"""Seconds between two looks at what is waited for: at first, and after a while."""
_GIVEN: deque[int] = deque(maxlen=500)
"""Lately."""


@dataclass
class Got:
    """An answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def __getitem__(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    port: int, method: str, target: str, headers: dict[str, str] | None = None, body: Any = None, timeout: float = 40,
    host: str = "127.0.0.1",
) -> Got:  # fmt: skip
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    sent = dict(headers or {})
    if isinstance(body, (dict, list)):
        body, sent["Content-Type"] = json.dumps(body), "application/json"
    try:
        connection.request(method, target, body=body, headers=sent)
        answer = connection.getresponse()
        return Got(answer.status, answer.getheaders(), answer.read())
    finally:
        connection.close()


class Kept:
    """A client that only reads, on a connection that it keeps; opened anew where the server has closed it."""

    def __init__(self, port: int, timeout: float = 40) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def get(self, target: str, headers: dict[str, str]) -> Got:
        try:
            return self._get(target, headers)
        except (http.client.HTTPException, ConnectionError):
            self._connection.close()
            return self._get(target, headers)

    def _get(self, target: str, headers: dict[str, str]) -> Got:
        self._connection.request("GET", target, headers=headers)
        answer = self._connection.getresponse()
        return Got(answer.status, answer.getheaders(), answer.read())

    def close(self) -> None:
        self._connection.close()


def raw(port: int, data: bytes, timeout: float = 10, half_close: bool = False) -> bytes:
    """Sends bytes as they are and returns all that comes back until the server closes or falls silent."""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        connection.sendall(data)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        got = b""
        try:
            while chunk := connection.recv(65536):
                got += chunk
        except (TimeoutError, ConnectionResetError):
            return got
        return got


def free_port() -> int:
    """One that nobody is given by chance before it is used: below those that the kernel gives to whoever asks for any,
    or connects; not the same again soon, and another than what a test that runs beside this one is given."""
    lane = int("".join(filter(str.isdigit, os.environ.get("PYTEST_XDIST_WORKER", ""))) or LANES - 1) % LANES
    for _ in range(1000):
        port = LOWEST_PORT + LANES * secrets.randbelow((EPHEMERAL - LOWEST_PORT) // LANES) + lane
        if port in _GIVEN:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _GIVEN.append(port)
        return port
    raise OSError("no port is free")


def until(true: Callable[[], Any], seconds: float = 15, what: str = "") -> Any:
    """Waits for something to become true, and returns it. What takes long is looked at less often: whoever is asked has
    other work to do."""
    deadline, pause = time.monotonic() + seconds, LOOK
    while time.monotonic() < deadline:
        try:
            value = true()
        except OSError:
            value = None
        if value:
            return value
        time.sleep(pause)
        pause = min(LOOK_LATER, 1.2 * pause)
    raise AssertionError(f"not within {seconds} s: {what or true}")


class Sidecar:
    """`understudy sidecar` as a person runs it. `environ`: variables of its own beside its settings; `arguments`: words
    of the command before `sidecar`; `within`: a command that runs it on another host, whose address is `host`.

    `interpreter`: another Python, with another release. `evidence`: the upstream that it has stood beside for long
    (tests.support.evidence); None: it starts for the first time, and has proven nothing.
    """

    def __init__(
        self, upstream: str, data: Path, environ: Mapping[str, str] = {}, arguments: Sequence[str] = (),
        host: str = "127.0.0.1", within: Sequence[str] = (), evidence: str | None = "tests.support.upstream",
        interpreter: str = sys.executable, **settings: str,
    ) -> None:  # fmt: skip
        self.data, self.host = data, host
        self.arguments, self.within, self.interpreter = arguments, within, interpreter
        self.port, self.control = free_port(), free_port()
        data.mkdir(parents=True, exist_ok=True)
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("UNDERSTUDY_")},
            **environ,
            "UNDERSTUDY_UPSTREAM": upstream,
            "UNDERSTUDY_LISTEN": f"{host}:{self.port}",
            "UNDERSTUDY_CONTROL_LISTEN": f"{host}:{self.control}",
            "UNDERSTUDY_DATA": str(data),
            "UNDERSTUDY_CONTROL_TOKEN": TOKEN,
            "UNDERSTUDY_DRAIN": "0s",
            "UNDERSTUDY_GRACE": "8s",
            "UNDERSTUDY_SIGN_EVERY": "1s",
            **{f"UNDERSTUDY_{name.upper()}": value for name, value in settings.items()},
        }
        if "UNDERSTUDY_CONTROL_TOKEN_FILE" in self.environ:
            del self.environ["UNDERSTUDY_CONTROL_TOKEN"]
        self.log = data.parent / f"{data.name}.log"
        if evidence is not None:
            from tests.support.evidence import lay  # which stands on this module

            lay(self.environ, evidence)
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [*self.within, self.interpreter, "-m", "sidecar", *self.arguments, "sidecar"]
            self.process = subprocess.Popen(
                command, env=self.environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        until(lambda: self.answers(self.port) and self.healthy(), 30, f"sidecar, see {self.log}")

    def healthy(self) -> bool:
        """Whether its health check says that users may be sent here."""
        try:
            return (
                self.answers(self.control)
                and ask(self.control, "GET", "/healthz", timeout=2, host=self.host).status == 200
            )
        except http.client.HTTPException:
            return False

    def reload(self) -> None:
        """SIGHUP, and waits until the new generation serves alone."""
        before = set(self.processes())
        self.process.send_signal(signal.SIGHUP)
        until(lambda: set(self.processes()) & before <= {self.process.pid}, 90, f"reloaded, see {self.log}")
        until(self.healthy, 20, "healthy again")

    def answers(self, port: int) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the sidecar ended: {self.log.read_text()[-3000:]}")
        with socket.socket() as probe:
            return probe.connect_ex((self.host, port)) == 0

    def ask(self, method: str, target: str, headers: dict[str, str] | None = None, body: Any = None) -> Got:
        return ask(self.port, method, target, headers, body, host=self.host)

    def plane(self, method: str, path: str, body: Any = None) -> Got:
        return ask(self.control, method, path, {"Authorization": f"Bearer {TOKEN}"}, body, host=self.host)

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [*self.within, self.interpreter, "-m", "sidecar", *words]
        return subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=60, check=False)

    def journal(self) -> list[dict[str, Any]]:
        lines = []
        for path in sorted((self.data / "journal").glob("*.jsonl")):
            lines += [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
        return lines

    def events(self, **fields: str) -> list[dict[str, Any]]:
        """What every worker's journal holds, in the order in which the exchanges began."""
        found = [line["event"] for line in self.journal() if _fits(line["event"], fields)]
        return sorted(found, key=lambda event: str(event["@timestamp"]))

    def kill(self) -> None:
        """kill -9 of every process at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        until(lambda: not self.processes(), 20, "all processes gone")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def processes(self) -> list[int]:
        """The pids of the sidecar's group that run.

        What waits to be reaped is gone, unless threads of it are still ending: they hold its sockets open.
        """
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended while we looked
            state, group, threads = fields[0], int(fields[2]), int(fields[17])
            if group == self.process.pid and (state not in "ZX" or threads > 1):
                found.append(int(path.parent.name))
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()


def _fits(event: dict[str, Any], fields: dict[str, str]) -> bool:
    known = {
        "path": event.get("url", {}).get("path"),
        "request_id": event.get("http", {}).get("request", {}).get("id"),
        "outcome": event.get("understudy", {}).get("outcome"),
    }
    return all(known[name] == value for name, value in fields.items())


def running(upstream: str, data: Path, **settings: str) -> Iterator[Sidecar]:
    with Sidecar(upstream, data, **settings) as sidecar:
        yield sidecar
