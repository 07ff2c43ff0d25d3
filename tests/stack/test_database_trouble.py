"""A shared database that hangs, takes reads alone, or has no connection left: users get what the upstream says, and the
health check says so, by how long ago a write went through."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.stack.front import Front
from tests.support.postgres import Server, running
from tests.support.stack import Sidecar, ask, until
from tests.support.upstream import HOLT, Upstream

pytestmark = pytest.mark.postgresql
TURN = 4.0
"""Seconds within which the health check must have turned: 3, and one for a machine that is busy."""


@pytest.fixture
def server() -> Iterator[Server]:
    with running(max_connections="60") as server:
        yield server


@contextmanager
def beside(server: Server, upstream: Upstream, folder: Path, **settings: str) -> Iterator[Sidecar]:
    shared = {"database": server.url, "seal_key": str(folder / "seal-key"), "workers": "1", "bypass_after": "0s"}
    with Sidecar(upstream.url, folder / "one", **shared, **settings) as sidecar:
        for path in ("/notes", "/patients", "/staffs/me"):
            assert sidecar.ask("GET", path, HOLT).status == 200
        until(lambda: sidecar.plane("GET", "/ready/notes.list").status == 200, what="notes known")
        yield sidecar


def said(sidecar: Sidecar, action: str) -> list[str]:
    return [line for line in sidecar.log.read_text().splitlines() if f'"{action}"' in line]


def hang(server: Server) -> None:
    server.pause()


def unhang(server: Server) -> None:
    server.resume()


def demote(server: Server) -> None:
    server.read_only(True)


def promote(server: Server) -> None:
    server.read_only(False)


@pytest.mark.parametrize(
    ("break_it", "mend_it", "cause"),
    [(hang, unhang, "it does not answer"), (demote, promote, "read-only")],
    ids=["hangs", "takes reads alone"],
)
def test_users_get_what_the_upstream_says(
    server: Server, tmp_path: Path, break_it: Callable[[Server], None], mend_it: Callable[[Server], None], cause: str
) -> None:
    with Upstream() as upstream, beside(server, upstream, tmp_path) as one:
        way = f"{one.host}:{one.port}/{one.control}"
        with Front("haproxy", "inline", one, tmp_path / "front", servers=[way]) as front:
            break_it(server)
            until(lambda: one.plane("GET", "/healthz").status == 503, TURN, "the balancer is told")
            assert one.plane("GET", "/ready/notes.list").status == 503
            until(lambda: "cache-status" not in dict(ask(front.port, "GET", "/notes", HOLT).headers), 3, "turned away")
            for number in range(10):
                assert ask(front.port, "GET", "/notes", HOLT).status == 200
                body = {"title": f"Note {number}", "patient_id": 17}
                assert ask(front.port, "POST", "/notes", HOLT, body).status == 201
            began = time.monotonic()
            assert one.ask("GET", "/notes", HOLT).status == 503  # who comes all the same is not kept waiting
            assert one.ask("POST", "/notes", HOLT, {"title": "Kept out"}).status == 503
            assert time.monotonic() - began < 2
            mend_it(server)
            until(one.healthy, 10, "the balancer is told that it is back")
            until(lambda: len(one.ask("GET", "/notes", HOLT).json()) == 10, 10, "served again")
        processes = 4  # worker, control plane, replay, backfill: each has a heartbeat
        assert 1 <= len(said(one, "database_away")) <= processes
        assert cause in said(one, "database_away")[0]
        assert not said(one, "request_broke")


@pytest.mark.parametrize("taken_over", [False, True], ids=["the upstream answers", "taken over"])
def test_nobody_is_refused_while_it_is_started_anew(server: Server, tmp_path: Path, taken_over: bool) -> None:
    """Neither are their writes doubled; and what the standby knows is as true after it as before."""
    over, written = threading.Event(), list[str]()
    asked = ("/patients/17",) if taken_over else ("/patients/17", "/notes")
    over_taken = ("patients.read", "notes.create") if taken_over else ()

    def use(number: int) -> list[tuple[int, bytes]]:
        got = []
        while not over.is_set():
            got += [one.ask("GET", path, HOLT) for path in asked]
            written.append(title := f"Note {number}.{len(got)}")
            got.append(made := one.ask("POST", "/notes", HOLT, {"title": title, "patient_id": 17}))
            got.append(one.ask("GET", f"/notes/{made.json()['id']}", HOLT))
        return [(each.status, each.body) for each in got]

    with Upstream() as upstream, ExitStack() as stack:
        upstream.state.patients[17] = {"id": 17, "name": "Rex"}
        one = stack.enter_context(beside(server, upstream, tmp_path))
        until(lambda: one.ask("GET", "/patients/17", HOLT).status == 200, what="known")
        until(lambda: one.plane("GET", "/ready/patients.read").status == 200, what="known")
        for endpoint in over_taken:
            assert one.plane("POST", f"/endpoints/{endpoint}/takeover", {}).status == 200
        unverified = len(said(one, "gap"))
        with ThreadPoolExecutor(4) as users:
            asking = [users.submit(use, number) for number in range(4)]
            for _ in range(3):
                time.sleep(1)
                with server.shut():
                    time.sleep(0.6)
            time.sleep(1)
            over.set()
            seen = [got for each in asking for got in each.result()]
        assert len(seen) > 40
        assert [each for each in seen if each[0] >= 400] == []
        for endpoint in over_taken:
            assert one.plane("POST", f"/endpoints/{endpoint}/handback", {}).status == 200
        until(lambda: not one.plane("GET", "/outbox").json()["pending"], 60, "all is at the upstream")
        assert sorted(note["title"] for note in upstream.state.notes.values()) == sorted(written)
        assert len(said(one, "gap")) == unverified
        assert not said(one, "database_away")


def test_with_one_sidecar_that_passes_on_nobody_waits_for_a_database_that_hangs(server: Server, tmp_path: Path) -> None:
    with Upstream() as upstream, beside(server, upstream, tmp_path, database_lost="pass") as one:
        server.pause()
        until(lambda: one.plane("GET", "/readyz").status == 503, TURN, "it says so")
        began = time.monotonic()
        for number in range(10):
            assert one.ask("GET", "/notes", HOLT).status == 200
            assert one.ask("POST", "/notes", HOLT, {"title": f"Note {number}", "patient_id": 17}).status == 201
        assert time.monotonic() - began < 5
        assert one.plane("GET", "/healthz").status == 200
        server.resume()
        until(lambda: one.plane("GET", "/readyz").status == 200, 10, "it is back")
        until(lambda: len(one.ask("GET", "/notes", HOLT).json()) == 10, 10, "served")


def test_who_has_a_connection_goes_on_where_the_server_has_none_left(server: Server, tmp_path: Path) -> None:
    with Upstream() as upstream, beside(server, upstream, tmp_path) as one, ExitStack() as greedy:
        server.take_rest(greedy)
        with ThreadPoolExecutor(16) as users:
            got = list(users.map(lambda _: one.ask("GET", "/notes", HOLT), range(200)))
        seen = [(each.status, each.body[:200]) if each.status != 200 else 200 for each in got]
        assert seen == [200] * 200
        assert one.plane("GET", "/healthz").status == 200


def test_who_has_none_says_so_and_comes_back(server: Server, tmp_path: Path) -> None:
    with Upstream() as upstream, beside(server, upstream, tmp_path) as one:
        with ExitStack() as greedy:
            ours: list[psycopg.Connection[tuple[Any, ...]]] = []

            def turned() -> bool:
                server.take_all(greedy, ours)  # also what the sidecar took again since the last look
                return one.plane("GET", "/healthz").status == 503

            until(turned, 3 * TURN, "the balancer is told")
            began = time.monotonic()
            assert one.ask("GET", "/notes", HOLT).status == 503
            assert time.monotonic() - began < 2
        until(one.healthy, 10, "the balancer is told that it is back")
        until(lambda: one.ask("GET", "/notes", HOLT).status == 200, 10, "served again")
        assert any("connection" in line or "clients" in line for line in said(one, "database_away"))
