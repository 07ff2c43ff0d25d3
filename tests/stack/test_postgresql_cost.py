"""What sidecars ask of PostgreSQL while nothing happens, and that they hear of it all the same when something does."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sidecar.storage.changes import SETTLING
from tests.support.postgres import Server, running
from tests.support.stack import Sidecar, until
from tests.support.upstream import HOLT, Upstream, basic

pytestmark = pytest.mark.postgresql
AT_MOST = 5.0
"""Statements a second of a sidecar."""
SPAN = 15.0


def statements(server: Server) -> dict[str, int]:
    """How often each was run, BEGIN and COMMIT too."""
    asked = server.ask("SELECT query, sum(calls) FROM pg_stat_statements GROUP BY query")
    return {str(query): int(calls) for query, calls in asked if "pg_stat_statements" not in str(query)}


def asked(server: Server) -> tuple[float, list[tuple[int, str]]]:
    """Statements a second of each of two sidecars, over SPAN; and which they are, the most frequent first."""
    before, began = statements(server), time.monotonic()
    time.sleep(SPAN)
    after, took = statements(server), time.monotonic() - began
    risen = {query: calls - before.get(query, 0) for query, calls in after.items()}
    often = sorted(((calls, query[:100]) for query, calls in risen.items() if calls), reverse=True)
    return sum(risen.values()) / took / 2, often


def test_an_idle_sidecar_asks_almost_nothing_and_hears_of_changes(tmp_path: Path) -> None:
    with running(shared_preload_libraries="pg_stat_statements") as server, Upstream() as upstream:
        server.ask("CREATE EXTENSION pg_stat_statements")
        shared = {"database": server.url, "seal_key": str(tmp_path / "seal-key"), "workers": "2"}
        with (
            Sidecar(upstream.url, tmp_path / "one", node="one", **shared) as one,
            Sidecar(upstream.url, tmp_path / "two", node="two", **shared) as two,
        ):
            for sidecar in (one, two):
                for path in ("/notes", "/patients", "/staffs/me"):
                    assert sidecar.ask("GET", path, HOLT).status == 200
            time.sleep(SETTLING + 10)
            rate, often = asked(server)
            if rate >= AT_MOST:  # what is done once a minute may have fallen into that quarter of one
                rate, often = asked(server)
            assert rate < AT_MOST, (rate, often[:20])
            assert one.cli("revoke", "Dr Ames").returncode == 0
            ames = {"Authorization": basic("Dr Ames")}
            until(lambda: two.ask("GET", "/notes", ames).status == 401, 1.5, "the other hears of it")
            assert two.cli("takeover", "notes.list").returncode == 0
            until(lambda: "hit" in one.ask("GET", "/notes", HOLT)["Cache-Status"], 1.5, "the other hears of it")
