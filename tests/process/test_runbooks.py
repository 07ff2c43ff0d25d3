"""Each command of the runbooks is run as it is written, against a sidecar that has trouble: it does what is said of it,
or says in a line why it cannot now."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Engine, update

from alerts.lifecycle.lifecycle import Condition
from alerts.lifecycle.store import Alerts
from alerts.lifecycle.tables import open_alerts
from alerts.message import RUNBOOKS
from compose.tls import authority
from sidecar.settings import Settings
from sidecar.standby.outbox.entries import outbox as entries
from sidecar.storage.database import open_engine
from tests.support.alerts.receivers import receiver
from tests.support.stack import TOKEN, Sidecar, ask
from tests.support.upstream import HOLT, Fault, Upstream

WRITTEN: Final = sorted(
    {said for path in RUNBOOKS.glob("*.md") for said in re.findall(r"`([a-z]+ [^`]+)`", path.read_text())}
)
PROGRAMS: Final = frozenset({"understudy", "curl", "openssl", "df", "du", "date", "python"})
ELSEWHERE: Final = {
    "systemctl": "systemd, which no test has",
    "chronyc": "a time server's daemon",
    "openssl s_client": "a front door on port 443",
}
"""What is not run here, and what it needs."""
NO_COMMANDS: Final = frozenset({"outbox retry", "outbox discard"})
"""Words about a command that is written out beside them."""
REFUSED: Final = {
    "understudy outbox merge": "there is nothing to merge it with",
    "curl -s 127.0.0.1:8081/metrics | grep clock_skew": "",
    "understudy node adopt": "there is no shared event store",
    "understudy node drain": "there is no node 'gone'",
    "understudy node remove": "there is no node 'gone'",
}
"""What is right to refuse where there is one node, and what it says. What they do where there are two:
tests/stack/test_nodes.py and tests/stack/day.py."""
PAGE: Final = Condition(name="WriteParked", severity="ticket", source="x", notes={"reason": "a write waits"})


@dataclass
class Scene:
    sidecar: Sidecar
    engine: Engine
    folder: Path
    told: Any

    def plane(self, path: str) -> Any:
        return ask(self.sidecar.control, "GET", path, {"Authorization": f"Bearer {TOKEN}"}).json()

    def words(self) -> dict[str, str]:
        """What a person puts in for what is written in capitals."""
        parked = [row["id"] for row in self.plane("/outbox")["entries"] if row["state"] == "parked"]
        [alert] = Alerts(self.engine).all()
        control = f"127.0.0.1:{self.sidecar.control}"
        return {
            "ENDPOINT": "notes.list", "USER": "Dr Holt", "KEY": alert.key[:8], "RESOURCE": "notes", "FIELD": "title",
            "ID": parked[0] if parked else "none", "NAME": "bulk_reading", "NODE": "gone",
            "DATA": str(self.sidecar.data), "FOLDER": str(self.folder / "authority"),
            "FILE": str(self.folder / "tls/server.crt"), "CONTROL_LISTEN": control, "127.0.0.1:8081": control,
            "FRONT_DOOR": f"127.0.0.1:{self.sidecar.port}", "$UNDERSTUDY_ELASTICSEARCH": control,
        }  # fmt: skip

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """As a shell does, with our own program and Python for those that are installed."""
        for capitals, value in self.words().items():
            command = re.sub(rf"(?<![A-Z_]){re.escape(capitals)}(?![A-Z_])", lambda _, v=value: _fit(v), command)
        ours = shlex.quote(sys.executable)
        command = re.sub(r"^understudy", f"{ours} -m sidecar", re.sub(r"^python ", f"{ours} ", command))
        return subprocess.run(
            ["bash", "-c", command], env=self.sidecar.environ, input="y\n", capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip


def _fit(value: str) -> str:
    return value if re.fullmatch(r"[\w./:-]+", value) else shlex.quote(value)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A write that waits, an alert that fires, and somebody who is told."""
    folder = tmp_path_factory.mktemp("runbooks")
    authority.write(folder / "tls", ["127.0.0.1"])
    with receiver() as told, Upstream() as upstream:
        given = {"deadline": "500ms", "backfill_credentials": "Dr Holt:s3cret-Holt", "alert_webhook": told.url}
        with Sidecar(upstream.url, folder / "data", **given) as sidecar:
            upstream.state.patients[17] = {"id": 17, "name": "Rex"}
            assert sidecar.ask("GET", "/patients/17", HOLT).status == 200
            upstream.state.faults.append(Fault("500", "/notes", "POST", times=10_000))
            for title in ("one", "two", "three", "four"):
                assert sidecar.ask("POST", "/notes", HOLT, {"title": title, "patient_id": 17}).status == 201
            database = open_engine(Settings(data=sidecar.data))
            with database.begin() as connection:
                connection.execute(update(entries).values(state="parked", reason="a test"))
            database.dispose()
            engine = open_alerts(Settings(data=sidecar.data))
            Alerts(engine).apply([PAGE], unknown=set(), repeat=1 << 60, enqueue=lambda *_: None)
            yield Scene(sidecar, engine, folder, told)
            engine.dispose()


def commands() -> list[str]:
    mine = [said for said in WRITTEN if said.split()[0] in PROGRAMS and said not in NO_COMMANDS]
    return [each for each in mine if not any(each.startswith(left) for left in ELSEWHERE)]


@pytest.mark.parametrize(
    "command", [each for each in commands() if each not in ("understudy alerts", "understudy sidecar")]
)
def test_it_does_what_it_is_for(command: str, scene: Scene) -> None:
    ran = scene.run(command)
    said = ran.stdout + ran.stderr
    assert "Traceback" not in said
    if (why := next((why for each, why in REFUSED.items() if command.startswith(each)), None)) is not None:
        assert (ran.returncode, why in said) == (1, True), said
    else:
        assert ran.returncode == 0, said


def test_what_is_no_command_that_is_run_here_is_known_by_name() -> None:
    rest = {said for said in WRITTEN if said not in commands() and said not in NO_COMMANDS}
    assert {next((left for left in ELSEWHERE if said.startswith(left)), said) for said in rest} == set(ELSEWHERE)


def test_what_they_do_is_done(scene: Scene) -> None:
    """What was silenced, marked, tried and taken over is."""
    [alert] = Alerts(scene.engine).all()
    assert (alert.state, alert.reason) == ("silenced", "…")
    assert scene.told.got, "the test message"
    rows = {row["id"]: row for row in scene.plane("/endpoints")}
    assert rows["notes.list"]["mode"] == "standby"
    assert {mark["text"] for mark in scene.plane("/marks")} >= {"gone is lost"}


@pytest.mark.parametrize("program", ["alerts", "sidecar"])
def test_the_two_that_go_on_are_the_programs_themselves(program: str, scene: Scene) -> None:
    if program == "sidecar":
        assert scene.sidecar.healthy()
        return
    words = [sys.executable, "-m", "sidecar", "alerts"]
    running = subprocess.Popen(
        words, env=scene.sidecar.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert running.stdout is not None
    try:
        assert any("evaluator_changed" in line for line in running.stdout), "it ended before it evaluated"
    finally:
        running.terminate()
        said, _ = running.communicate(timeout=30)
    assert running.returncode == 0, said
