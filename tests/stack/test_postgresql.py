"""Two sidecars on one real PostgreSQL: what one takes, the other shows; one of them replays."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, select, text

from sidecar.storage.group_commit import GroupCommit
from sidecar.storage.lease import leases
from sidecar.storage.postgresql import WRITERS
from tests.support.postgres import Server, cluster, programs
from tests.support.stack import Sidecar, until
from tests.support.upstream import HOLT, Upstream, with_a_note

pytestmark = pytest.mark.postgresql


@pytest.fixture
def database() -> Iterator[str]:
    with cluster() as url:
        yield url


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with with_a_note("Round") as server:
        yield server


@pytest.fixture
def pair(upstream: Upstream, database: str, tmp_path: Path) -> Iterator[tuple[Sidecar, Sidecar]]:
    shared = {
        "database": database, "seal_key": str(tmp_path / "seal-key"), "upstream_timeout": "2s", "late_effect": "1s",
        "workers": "1",
    }  # fmt: skip
    with (
        Sidecar(upstream.url, tmp_path / "one", node="one", **shared) as one,
        Sidecar(upstream.url, tmp_path / "two", node="two", **shared) as two,
    ):
        for path in ("/notes", "/patients", "/staffs/me"):
            assert one.ask("GET", path, HOLT).status == 200
        for sidecar in (one, two):
            until(lambda s=sidecar: s.plane("GET", "/ready/notes.list").status == 200, what="notes known")
            until(lambda s=sidecar: s.plane("GET", "/ready/patients.read").status == 200, what="patients known")
        yield one, two


def test_two_sidecars_are_one_standby(pair: tuple[Sidecar, Sidecar], upstream: Upstream) -> None:
    one, two = pair
    upstream.stop()
    first = one.ask("POST", "/notes", HOLT, {"title": "First", "patient_id": 17}).json()["id"]
    second = two.ask("POST", "/notes", HOLT, {"title": "Second", "patient_id": 17}).json()["id"]
    assert first != second
    for sidecar in pair:
        assert [row["title"] for row in sidecar.ask("GET", "/notes", HOLT).json()] == ["Second", "First", "Round"]
    assert two.ask("PATCH", f"/notes/{first}", HOLT, {"title": "Changed"}).status == 200
    assert one.ask("GET", f"/notes/{first}", HOLT).json()["title"] == "Changed"
    one.kill()  # whoever held the lease, the other goes on
    upstream.start()
    until(lambda: not two.plane("GET", "/outbox").json()["entries"], 40, "drained")
    assert sorted(row["title"] for row in upstream.state.notes.values()) == ["Changed", "Round", "Second"]
    assert two.ask("GET", f"/notes/{first}", HOLT).json()["title"] == "Changed"
    assert [s.method for s in upstream.seen("/notes") if s.method != "GET"].count("POST") == 2


def test_takeover_and_revocation_agree_within_a_second(pair: tuple[Sidecar, Sidecar], upstream: Upstream) -> None:
    one, two = pair
    assert one.cli("takeover", "notes.list").returncode == 0
    until(lambda: "hit" in two.ask("GET", "/notes", HOLT)["Cache-Status"], 1.5, "the other knows")
    assert one.cli("revoke", "Dr Holt").returncode == 0
    until(lambda: two.ask("GET", "/notes", HOLT).status == 401, 1.5, "the other refuses")
    assert two.cli("restore", "Dr Holt").returncode == 0
    assert two.cli("handback", "notes.list").returncode == 0
    until(lambda: one.ask("GET", "/notes", HOLT).status == 200, 1.5, "restored")
    assert two.cli("route", "notes.list", "100").returncode == 0
    until(lambda: "hit" in one.ask("GET", "/notes", HOLT)["Cache-Status"], 5, "routed")
    assert two.cli("route", "notes.list", "0").returncode == 0
    assert one.cli("promote", "patients", "--force").returncode == 0
    until(lambda: two.plane("GET", "/resources").json()["patients"]["owner"] == "standby", 5, "promoted")
    until(lambda: "hit" in two.ask("GET", "/patients", HOLT)["Cache-Status"], 5, "answered by its owner")
    upstream.stop()
    assert two.cli("revoke", "Dr Holt").returncode == 0
    until(lambda: one.ask("GET", "/notes", HOLT).status == 401, 1.5, "the other refuses while the upstream is down")


def test_a_leader_that_was_paused_past_its_lease_sends_nothing(
    pair: tuple[Sidecar, Sidecar], upstream: Upstream, database: str
) -> None:
    engine = create_engine(database)

    def holder() -> tuple[str, int]:
        with engine.connect() as connection:
            row = connection.execute(select(leases).where(leases.c.name == "replay")).one()
            return str(row.holder), int(row.holder.rpartition("/")[2])

    one, _ = pair
    upstream.stop()
    assert one.ask("POST", "/notes", HOLT, {"title": "Once", "patient_id": 17}).status == 201
    first, pid = holder()
    os.kill(pid, signal.SIGSTOP)
    try:
        upstream.start()
        until(lambda: holder()[0] != first, 20, "the other leads")
        until(lambda: not one.plane("GET", "/outbox").json()["entries"], 40, "drained by the other")
    finally:
        os.kill(pid, signal.SIGCONT)
    second = one.ask("POST", "/notes", HOLT, {"title": "Twice", "patient_id": 17}).json()["id"]
    assert second < 2_000_000_000
    renewals: set[int] = set()
    until(lambda: len(renewals | {_until(engine)}) > 3 or renewals.add(_until(engine)), 10, "both had their turns")
    engine.dispose()
    assert [seen.body for seen in upstream.seen("/notes") if seen.method == "POST" and b"Once" in seen.body] == [
        b'{"title": "Once", "patient_id": 17}'
    ]


def _until(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(select(leases.c.until).where(leases.c.name == "replay")) or 0)


def test_without_its_database_a_sidecar_passes_traffic_and_says_so(upstream: Upstream, tmp_path: Path) -> None:
    where = programs()
    assert where is not None
    server = Server(where)
    server.make()
    server.start()
    shared = {"database": server.url, "seal_key": str(tmp_path / "seal-key"), "workers": "1"}
    shared |= {"upstream_timeout": "5s", "database_lost": "pass"}
    try:
        with Sidecar(upstream.url, tmp_path / "one", **shared) as one:
            for path in ("/notes", "/patients", "/staffs/me"):
                assert one.ask("GET", path, HOLT).status == 200
            until(lambda: one.plane("GET", "/ready/notes.list").status == 200, what="notes known")
            server.stop()
            until(lambda: one.plane("GET", "/readyz").status == 503, 10, "it says so")
            assert one.plane("GET", "/healthz").status == 200
            assert b"understudy_database_up 0.0" in one.plane("GET", "/metrics").body
            assert one.ask("GET", "/notes", HOLT).json()[0]["title"] == "Round"
            assert one.ask("POST", "/notes", HOLT, {"title": "Passed", "patient_id": 17}).status == 201
            upstream.stop()
            assert one.ask("GET", "/notes", HOLT).status == 503  # nothing that is known can be looked up
            server.start()
            until(lambda: one.plane("GET", "/readyz").status == 200, 20, "the database is back")
            # It may not know of what passed meanwhile, and answers nothing until it has looked again.
            assert one.ask("GET", "/notes", HOLT).status == 503
            upstream.start()
            until(lambda: len(one.ask("GET", "/notes", HOLT).json()) == 2, 20, "seen again")

            def known() -> bool:  # the worker may have noticed only after that read that its database is back
                return one.ask("GET", "/notes", HOLT).status == one.plane("GET", "/ready/notes.list").status == 200

            until(known, 20, "known again")
    finally:
        server.stop()
        server.remove()
    assert [seen.method for seen in upstream.seen("/notes")].count("POST") == 1


def test_a_sidecar_whose_shared_database_is_away_asks_for_nobody(upstream: Upstream, tmp_path: Path) -> None:
    """Another may have the database, and accept what this one cannot know of."""
    where = programs()
    assert where is not None
    server = Server(where)
    server.make()
    server.start()
    shared = {"database": server.url, "seal_key": str(tmp_path / "seal-key"), "workers": "1"}
    try:
        with Sidecar(upstream.url, tmp_path / "one", **shared) as one:
            assert one.ask("GET", "/notes", HOLT).status == 200
            server.stop()
            until(lambda: one.plane("GET", "/healthz").status == 503, 10, "the balancer turns away")
            assert one.ask("GET", "/notes", HOLT).status == 503
            assert one.ask("POST", "/notes", HOLT, {"title": "Kept out"}).status == 503
            server.start()
            until(one.healthy, 20, "healthy again")
            until(lambda: one.ask("GET", "/notes", HOLT).status == 200, 10, "served again")
    finally:
        server.stop()
        server.remove()
    assert [seen.method for seen in upstream.seen("/notes")].count("POST") == 0


def test_a_start_waits_for_its_turn_to_write(upstream: Upstream, database: str, tmp_path: Path) -> None:
    """However long others take it: a sidecar that ended for that would be missing while the database is busy."""
    with Sidecar(upstream.url, tmp_path / "data", database=database) as side:
        side.stop()
        engine = create_engine(database)
        with engine.connect() as others:
            others.execute(text(f"SELECT pg_advisory_lock({WRITERS})"))
            again = threading.Thread(target=side.start)
            again.start()
            try:
                until(lambda: "others write to it all the time" in side.log.read_text(), 25, "it waits")
            finally:
                others.execute(text(f"SELECT pg_advisory_unlock({WRITERS})"))
                again.join(60)
        engine.dispose()
        assert side.ask("GET", "/patients/17", HOLT).status == 200


def test_changes_are_made_side_by_side_there_and_each_in_a_transaction_of_its_own(database: str) -> None:
    """In one they would take their rows' locks in another order than requests do."""
    engine = create_engine(database)
    group, both = GroupCommit(engine, lambda _: None, lambda: None), threading.Barrier(2)

    def change(connection: Connection, _: None) -> int:
        both.wait(10)
        return int(connection.scalar(text("SELECT pg_current_xact_id()::text::bigint")) or 0)

    with ThreadPoolExecutor(2) as threads:
        found = [each.result(20) for each in [threads.submit(group.run, change) for _ in range(2)]]
    engine.dispose()
    assert len(set(found)) == 2
