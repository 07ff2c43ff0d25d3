"""What others built before the same API, and how it went wrong: one test a row (README, "What others tried")."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.stack import Sidecar, free_port, until
from tests.support.upstream import HOLT, Upstream, basic

AMES = {"Authorization": basic("Dr Ames")}
FORGED = {"Authorization": basic("Dr Holt", "guessed")}


FAST = {"upstream_timeout": "3s", "late_effect": "1s"}


def fill(server: Upstream) -> None:
    server.state.patients[17] = {"id": 17, "name": "Rex"}
    server.state.notes[5] = {"id": 5, "title": "Round", "body": "well", "patient_id": 17, "staff_id": 1}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        fill(server)
        yield server


@pytest.fixture
def sidecar(upstream: Upstream, tmp_path: Path) -> Iterator[Sidecar]:
    with Sidecar(upstream.url, tmp_path / "data", workers="2", **FAST) as running:
        yield running


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Upstream, Sidecar]]:
    with (
        Upstream() as server,
        Sidecar(server.url, tmp_path_factory.mktemp("same") / "data", workers="2", **FAST) as same,
    ):
        yield server, same


@pytest.fixture
def same(_running: tuple[Upstream, Sidecar]) -> tuple[Upstream, Sidecar]:
    """One upstream and sidecar for all whose question is what one request of theirs becomes while all is well."""
    _running[0].state.seen.clear()
    fill(_running[0])
    return _running


@contextmanager
def relayed(port: int, target: int) -> Iterator[None]:
    """A TCP relay from one port to another."""
    listener = socket.create_server(("127.0.0.1", port))

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def pass_on(client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", target)) as server:
            back = threading.Thread(target=pump, args=(server, client))
            back.start()
            pump(client, server)
            back.join()

    def serve() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=pass_on, args=(listener.accept()[0],)).start()

    serving = threading.Thread(target=serve)
    serving.start()
    yield
    with listener:
        listener.shutdown(socket.SHUT_RDWR)  # or nothing ends who waits for the next
        serving.join()


def learn(sidecar: Sidecar) -> None:
    for path in ("/notes", "/patients", "/staffs/me"):
        assert sidecar.ask("GET", path, HOLT).status == 200
    until(lambda: sidecar.plane("GET", "/ready/notes.list").status == 200, what="notes known")
    until(lambda: sidecar.plane("GET", "/ready/patients.read").status == 200, what="patients known")


def test_a_cache_gave_stale_reads_after_writes_and_nothing_when_hosp_was_gone(
    sidecar: Sidecar, upstream: Upstream
) -> None:
    learn(sidecar)
    assert sidecar.ask("PATCH", "/notes/5", HOLT, {"title": "Night"}).status == 200
    assert sidecar.ask("GET", "/notes/5", HOLT).json()["title"] == "Night"
    upstream.stop()
    assert sidecar.ask("GET", "/notes/5", HOLT).json()["title"] == "Night"
    assert [row["title"] for row in sidecar.ask("GET", "/notes", HOLT).json()] == ["Night"]


def test_retrying_every_request_made_duplicate_notes(sidecar: Sidecar, upstream: Upstream) -> None:
    learn(sidecar)
    upstream.fault("applied_500", "/notes", method="POST")
    assert sidecar.ask("POST", "/notes", HOLT, {"title": "Once", "patient_id": 17}).status == 201
    until(lambda: sidecar.plane("GET", "/outbox").json()["entries"] == [], what="settled")
    assert [row["title"] for row in upstream.state.notes.values()].count("Once") == 1
    assert len(upstream.seen("/notes", "POST")) == 1


def test_a_cache_keyed_without_the_user_showed_one_users_records_to_another(tmp_path: Path, upstream: Upstream) -> None:
    """HOSP's contract, but that callers see different records."""
    private = Path(tmp_path / "private.yaml")
    shipped = Path(__file__).parents[2] / "sidecar/contracts/hosp.yaml"
    private.write_text(shipped.read_text().replace("visibility: everyone", "visibility: caller"))
    with Sidecar(upstream.url, tmp_path / "data", contract=str(private)) as sidecar:
        assert sidecar.ask("GET", "/notes", HOLT).status == 200
        assert sidecar.ask("GET", "/notes/5", HOLT).status == 200
        assert sidecar.ask("GET", "/staffs/me", AMES).status == 200
        time.sleep(0.5)
        upstream.stop()
        assert sidecar.ask("GET", "/notes/5", HOLT).status == 200
        assert sidecar.ask("GET", "/notes", HOLT).status == 200
        assert sidecar.ask("GET", "/notes/5", AMES).status == 503
        assert sidecar.ask("GET", "/notes", AMES).status == 503


