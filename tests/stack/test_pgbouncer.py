"""A real pgbouncer in transaction mode between sidecars and their PostgreSQL: all holds that holds without it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from compose.hosp.server import Simulator
from sidecar.settings import Settings
from sidecar.storage import incarnation
from sidecar.storage.database import GLANCE, open_engine
from tests.support.pgbouncer import pooler
from tests.support.postgres import replicated, running
from tests.support.stack import Sidecar, until
from tests.support.upstream import basic

IGNORES = "ignore_startup_parameters = options"


@pytest.mark.parametrize("says", ["", IGNORES], ids=["refuses what it does not know", "ignores it"])
def test_two_sidecars_take_writes_in_an_outage_and_bring_them_back_once(tmp_path: Path, says: str) -> None:
    with running() as server, pooler(server, says) as between, Simulator("calm") as hosp:
        shared = {
            "database": between.url, "seal_key": str(tmp_path / "seal"), "evidence": "compose.hosp",
            "bypass_after": "0s", "late_effect": "1s",
        }  # fmt: skip
        asked = {"Authorization": basic(*hosp.users[0]), "Accept": "application/json"}
        with (
            Sidecar(hosp.url, tmp_path / "one", node="one", **shared) as one,
            Sidecar(hosp.url, tmp_path / "two", node="two", **shared) as two,
        ):
            assert [sidecar.ask("GET", "/staffs/me", asked).status for sidecar in (one, two)] == [200, 200]
            for sidecar in (one, two):
                until(lambda s=sidecar: _knows(s, asked), 30, "what a note refers to is known")  # type: ignore[misc]
            before = len(hosp.hosp.applied)
            hosp.set_profile("outage")
            for number in range(6):
                until(lambda n=number: _posts((one, two)[n % 2], asked, n), 20, "taken")  # type: ignore[misc]
            titles = [note["title"] for note in two.ask("GET", "/notes", asked).json()]
            assert {f"t{number}" for number in range(6)} <= set(titles), "each shows what the other has taken"
            hosp.set_profile("calm")
            until(lambda: one.plane("GET", "/outbox").json()["pending"] == 0, 40, "brought back")
            assert len(hosp.hosp.applied) == before + 6
            for sidecar in (one, two):
                log = sidecar.log.read_text()
                assert "the database is polled" in log
                assert '"error"' not in log


def _knows(sidecar: Sidecar, asked: dict[str, str]) -> bool:
    """Asks again each time: nothing is learned of what was asked while nobody could tell what was before what."""
    known = {"notes.list": "/notes", "patients.read": "/patients", "staffs.read": "/staffs"}
    answered = [sidecar.ask("GET", target, asked).status == 200 for target in known.values()]
    return all(answered) and all(sidecar.plane("GET", f"/ready/{name}").status == 200 for name in known)


def _posts(sidecar: Sidecar, asked: dict[str, str], number: int) -> bool:
    """Whether it has taken the note. Where its database was too slow nothing has happened, and it may be sent again."""
    body = {"title": f"t{number}", "body": "b", "patient_id": 1, "staff_id": 1}
    status = sidecar.ask("POST", "/notes", asked, body).status
    assert status in (201, 503)
    return status == 201


def test_each_transaction_says_its_limits_and_is_one_of_the_servers_life(tmp_path: Path) -> None:
    """Where a replica takes over behind the pooler, connections to that outlive it."""
    with replicated() as (primary, replica), pooler(primary) as between:
        engine = open_engine(Settings(data=tmp_path, seal_key=tmp_path / "key", database=between.url), patience=1.5)
        limit = text("SELECT current_setting('statement_timeout'), current_setting('transaction_read_only')")
        with engine.begin() as connection:
            first = incarnation.of(connection)
            assert tuple(connection.execute(limit).one()) == ("1500ms", "off")
        with engine.execution_options(writes=False).connect() as connection, connection.begin():
            assert tuple(connection.execute(limit).one()) == ("1500ms", "on")
            assert incarnation.of(connection) == first != 0
        primary.stop()
        replica.promote()
        between.turn(replica)

        def lives_anew() -> bool:
            with suppress(SQLAlchemyError), engine.begin() as connection:
                return incarnation.of(connection) not in (0, first)
            return False

        until(lives_anew, 10, "it is seen to be another life")
        with engine.execution_options(**GLANCE).connect() as connection:
            connection.execute(text("SELECT 1"))
            assert incarnation.of(connection) not in (0, first)
        engine.dispose()
