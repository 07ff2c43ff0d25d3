"""A day of docs/OPERATIONS.md under traffic: `python -m tests.stack.day`. No user may notice any of it.

The program is installed from its wheel into an empty environment, and runs under the system call filter of its unit:
two nodes of the release before on one PostgreSQL behind a real HAProxy that serves HTTPS too. Then, one after another:
both are upgraded, with writes pending; again, and one goes back; each key, token and password is rotated; the
certificate renewed; a node dies and comes back; one is drained, and another takes its place; one dies for good, and
what it had not shipped is adopted; the contract loses an endpoint with writes pending, and is refused; the database is
restored from a backup. In the end every write that was answered is at HOSP once. Where no sidecar serves, HAProxy turns
to HOSP itself.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from compose.hosp.server import Simulator
from compose.tls import authority
from sidecar.storage.database import SCHEMA
from tests.process.test_restore import Dump
from tests.stack import handshakes
from tests.stack.front import Front
from tests.stack.rolling import USERS, Tally, Users
from tests.support import seccomp
from tests.support.fake_elasticsearch import FakeElasticsearch
from tests.support.postgres import programs
from tests.support.stack import Got, Sidecar, ask, free_port, until
from tests.support.upstream import basic

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "compose" / "systemd" / "understudy-sidecar.service"
CONTRACTS = ROOT / "sidecar" / "contracts"
PAUSE = 0.5
"""Seconds between a user's requests: installing and starting beside them are tried here, not throughput."""
HASTE = 0.2
"""HOSP's time: that what waits is sent slowly is not what is tried here."""
KILLED = ("a node dies and comes back", "a dead nodes journal is adopted")
"""The steps in which a node is killed: what was under way on it may fail."""
PREVIOUS = "a16dc6c"
"""The commit that is upgraded from: the release before. Where it is not in this clone: this program."""
NEXT = "0.1.1.dev1"
"""The version that is upgraded to: this program, numbered above the one before."""

LATER = f"""
import sqlalchemy as sa
from alembic import op
revision, down_revision, readable_from = "9999", {SCHEMA.known()[-1]!r}, {SCHEMA.known()[-1]!r}
def upgrade():
    op.create_table("later", sa.Column("id", sa.Integer, primary_key=True))
"""
"""A migration of a later release."""


class NotInstalled(Exception):
    """The environment could not be made; the message says why."""


class Node(Sidecar):
    """One that is installed in an environment of its own, and reads its secrets from files."""

    def __init__(self, python: Path, url: str, data: Path, ports: tuple[int, int], **settings: str) -> None:
        self._ports = ports
        self._token = Path(settings["control_token_file"])
        listening = {"listen": f"127.0.0.1:{ports[0]}", "control_listen": f"127.0.0.1:{ports[1]}"}
        within = [sys.executable, seccomp.__file__, str(UNIT)] if seccomp.available() else []
        super().__init__(
            url,
            data,
            environ={"PYTHONSAFEPATH": "1"},
            within=within,
            evidence="compose.hosp",
            interpreter=str(python),
            **settings,
            **listening,
        )

    def start(self) -> None:
        self.port, self.control = self._ports
        super().start()

    def plane(self, method: str, path: str, body: Any = None) -> Got:
        return ask(self.control, method, path, {"Authorization": f"Bearer {self._token.read_text().strip()}"}, body)

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        """As a person runs it: without the unit's filter."""
        command = [self.interpreter, "-m", "sidecar", *words]
        return subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=90, check=False)

    def does(self, *words: str) -> str:
        done = self.cli(*words)
        assert done.returncode == 0, f"understudy {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr


@dataclass
class Played:
    """What came of the day. `lost`: answered writes that HOSP does not have; `twice`: those it has twice."""

    tally: Tally
    steps: dict[str, int] = field(default_factory=dict)
    """How many requests failed, step by step."""
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)

    def is_good(self) -> bool:
        """Nothing was lost or doubled, and no request failed but what was under way on a node that was killed."""
        killed = [self.steps.get(step, 0) for step in KILLED]
        return not (self.lost or self.twice) and max(killed) <= USERS and len(self.tally.failures) == sum(killed)

    def __str__(self) -> str:
        seen = self.tally
        told = f"{seen.asked} requests, {len(seen.titles)} writes answered: {len(seen.failures)} requests failed, "
        return "\n".join([f"{told}{len(self.lost)} writes lost, {len(self.twice)} twice", *seen.failures[:10]])


