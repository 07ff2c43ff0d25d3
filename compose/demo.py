"""`understudy demo`: the whole stack as processes on this machine, with the HOSP simulator and staff who use it.

No root, no Docker. Everything listens on loopback, is written below one folder, and ends with Ctrl-C.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from alerts.objectives import openslo
from compose import traffic
from compose.balancer import describe
from compose.demo_webhook import receiver
from compose.haproxy.config import render
from compose.hosp import client as hosp_api
from sidecar.contract import Contract
from sidecar.control.client import Control, ControlError
from sidecar.settings import Settings, load_settings
from sidecar.signals import ends

STARTUP = 60.0
FRONT, HOSP_CONTROL = 8000, 9001
"""Where users arrive, with HAProxy or without, and where HOSP is broken; other ports where these are taken."""


@click.command()
@click.option("--events", type=click.Choice(["embedded", "elasticsearch"]), default="embedded", help="The event store.")
@click.option("--profile", default="ordinary", show_default=True, help="How the simulated HOSP behaves at first.")
@click.option("--rate", default=5.0, show_default=True, help="Requests a second that staff make.")
@click.option("--seconds", type=float, help="Stop by itself after so many seconds.")
@click.option("--seed", default=1, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), default=Path("data/demo"), show_default=True)
def demo(events: str, profile: str, rate: float, seconds: float | None, seed: int, data: Path) -> None:
    """Run simulator, sidecar, front door and simulated staff, and show what users get against what HOSP gives."""
    stop = threading.Event()
    ends(stop)
    with ExitStack() as stack:
        _Demo(stack, stop, data, seed).run(events, profile, rate, seconds)


class _Demo:
    def __init__(self, stack: ExitStack, stop: threading.Event, data: Path, seed: int) -> None:
        self._stack = stack
        self._stop = stop
        self._data = data.resolve()
        self._seed = seed
        self._data.mkdir(parents=True, exist_ok=True)

    def run(self, events: str, profile: str, rate: float, seconds: float | None) -> None:
        hosp, hosp_control = _port(9000), _port(HOSP_CONTROL)
        simulate = ("simulate", "--profile", profile, "--seed", str(self._seed), "--port", str(hosp))
        self._spawn("hosp", *simulate, "--control-port", str(hosp_control))
        self._until("the simulator", lambda: _listens(hosp_control))
        users = hosp_api.users(f"http://127.0.0.1:{hosp_control}")
        settings = self._sidecar(events, hosp, users[0])
        door = self._front_door(settings)
        hosp_api.set_door(f"http://127.0.0.1:{hosp_control}", f"http://127.0.0.1:{door}")
        password = self._dashboard(settings)
        self._alerts()
        self._say(door, settings, hosp_control, password)
        self._traffic(door, users, rate, seconds, settings)

    def _sidecar(self, events: str, hosp: int, user: tuple[str, str]) -> Settings:
        environ = {
            "UNDERSTUDY_UPSTREAM": f"http://127.0.0.1:{hosp}",
            "UNDERSTUDY_LISTEN": f"127.0.0.1:{_port(8080 if _haproxy() else FRONT)}",
            "UNDERSTUDY_CONTROL_LISTEN": f"127.0.0.1:{_port(8081)}",
            "UNDERSTUDY_DATA": str(self._data),
            "UNDERSTUDY_TRUSTED_PROXIES": "127.0.0.1",
            "UNDERSTUDY_BACKFILL_CREDENTIALS": f"{user[0]}:{user[1]}",
            "UNDERSTUDY_BACKFILL_RATE": "20",
            "UNDERSTUDY_CONTROL_TOKEN": secrets.token_urlsafe(16),
        }
        if events == "elasticsearch":
            environ["UNDERSTUDY_ELASTICSEARCH"] = self._elasticsearch()
        environ["UNDERSTUDY_DASHBOARD_LISTEN"] = f"127.0.0.1:{_port(8050)}"
        environ["UNDERSTUDY_SLOS"] = str(self._objectives())
        self._environ = environ
        settings = load_settings({**os.environ, **environ})
        self._spawn("sidecar", "sidecar", environ=environ)
        self._until("the sidecar", lambda: _listens(settings.listen[1]) and _listens(settings.control_listen[1]))
        return settings

    def _dashboard(self, settings: Settings) -> str:
        """Starts it with one user, `demo`, who may do everything; returns the password, a new one each time."""
        password = secrets.token_urlsafe(12)
        for words in (("add", "demo", "--role", "admin"), ("password", "demo")):
            command = [sys.executable, "-m", "sidecar", "dashboard", "user", *words, "--password-stdin"]
            environ = {**os.environ, **self._environ}
            done = subprocess.run(command, env=environ, input=password, text=True, capture_output=True, check=False)
            if done.returncode == 0:
                break
        else:
            raise click.ClickException(f"the dashboard's user: {done.stderr.strip()}")
        self._spawn("dashboard", "dashboard", environ=self._environ)
        self._until("the dashboard", lambda: _listens(settings.dashboard_listen[1]))
        return password

    def _alerts(self) -> None:
        """Evaluates the demo's objectives, and tells their alerts here."""
        webhook = self._stack.enter_context(receiver(click.echo))
        environ = {"UNDERSTUDY_ALERT_WEBHOOK": webhook, "UNDERSTUDY_ALERT_EVERY": "2s"}
        spans = {"KEEP": "60s", "GROUP_WAIT": "5s", "GROUP_INTERVAL": "30s"}
        environ |= {f"UNDERSTUDY_ALERT_{name}": span for name, span in spans.items()}
        self._spawn("alerts", "alerts", environ={**self._environ, **environ})

    def _objectives(self) -> Path:
        """The shipped ones over 6 hours for 30 days, which scales the windows down: an hour is 30 s."""
        slos = self._data / "slos.yaml"
        slos.write_text(openslo.locate("hosp").read_text().replace("duration: 30d", "duration: 6h"))
        return slos

    def _elasticsearch(self) -> str:
        port = _port(9200)
        command = [sys.executable, "-m", "compose.elasticsearch.node", "--port", str(port)]
        click.echo("preparing Elasticsearch (the first time its jars are fetched from Maven Central) …")
        self._spawn_command("elasticsearch", command, {})
        self._until("Elasticsearch", lambda: _listens(port), 300.0)
        return f"http://127.0.0.1:{port}"

    def _front_door(self, settings: Settings) -> int:
        """As `understudy lb haproxy` describes it."""
        haproxy = _haproxy()
        if haproxy is None:
            click.echo("HAProxy is not on PATH: the sidecar itself is the front door.")
            return settings.listen[1]
        port = _port(FRONT)
        config = self._data / "haproxy.cfg"
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="understudy-demo-"))
        door = describe(settings, Contract.load(settings.contract), "inline", f"127.0.0.1:{port}", ())
        config.write_text(render(door, f"{folder}/admin.sock"))
        self._spawn_command("haproxy", [haproxy, "-db", "-f", str(config)], {})
        self._until("HAProxy", lambda: _listens(port))
        return port

    def _say(self, door: int, settings: Settings, hosp_control: int, password: str) -> None:
        host, port = settings.dashboard_listen
        click.echo(f"dashboard       http://{host}:{port}/   (sign in as demo with {password})")
        click.echo(f"front door      http://127.0.0.1:{door}/")
        click.echo(f"sidecar         http://127.0.0.1:{settings.listen[1]}/")
        click.echo(f"control plane   http://127.0.0.1:{settings.control_listen[1]}/endpoints   (metrics: /metrics)")
        click.echo(f"HOSP's control  http://127.0.0.1:{hosp_control}/profile")
        click.echo(f"written below   {self._data}")
        click.echo(
            f"commands        understudy --config {self._config()} endpoints | outbox | revoke USER | audit verify | …"
        )
        click.echo("\nTo break HOSP, to ask all the same, and to mend it, from another terminal:")
        click.echo("\n".join(commands(door, hosp_control)) + "\nCtrl-C stops everything.\n")

    def _config(self) -> Path:
        """The sidecar's settings as a file, for a person's commands."""
        path = self._data / "settings.toml"
        path.unlink(missing_ok=True)
        path.touch(0o600)
        path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in self._environ.items()))
        return path

    def _traffic(
        self, door: int, users: list[tuple[str, str]], rate: float, seconds: float | None, settings: Settings
    ) -> None:
        tally = _Tally()
        url = f"http://127.0.0.1:{door}"
        arguments = (url, users, rate, self._seed, self._stop, tally.add)
        staff = threading.Thread(target=traffic.run, args=arguments, daemon=True)
        staff.start()
        plane = Control(settings)
        plane.post("/backfill", {})
        began = time.monotonic()
        while not self._stop.wait(1) and (seconds is None or time.monotonic() - began < seconds):
            click.echo(tally.line() + _taken_over(plane))
        self._stop.set()
        staff.join(35)

    def _spawn(self, name: str, *words: str, environ: dict[str, str] | None = None) -> None:
        self._spawn_command(name, [sys.executable, "-m", "sidecar", *words], environ or {})

    def _spawn_command(self, name: str, command: list[str], environ: dict[str, str]) -> None:
        """Starts a process of the stack; it is stopped when the demo ends, in the opposite order."""
        log = self._stack.enter_context((self._data / f"{name}.log").open("ab"))
        process = subprocess.Popen(
            command, env={**os.environ, **environ}, stdout=log, stderr=log, stdin=subprocess.DEVNULL, process_group=0
        )
        self._stack.callback(_stop, process)
        self._last = (name, process)

    def _until(self, what: str, ready: Any, patience: float = STARTUP) -> None:
        deadline = time.monotonic() + patience
        name, process = self._last
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline or self._stop.is_set():
                raise click.ClickException(f"{what} did not start; see {self._data / name}.log")
            time.sleep(0.05)


