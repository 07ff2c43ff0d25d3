"""A database that goes back in time under traffic: a copy of DATA, a dump, a replica that lacked the last of it.

Nothing is sent twice, nothing is lost but what `understudy restore --check` lists, and no id is shown for two records.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from compose.hosp import client as hosp_api
from compose.hosp.server import Simulator
from tests.consistency.checker import Violation, check
from tests.consistency.history import History, Operation, Outcome
from tests.consistency.torture import SCALE
from tests.consistency.upstreams import final_state
from tests.consistency.workload import Client
from tests.support.postgres import Server, programs
from tests.support.stack import Sidecar, until
from tests.support.upstream import basic

KINDS = {"create": 0.5, "update": 0.2, "read": 0.2, "list": 0.1}
CLIENTS = 4
WRITES = ("notes.create", "notes.update")
FIRST_PROVISIONAL = 2_000_000_000
QUICK = {
    "upstream_timeout": "3s", "late_effect": "1s", "deadline": "700ms", "sign_every": "1s",
    "bypass_after": "60s",  # what is tried is a database that goes back, not what passes by meanwhile
}  # fmt: skip


class Backup:
    """A database, how it is kept, and how what was kept is put back: here a copy of DATA, while nothing runs."""

    url = ""

    def __init__(self, data: Path) -> None:
        self.data, self.kept, self.lost = data, data.with_name("backup"), data.with_name("lost")

    def keep(self, side: Sidecar) -> None:
        side.stop()
        shutil.copytree(self.data, self.kept)
        side.start()

    def put_back(self, side: Sidecar) -> None:
        side.kill()
        self.data.rename(self.lost)  # its journal still says what was accepted
        shutil.copytree(self.kept, self.data)

    def close(self) -> None:
        pass


class Dump(Backup):
    """pg_dump, while it serves; psql, while nothing runs."""

    def __init__(self, data: Path, where: Path) -> None:
        super().__init__(data)
        self._server = _server(where)
        self._server.make()
        self._server.start()
        self.url = self._server.url

    def keep(self, side: Sidecar) -> None:
        self._program("pg_dump", "--clean", "--if-exists", "--file", str(self.kept))

    def put_back(self, side: Sidecar) -> None:
        side.kill()
        self.load()

    def load(self) -> None:
        """What was kept, while nothing runs."""
        self._program("psql", "--quiet", "--file", str(self.kept))

    def close(self) -> None:
        _remove(self._server)

    def _program(self, name: str, *words: str) -> None:
        where = ("-h", "127.0.0.1", "-p", str(self._server.port), "-U", "understudy")
        command = [str(programs() / name), *where, *words, "postgres"]  # type: ignore[operator]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr


class Replica(Backup):
    """An asynchronous replica that falls behind, and is promoted when the primary dies. The sidecars go on."""

    def __init__(self, data: Path, where: Path) -> None:
        super().__init__(data)
        self._primary, self._replica = _server(where), _server(where)
        self._primary.make()
        self._primary.start(wal_level="replica")
        self._replica.copy(self._primary)
        self._replica.start()
        hosts = "&".join(f"host=127.0.0.1:{server.port}" for server in (self._primary, self._replica))
        self.url = f"postgresql+psycopg://understudy@/postgres?{hosts}"

    def keep(self, side: Sidecar) -> None:
        engine = create_engine(self._replica.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("ALTER SYSTEM SET primary_conninfo = ''"))  # it gets nothing more
            connection.execute(text("SELECT pg_reload_conf()"))
            gone = text("SELECT count(*) = 0 FROM pg_stat_wal_receiver")
            until(lambda: connection.scalar(gone), 10, "the replica is cut off")
        engine.dispose()

    def put_back(self, side: Sidecar) -> None:
        self._primary.stop()
        self._replica.promote()

    def close(self) -> None:
        _remove(self._primary)
        _remove(self._replica)


def _server(where: Path) -> Server:
    return Server(where)


def _remove(server: Server) -> None:
    try:
        server.stop()
    except AssertionError:
        pass  # it was
    server.remove()


def backup(kind: str, data: Path) -> Backup:
    if kind == "copy":
        return Backup(data)
    if (where := programs()) is None:
        pytest.skip("PostgreSQL is not installed (apt install postgresql)")
    return {"dump": Dump, "replica": Replica}[kind](data, where)


def all_of(side: Sidecar, what: str) -> None:
    for endpoint in WRITES:
        until(lambda e=endpoint: side.plane("POST", f"/endpoints/{e}/{what}", {}).status == 200, 10, what)


def some_wait(side: Sidecar, count: int) -> None:
    until(lambda: side.plane("GET", "/outbox").json()["pending"] >= count, 60, "writes wait")


def nothing_waits(side: Sidecar) -> None:
    until(lambda: not side.plane("GET", "/outbox").json()["pending"], 180, "nothing waits")


def undecided(side: Sidecar) -> set[str]:
    """Waits until nothing is pending but what depends on a parked write; the ids of the records of these."""

    def rest() -> list[set[str]] | None:
        told = side.plane("GET", "/outbox").json()
        named = {str(entry[name]) for entry in told["parked"] for name in ("record_id", "provisional_id")}
        stopped = named - {"None"}  # a create that is parked has no record yet, and a change no provisional id
        done = all({str(entry["record_id"]), str(entry["provisional_id"])} & stopped for entry in told["entries"])
        return [stopped] if done else None

    (found,) = until(rest, 180, "settled")
    return set(found)


def listed(side: Sidecar, *others: Path) -> tuple[set[str], str]:
    """The ids of records whose accepted writes the database lacks, as the command lists them from the journals of this
    node and of other folders of data."""
    journals = [word for path in others if path.exists() for word in ("--journal", str(path / "journal"))]
    said = side.cli("restore", "--check", *journals)
    assert said.returncode == 0, said.stdout + said.stderr
    lost = [line.split() for line in said.stdout.splitlines() if line.startswith(("lost: ", "unclear: "))]
    return {words[3] for words in lost}, said.stdout


def titles(ids: set[str], operations: Sequence[Operation], simulator: Simulator) -> set[str]:
    """What the records are called that users know, or HOSP knows, by these ids."""
    known = {each.title for each in operations if each.kind != "list" and str(each.ident) in ids}
    rows = simulator.hosp.data.tables["notes"].values()
    return known | {str(row["title"]) for row in rows if str(row["id"]) in ids}


def unexplained(found: Sequence[Violation], titles: set[str]) -> list[str]:
    """The violations that are not about records with a write that was listed as lost."""
    return [str(each) for each in found if each.promise == "doubled" or each.what.split()[0] not in titles]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "kind", ["copy", *(pytest.param(kind, marks=pytest.mark.postgresql) for kind in ("dump", "replica"))]
)
def test_nothing_is_doubled_and_what_is_lost_is_listed(tmp_path: Path, kind: str) -> None:
    history = History()
    with ExitStack() as stack:
        kept = backup(kind, tmp_path / "data")
        stack.callback(kept.close)
        simulator = stack.enter_context(Simulator("calm", seed=1, time_scale=SCALE))
        staff = hosp_api.users(simulator.control_url)
        settings = {"database": kept.url} if kept.url else {}
        side = stack.enter_context(
            Sidecar(simulator.url, kept.data, backfill_credentials=":".join(staff[-1]), **QUICK, **settings)
        )
        for user in staff[:CLIENTS]:
            for path in ("/notes", "/patients", "/staffs", "/staffs/me"):
                assert side.ask("GET", path, {"Authorization": basic(*user)}).status == 200
        clients = [Client(n, staff[n], side.port, history, 1, 0.08, KINDS) for n in range(CLIENTS)]
        stack.callback(lambda: [client.stop() for client in clients])
        all_of(side, "takeover")
        some_wait(side, 10)
        kept.keep(side)
        some_wait(side, 20)
        all_of(side, "handback")
        nothing_waits(side)  # what waits in the backup is settled
        all_of(side, "takeover")
        some_wait(side, 3)  # what the backup has not
        kept.put_back(side)
        if kind != "replica":
            assert "provisional ids are not in the database" in side.cli("restore", "--check").stdout
            side.start()
        until(lambda: "database_went_back" in side.log.read_text(), 30, "it is noticed")
        until(lambda: b"understudy_database_went_back_timestamp_seconds" in side.plane("GET", "/metrics").body, 10)
        time.sleep(1.5)  # traffic goes on
        all_of(side, "handback")
        for client in clients:
            client.stop()
        for client in clients:
            client.join(70)
        parked = undecided(side)
        lost, said = listed(side, kept.lost)
    operations = history.operations
    final = replace(final_state(simulator, []), parked=frozenset(titles(parked, operations, simulator)))
    if kind != "copy":  # what the journal and the event store say is put back too
        assert not parked
    given = Counter(each.ident for each in operations if each.kind == "create" and each.outcome is Outcome.OK)
    assert not [ident for ident, count in given.items() if count > 1]
    told = Counter(f"{each.kind} {each.status} {each.by}" for each in operations)
    assert any(ident >= FIRST_PROVISIONAL for ident in given), told
    assert not unexplained(check(operations, final), titles(lost, operations, simulator)), said


@pytest.mark.timeout(600)
@pytest.mark.postgresql
def test_two_sidecars_whose_database_fails_over_to_a_replica_that_lacked_the_last_of_it(tmp_path: Path) -> None:
    """Both serve and write all the while; what the replica lacks is in the journal of either."""
    history = History()
    with ExitStack() as stack:
        kept = backup("replica", tmp_path / "one")
        stack.callback(kept.close)
        simulator = stack.enter_context(Simulator("calm", seed=1, time_scale=SCALE))
        staff = hosp_api.users(simulator.control_url)
        settings = {**QUICK, "database": kept.url, "seal_key": str(tmp_path / "seal-key")}
        sides = [
            stack.enter_context(
                Sidecar(simulator.url, tmp_path / node, node=node, backfill_credentials=":".join(staff[-1]), **settings)
            )
            for node in ("one", "two")
        ]
        for side in sides:
            for user in staff[:CLIENTS]:
                for path in ("/notes", "/patients", "/staffs", "/staffs/me"):
                    assert side.ask("GET", path, {"Authorization": basic(*user)}).status == 200
        clients = [Client(n, staff[n], sides[n % 2].port, history, 1, 0.08, KINDS) for n in range(CLIENTS)]
        stack.callback(lambda: [client.stop() for client in clients])
        all_of(sides[0], "takeover")
        some_wait(sides[0], 10)
        kept.keep(sides[0])  # from here on the replica gets nothing more
        some_wait(sides[1], 20)
        all_of(sides[0], "handback")
        nothing_waits(sides[0])  # what waits on the replica is settled
        all_of(sides[1], "takeover")
        some_wait(sides[1], 3)  # what the replica has not
        kept.put_back(sides[0])
        until(lambda: any("database_went_back" in side.log.read_text() for side in sides), 30, "noticed")
        time.sleep(1.5)  # traffic goes on
        all_of(sides[0], "handback")
        for client in clients:
            client.stop()
        for client in clients:
            client.join(70)
        parked = undecided(sides[0])
        lost, said = listed(sides[0], sides[1].data)
    operations = history.operations
    final = replace(final_state(simulator, []), parked=frozenset(titles(parked, operations, simulator)))
    given = Counter(each.ident for each in operations if each.kind == "create" and each.outcome is Outcome.OK)
    assert any(ident >= FIRST_PROVISIONAL for ident in given)
    assert not [ident for ident, count in given.items() if count > 1]
    assert lost
    assert not unexplained(check(operations, final), titles(lost, operations, simulator)), said