def install(folder: Path) -> tuple[Path, Path, Path]:
    """The interpreter of an empty environment with the wheel of the release before, the wheel of this program, and that
    of a later one, which has another table.

    Raises NotInstalled.
    """
    home = folder / "opt"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    present = folder / "present"
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (present / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, present / name)
    before = _wheel(_before(folder / "before") or present, folder / "wheels" / "before")
    version = present / "sidecar" / "__init__.py"
    version.write_text("\n".join(_numbered(line) for line in version.read_text().splitlines()) + "\n")
    following = _wheel(present, folder / "wheels" / "present")
    (present / "sidecar" / "storage" / "migrations" / "versions" / "9999_later.py").write_text(LATER)
    later = _wheel(present, folder / "wheels" / "later")
    _run(sys.executable, "-m", "venv", "--without-pip", str(home))
    python = home / "bin" / "python"
    put_in(python, f"{before}[postgresql]")
    return python, following, later


def put_in(python: Path, what: str, *words: str) -> None:
    """Installs it in that interpreter's environment. Raises NotInstalled. What is used of it is compiled as it is."""
    install = ("install", "-q", "--no-input", "--no-compile")
    _run(sys.executable, "-m", "pip", "--python", str(python), *install, *words, what)


def _before(folder: Path) -> Path | None:
    """The source of the release before; None: this clone does not have it."""
    archive = subprocess.run(["git", "archive", PREVIOUS], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode != 0:
        return None
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def _wheel(source: Path, folder: Path) -> Path:
    _run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    return wheel


def _numbered(line: str) -> str:
    return f'__version__ = "{NEXT}"' if line.startswith("__version__") else line


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise NotInstalled(f"{' '.join(words)}: {done.stderr[-2000:]}")


class Day:
    """Everything that runs, and what is done to it. Each public method is a step, in the order in which they stand."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        where = programs()
        assert where is not None, "PostgreSQL is not installed"
        self.folder, self.etc = folder, folder / "etc"
        self.python, self._following, self._later = install(folder)
        self.hosp = stack.enter_context(Simulator("calm", time_scale=HASTE))
        self.events = stack.enter_context(FakeElasticsearch())
        self._dump = Dump(folder / "one", where)
        stack.callback(self._dump.close)
        self._write_settings()
        ports = [(free_port(), free_port()) for _ in range(2)]
        self.one, self.two = (
            stack.enter_context(self._node(name, at)) for name, at in zip(("one", "two"), ports, strict=True)
        )
        self.one.does("backfill")
        authority.write(folder / "tls", ["localhost", "127.0.0.1"])
        servers = [f"127.0.0.1:{users}/{control}" for users, control in ports]
        words = ("--https", "SECURE", "--certificate", str(folder / "tls" / "server.pem"))
        self.front = stack.enter_context(Front("haproxy", "inline", self.one, folder / "tls", *words, servers=servers))
        self._stack = stack

    def _write_settings(self) -> None:
        self.etc.mkdir()
        (self.etc / "control_token").write_text("the first token\n")
        (self.etc / "backfill").write_text(":".join(self.hosp.users[0]) + "\n")
        for name in ("hosp.yaml", "hosp.policies.yaml"):
            shutil.copy(CONTRACTS / name, self.etc / name)

    def _node(self, name: str, ports: tuple[int, int]) -> Node:
        keys = {"seal_key": "seal_key", "encryption_keys": "encryption_keys", "contract": "hosp.yaml"}
        given = {key: str(self.etc / file) for key, file in keys.items()}
        given |= {"control_token_file": str(self.etc / "control_token")}
        given |= {"backfill_credentials_file": str(self.etc / "backfill"), "backfill_rate": "100", "node": name}
        given |= {"bypass_after": "0s", "drain": "2s", "grace": "20s", "trusted_proxies": "127.0.0.1"}
        given |= {"deadline": "20s", "hedge_after": "20s", "late_effect": "1s", "database": self._dump.url}
        given |= {"elasticsearch": self.events.url}
        return Node(self.python, self.hosp.url, self.folder / name, ports, **given)

    @property
    def nodes(self) -> Sequence[Node]:
        return self.one, self.two

    def _back(self, node: Node) -> None:
        node.start()
        time.sleep(1.2)  # until HAProxy's check (every 500 ms) has seen that it is back

    def _settled(self) -> None:
        """Waits until nothing waits, or says what does."""
        try:
            until(lambda: not self._entries(), 300, "nothing waits")
        except AssertionError as error:
            raise AssertionError(f"{error}; there wait {self._entries()[:5]}") from error

    def _entries(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.one.plane("GET", "/outbox").json()["entries"]
        return entries

    def _writes(self, what: str) -> None:
        """Takes over, once the standby knows what notes refer to, or hands back."""
        for node in self.nodes:
            for known in ("patients.read", "staffs.read") if what == "takeover" else ():
                self._is_ready(node, known)
            assert node.plane("POST", f"/endpoints/notes.create/{what}", {}).status == 200

    def _is_ready(self, node: Node, endpoint: str) -> None:
        """Waits until the standby can answer it, or says why it cannot. Somebody reads one record after the other
        meanwhile: it is proven by what is asked."""
        number, who = itertools.count(1), {"Authorization": basic(*self.hosp.users[0])}

        def ready() -> bool:
            node.ask("GET", f"/{endpoint.partition('.')[0]}/{next(number)}", who)
            return node.plane("GET", f"/ready/{endpoint}").status == 200

        try:
            until(ready, 300, endpoint)
        except AssertionError as error:
            raise AssertionError(f"{error}: {node.plane('GET', f'/ready/{endpoint}').body.decode()}") from error

    def _waiting(self, count: int) -> list[dict[str, Any]]:
        return list(until(lambda: found if len(found := self._entries()) >= count else [], 60, "writes wait"))

    def upgrade(self) -> None:
        self._writes("takeover")
        self._waiting(3)
        put_in(self.python, f"{self._following}[postgresql]")
        for node in self.nodes:
            assert NEXT not in node.plane("GET", "/metrics").body.decode()
            node.does("reload")
            assert f'understudy_build_info{{version="{NEXT}"}}' in node.plane("GET", "/metrics").body.decode()
        self._writes("handback")
        self._settled()

    def upgrade_and_go_back(self) -> None:
        """To a release that changes tables, and one node back from it, beside the other, and started anew."""
        self._put_in(self._later)
        for node in self.nodes:
            node.does("reload")
        self._put_in(self._following)
        self.two.does("reload")
        self.two.stop()
        self._back(self.two)
        assert '"later_schema"' in self.two.log.read_text()
        self.one.does("reload")

    def _put_in(self, wheel: Path) -> None:
        put_in(self.python, str(wheel), "--no-deps", "--force-reinstall")

    def rotate_sign_keys(self) -> None:
        for node in self.nodes:
            node.does("audit", "rotate-key")
            until(lambda node=node: node.cli("audit", "verify").returncode == 0, 30, "it verifies")  # type: ignore[misc]

    def rotate_what_a_reload_takes(self) -> None:
        """The encryption keys, the control plane's token, the password of backfill."""
        assert self.one.plane("GET", "/outbox").status == 200
        path, token = self.etc / "encryption_keys", {"Authorization": f"Bearer {self._token()}"}
        path.write_text(f"{os.urandom(32).hex()}\n{path.read_text()}")
        (self.etc / "control_token").write_text("the second token\n")
        (self.etc / "backfill").write_text(":".join(self.hosp.users[1]) + "\n")
        for node in self.nodes:
            node.does("reload")
            assert node.plane("GET", "/outbox").status == 200
            assert ask(node.control, "GET", "/outbox", token).status == 401
        self.one.does("backfill")

    def _token(self) -> str:
        return (self.etc / "control_token").read_text().strip()

    def rotate_seal_key(self) -> None:
        self._settled()
        for node in self.nodes:
            node.stop()
        (self.etc / "seal_key").write_bytes(os.urandom(32))
        for node in self.nodes:
            self._back(node)

    def renew_certificate(self) -> None:
        old = handshakes.serial(self.front.secure, self.folder / "tls" / "ca.pem")
        authority.write(self.folder / "tls", ["localhost", "127.0.0.1"])
        self.one.does(
            "lb", "renew", str(self.folder / "tls" / "server.pem"), "--socket", str(self.front.socket)
        )  # fmt: skip
        until(lambda: handshakes.serial(self.front.secure, self.folder / "tls" / "ca.pem") != old, 10, "renewed")

    def a_node_dies_and_comes_back(self) -> None:
        self.two.kill()
        time.sleep(1)
        self._back(self.two)
        until(lambda: self.two.plane("GET", "/readyz?full").status == 200, 30, "its background work goes on")
        self.two.does("audit", "verify")

    def another_node_takes_the_place_of_one(self) -> None:
        self.one.does("node", "drain", "two")
        until(lambda: self.two.plane("GET", "/healthz").status == 503, 10, "its health check fails")
        time.sleep(1.2)
        self.two.stop()
        self.one.does("node", "remove", "two")
        self.two = self._another("three")

    def a_dead_nodes_journal_is_adopted(self) -> None:
        self.events.refusing = True
        time.sleep(3)
        dead, ids = self.two, {line["event"]["event"]["id"] for line in self.two.journal()}
        dead.kill()
        self.events.refusing = False
        self.two = self._another("four")
        stored = {ident for _day, ident in self.events.stored}
        assert ids - stored, "it has shipped everything already"
        assert "three: removed" in self.one.does("node", "adopt", str(dead.data))
        assert not ids - {ident for _day, ident in self.events.stored}
        assert {row["node"] for row in json.loads(self.one.does("node", "list", "--format", "json"))} == {"one", "four"}

    def _another(self, name: str) -> Node:
        """In the place of the one that is gone."""
        node = self._stack.enter_context(self._node(name, (self.two.port, self.two.control)))
        time.sleep(1.2)
        return node

    def a_contract_that_would_lose_writes_is_refused(self) -> None:
        self._writes("takeover")
        self._waiting(3)
        path = self.etc / "hosp.yaml"
        whole = path.read_text()
        document = yaml.safe_load(whole)
        del document["paths"]["/notes"]["post"]
        path.write_text(yaml.safe_dump(document))
        for words in (("sidecar", "--check"), ("reload",)):
            done = self.one.cli(*words)
            assert done.returncode == 1
            assert "notes.create" in done.stderr, done.stderr  # those that wait just now
        path.write_text(whole)
        self._writes("handback")
        self._settled()

    def restore(self) -> None:
        """tests/process/test_restore.py restores one in which writes wait; here users' success is what counts."""
        self._dump.keep(self.one)
        time.sleep(5)  # what is written meanwhile is not in it
        self._settled()
        self.two.stop()
        self.one.stop()
        self._dump.load()
        said = self.one.does("restore", "--check", "--journal", str(self.two.data / "journal"))
        assert "acknowledged writes without an entry: 0 lost, 0 unclear" in said, said
        for node in self.nodes:
            self._back(node)
        self._settled()


STEPS: tuple[Callable[[Day], None], ...] = (
    Day.upgrade,
    Day.upgrade_and_go_back,
    Day.rotate_sign_keys,
    Day.rotate_what_a_reload_takes,
    Day.rotate_seal_key,
    Day.renew_certificate,
    Day.a_node_dies_and_comes_back,
    Day.another_node_takes_the_place_of_one,
    Day.a_dead_nodes_journal_is_adopted,
    Day.a_contract_that_would_lose_writes_is_refused,
    Day.restore,
)


def play(
    folder: Path, say: Callable[[str], None] = lambda _: None, steps: Sequence[Callable[[Day], None]] = STEPS
) -> Played:
    """Raises NotInstalled, and AssertionError where a step does not do what the page says."""
    with ExitStack() as stack:
        began = time.monotonic()
        day = Day(folder, stack)
        say(f"installed, and all is up: {time.monotonic() - began:.0f} s")
        users = Users(day.front.port, day.hosp.users[0], PAUSE)
        played = Played(users.tally)
        try:
            for step in steps:
                began, asked = time.monotonic(), users.tally.asked
                step(day)
                users.wait(asked + 50)
                name = step.__name__.replace("_", " ")
                failed = len(users.tally.failures) - sum(played.steps.values())
                played.steps[name] = failed
                say(f"{name}: {time.monotonic() - began:.0f} s, {failed} requests failed")
                for line in users.tally.failures[len(users.tally.failures) - failed :]:
                    say(f"    {line}")
        finally:
            users.stop()
        day._settled()
        applied = Counter(str(w["body"].get("title")) for w in day.hosp.hosp.applied if isinstance(w["body"], dict))
        played.lost = [title for title in played.tally.titles if not applied[title]]
        played.twice = [title for title, times in applied.items() if times > 1]
    return played


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = {step.__name__: step for step in STEPS}
    parser.add_argument("--step", action="append", choices=list(names), help="only these")
    steps = [names[name] for name in parser.parse_args().step or names]
    with tempfile.TemporaryDirectory(prefix="understudy-day-") as folder:
        began = time.monotonic()
        played = play(Path(folder), lambda line: print(line, flush=True), steps)
        print(f"{played}\n{time.monotonic() - began:.0f} s")
    return int(not played.is_good())


if __name__ == "__main__":
    sys.exit(main())