@pytest.mark.parametrize("query", ["?patient_id=17", "?a=1&a=2", "?q=%2Fx%20y&empty=", "?patient_id=17&=&&"])
def test_a_rebuilt_url_dropped_query_strings(same: tuple[Upstream, Sidecar], query: str) -> None:
    upstream, sidecar = same
    sidecar.ask("GET", f"/notes{query}", HOLT)
    assert upstream.seen("/notes")[-1].target == f"/notes{query}"


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
def test_writes_were_sent_again_as_reads_without_a_body(same: tuple[Upstream, Sidecar], method: str) -> None:
    upstream, sidecar = same
    path = "/notes" if method == "POST" else "/notes/5"
    body = None if method == "DELETE" else {"title": "Kept"}
    assert sidecar.ask(method, path, HOLT, body).status in (200, 201, 204)
    seen = upstream.seen(path)[-1]
    assert (seen.method, seen.body) == (method, b'{"title": "Kept"}' if body else b"")


def test_one_shared_account_served_any_caller(sidecar: Sidecar, upstream: Upstream) -> None:
    learn(sidecar)
    for credentials, status in ((FORGED, 401), ({}, 401), (AMES, 200)):
        assert sidecar.ask("GET", "/notes", credentials).status == status
        assert upstream.seen("/notes")[-1].all("Authorization") == list(credentials.values())
    upstream.stop()
    until(lambda: sidecar.ask("GET", "/notes", FORGED).status == 401, what="each worker knows whose name that is")
    assert sidecar.ask("GET", "/notes", {}).status == 401
    assert sidecar.ask("GET", "/notes", {"Authorization": basic("Nobody", "x")}).status == 503


@pytest.mark.parametrize("kind", ["500", "reset", "invalid_json", "truncated"])
def test_a_failing_sign_in_check_turned_healthy_users_away(sidecar: Sidecar, upstream: Upstream, kind: str) -> None:
    learn(sidecar)
    upstream.fault(kind, "/staffs/me", times=200)
    assert sidecar.ask("GET", "/notes", HOLT).status == 200
    until(lambda: "hit" in sidecar.ask("GET", "/staffs/me", HOLT)["Cache-Status"], what="answered from the standby")
    assert sidecar.ask("GET", "/staffs/me", HOLT).status == 200
    got = sidecar.ask("GET", "/staffs/me", AMES)  # whom nobody has seen
    assert (got.status, bool(got["Retry-After"])) == (503, True)


def test_a_limit_for_each_address_throttled_everyone_behind_the_gateway(same: tuple[Upstream, Sidecar]) -> None:
    _, sidecar = same
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: sidecar.ask("GET", "/patients/17", HOLT).status, range(200)))
    assert set(statuses) == {200}


@pytest.mark.parametrize("path", ["/", "/echo", "/robots.txt", "/health"])
def test_a_firewall_before_observation_blocked_checks_and_users(same: tuple[Upstream, Sidecar], path: str) -> None:
    """What the contract does not know goes through as it is."""
    upstream, sidecar = same
    direct = {"/": 200, "/echo": 200}.get(path)
    got = sidecar.ask("GET", path, HOLT)
    assert upstream.seen(path)
    assert got.status == direct if direct else got.status in (404, 500, 503)


def test_a_health_check_on_a_path_that_hosp_does_not_serve_marked_it_down(sidecar: Sidecar, upstream: Upstream) -> None:
    assert sidecar.ask("GET", "/", {}).status == 200
    for path in ("/healthz", "/readyz"):
        assert sidecar.plane("GET", path).status == 200
    time.sleep(0.5)
    upstream.stop()
    assert sidecar.ask("GET", "/", {}).status == 200  # the page that the balancer asks for
    assert sidecar.plane("GET", "/readyz").status == 200  # we are well, though HOSP is not


def test_the_proxys_own_name_as_its_upstream_made_a_loop(tmp_path: Path) -> None:
    """A relay stands for the balancer whose public name somebody took for HOSP's: it sends all to the sidecar."""
    relay = free_port()
    with Sidecar(f"http://127.0.0.1:{relay}", tmp_path / "data") as sidecar, relayed(relay, sidecar.port):
        got = sidecar.ask("GET", "/echo", HOLT)
        assert got.status == 508
        assert "UNDERSTUDY_UPSTREAM" in got.json()["detail"]


def test_a_short_timeout_without_another_answer_was_a_504(sidecar: Sidecar, upstream: Upstream) -> None:
    upstream.fault("slow", "/patients", times=3, seconds=2.7)
    assert sidecar.ask("GET", "/patients/17", HOLT).status == 200  # unknown to the standby: waited for
    learn(sidecar)
    upstream.fault("slow", "/patients", times=9, seconds=30)
    got = sidecar.ask("GET", "/patients/17", HOLT)
    assert (got.status, "hit" in got["Cache-Status"], upstream.state.in_flight > 0) == (200, True, True)
    upstream.heal()


def test_stray_paths_do_not_stop_the_rest(sidecar: Sidecar, upstream: Upstream) -> None:
    """An allow-list with a fixed 404 worked for others; HOSP answers 500, and nobody's circuit opens for it."""
    for number in range(30):
        sidecar.ask("GET", f"/wp-login-{number}.php", HOLT)
    assert sidecar.ask("GET", "/notes", HOLT).status == 200
    assert {row["circuit"] for row in sidecar.plane("GET", "/endpoints").json()} == {"closed"}