class _Tally:
    """What users got and what HOSP gave, since the last line and since the start."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._second: Counter[str] = Counter()
        self._all: Counter[str] = Counter()
        self._slowest = 0.0

    def add(self, result: traffic.Result) -> None:
        words = ["asked", "good" if result.ok else "bad"]
        words.append("standby" if "hit" in (result.cache_status or "") else "hosp" if result.ok else "nobody")
        with self._lock:
            self._slowest = max(self._slowest, result.seconds)
            for tally in (self._second, self._all):
                tally.update(words)

    def line(self) -> str:
        with self._lock:
            second, slowest = self._second, self._slowest
            self._second, self._slowest = Counter(), 0.0
            everything = Counter(self._all)
        share = f"{everything['good'] / everything['asked']:.2%}" if everything["asked"] else "no data"
        return (
            f"{time.strftime('%H:%M:%S')}  users: {second['good']:3} of {second['asked']:3} well "
            f"(HOSP {second['hosp']:3}, standby {second['standby']:3}, nobody {second['nobody']:3})  "
            f"slowest {slowest:5.2f} s  since start {share}"
        )


def _taken_over(plane: Control) -> str:
    try:
        rows = plane.get("/endpoints")
    except ControlError:
        return "  (control plane does not answer)"
    names = [row["id"] for row in rows if row["answered_by"] == "standby"]
    return f"  standby has: {', '.join(names)}" if names else ""


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def commands(front: int, hosp_control: int) -> tuple[str, str, str]:
    """What a person types to see a takeover. README shows them for the ports that are taken where they are free."""
    profile = f"http://127.0.0.1:{hosp_control}/profile"
    return (
        f'curl -X POST -d \'{{"name": "outage"}}\'   {profile}',
        f"curl -s -i -u 'NAME:PASSWORD' 'http://127.0.0.1:{front}/patients/17' | grep -i -e cache-status -e age",
        f'curl -X POST -d \'{{"name": "ordinary"}}\' {profile}',
    )


def _haproxy() -> str | None:
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")


def _port(wanted: int) -> int:
    """The wanted port when it is free, else any."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise click.ClickException("no free port on 127.0.0.1")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
