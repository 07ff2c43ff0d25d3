"""What others built in front of HOSP, and how it went wrong: the rows about writes, callers and everyone's requests.

Each test runs one row against the real sidecar; its docstring quotes the row ("what they did → what went wrong").
"""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.stack import Sidecar, ask, until
from tests.upstream import AMES, HOLT, USERS, Upstream, basic


@pytest.mark.parametrize("kind", ["500", "applied_500", "reset", "applied_reset", "invalid_json", "slow"])
def test_a_post_is_never_sent_twice(sidecar: Sidecar, upstream: Upstream, kind: str) -> None:
    """retry every request three times, POST included → duplicate notes. `slow` is longer than HEDGE_AFTER."""
    assert sidecar.ask("POST", "/notes", HOLT, {"title": "warm"}).status == 201
    upstream.fault(kind, "/notes", method="POST", seconds=3)
    sidecar.ask("POST", "/notes", HOLT, {"title": "once"})
    assert len(upstream.seen("/notes", "POST")) == 2
    assert [note["title"] for note in upstream.state.notes.values()].count("once") <= 1


def test_a_write_keeps_its_method_and_its_body(sidecar: Sidecar, upstream: Upstream) -> None:
    """proxy that re-sent POST/PATCH/DELETE as a body-less GET and returned its 200 → writes silently lost."""
    body = json.dumps({"title": "Ünïcode", "body": "x" * 70_000, "patient_id": 17}, ensure_ascii=False).encode()
    typed = {**HOLT, "Content-Type": "application/json; charset=utf-8"}
    made = sidecar.ask("POST", "/notes", typed, body)
    path = f"/notes/{made.json()['id']}"
    assert (made.status, upstream.state.notes[made.json()["id"]]["title"]) == (201, "Ünïcode")
    assert sidecar.ask("PATCH", path, typed, b'{"title":  "kept"}').json()["title"] == "kept"
    assert sidecar.ask("PUT", path, typed, b'{"title":"put"}').json()["title"] == "put"
    assert sidecar.ask("DELETE", path, HOLT).status == 204
    assert sidecar.ask("GET", path, HOLT).status == 404
    sent = [(seen.method, seen.target, seen.body) for seen in upstream.seen("/notes")]
    assert sent == [
        ("POST", "/notes", body),
        ("PATCH", path, b'{"title":  "kept"}'),
        ("PUT", path, b'{"title":"put"}'),
        ("DELETE", path, b""),
        ("GET", path, b""),
    ]
    assert upstream.seen("/notes")[0].all("Content-Type") == ["application/json; charset=utf-8"]


def test_callers_are_never_served_with_a_shared_account(upstream: Upstream, tmp_path: Path) -> None:
    """proxy that called upstream with one shared account → any caller served, with or without valid credentials.

    A shared account is there, for backfill: no user is ever served with it.
    """
    shared = {"backfill_credentials": f"Dr Holt:{USERS['Dr Holt']}", "backfill_rate": "50"}
    nobody: list[dict[str, str]] = [{}, {"Authorization": basic("Dr Holt", "wrong")}]
    nobody += [{"Authorization": basic("Dr Nobody", "x")}, {"Authorization": "Bearer abc"}]
    with Sidecar(upstream.url, tmp_path / "data", **shared) as sidecar:
        until(lambda: sidecar.plane("GET", "/ready/notes.list").status == 200, what="backfilled")
        for headers in nobody:
            assert sidecar.ask("GET", "/notes", headers).status == 401
        assert sidecar.ask("GET", "/notes", AMES).status == 200
        users = [seen for seen in upstream.seen("/notes") if seen.all("User-Agent") != ["understudy-backfill"]]
        assert [seen.all("Authorization") for seen in users] == [
            *([headers["Authorization"]] if headers else [] for headers in nobody),
            [AMES["Authorization"]],
        ]
        upstream.stop()
        for headers in nobody:
            assert sidecar.ask("GET", "/notes", headers).status in (401, 503)


def test_a_failure_of_staffs_me_refuses_nobody(fresh: Sidecar, upstream: Upstream) -> None:
    """`GET /staffs/me` before every request, its 500 taken for "invalid credentials" → healthy users got 401."""
    assert fresh.ask("GET", "/notes", HOLT).status == 200
    assert not upstream.seen("/staffs")
    upstream.fault("500", "/staffs/me", times=100)
    for _ in range(5):
        assert fresh.ask("GET", "/staffs/me", HOLT).status == 503
        assert fresh.ask("GET", "/notes", HOLT).status == 200
        assert fresh.ask("POST", "/notes", HOLT, {"title": "x"}).status == 201
    upstream.fault("500", "/", times=100)
    assert {fresh.ask("GET", path, HOLT).status for path in ("/notes", "/staffs/me", "/patients/17")} <= {200, 503}


def test_all_users_share_one_address_and_nobody_is_throttled(sidecar: Sidecar, upstream: Upstream) -> None:
    """limit of 1 request a second per source address → the gateway is one address: everyone throttled."""
    asked = [HOLT, AMES] * 100
    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(lambda who: sidecar.ask("GET", "/patients/17", who).status, asked))
    assert statuses == [200] * 200
    assert upstream.state.most_in_flight <= 8


def test_nobody_is_blocked_who_was_not_before(sidecar: Sidecar, upstream: Upstream) -> None:
    """firewall and CDN first, observation later → health checks and users blocked, spike of 401 and 403."""
    agents = ("ELB-HealthChecker/2.0", "kube-probe/1.29", "curl/8", "python-requests/2.31", "", "sqlmap/1.7")
    targets = ("/", "/notes", "/notes.json", "/patients/17", "/notes?title=<script>", "/notes/5;drop", "/wp-login.php")
    methods = ("GET", "HEAD", "OPTIONS")
    cases = [(m, t, {**HOLT, "User-Agent": a}) for m in methods for t in targets[:4] for a in agents]
    cases += [("GET", target, HOLT) for target in targets[4:]] + [("GET", "/", {}), ("GET", "/notes", {})]
    for method, target, headers in cases:
        direct = ask(upstream.port, method, target, headers) if target != "/notes/5;drop" else None
        got = sidecar.ask(method, target, headers)
        assert got.status not in (403, 429), (method, target, headers)
        assert direct is None or got.status == direct.status, (method, target, headers, got.body)


def test_an_upstream_that_leads_back_to_us_is_told_and_does_not_spin(tmp_path: Path) -> None:
    """proxy's upstream was its own public name → loop through the load balancer."""
    with (
        Balancer() as balancer,
        Sidecar(f"http://127.0.0.1:{balancer.server_address[1]}", tmp_path / "data") as sidecar,
    ):
        balancer.target = sidecar.port
        for path in ("/notes", "/patients/17", "/"):
            assert sidecar.ask("GET", path, HOLT).status in (503, 508)
        assert sidecar.ask("POST", "/notes", HOLT, {"title": "round"}).status == 508
        assert "loop" in {event["understudy"].get("reason") for event in sidecar.events()}
        assert balancer.requests <= 16


class Balancer(ThreadingHTTPServer):
    """Sends every request on to `target`, as it came."""

    daemon_threads = True
    block_on_close = False
    target = requests = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Onward)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Onward(BaseHTTPRequestHandler):
    server: Balancer

    def _pass(self) -> None:
        self.server.requests += 1
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        got = ask(self.server.target, self.command, self.path, dict(self.headers), body)
        self.send_response(got.status)
        for name in ("Content-Type", "Content-Length"):
            self.send_header(name, got[name])
        self.end_headers()
        self.wfile.write(got.body)

    do_GET = do_POST = _pass

    def log_message(self, *_: object) -> None:
        return


def test_stray_paths_harm_nothing_else(fresh: Sidecar, upstream: Upstream) -> None:
    """allow-list of the four known path prefixes at the load balancer, fixed 404 for the rest → worked.

    We pass strays on as they are, once each (forbidding is for policies), and count them apart from the contract's
    endpoints: however many fail, no endpoint's circuit opens.
    """
    for number in range(30):
        assert fresh.ask("GET", f"/wp-login{number}.php", HOLT).status == 500
        assert fresh.ask("GET", "/notes", HOLT).status == 200
    assert len(upstream.seen("/wp-login")) == 30
    rows = fresh.plane("GET", "/endpoints").json()
    assert {row["circuit"] for row in rows} == {"closed"}
    assert {event["understudy"]["endpoint"] for event in fresh.events() if "wp" in event["url"]["path"]} == {"other"}


def test_every_result_has_its_own_author(sidecar: Sidecar, upstream: Upstream) -> None:
    """screening results posted as notes by one fixed test account → wrong author on every result."""
    for staff, who in ((1, HOLT), (2, AMES)):
        screened = sidecar.ask("POST", "/patients/17/screen", who, {"images": ["A" * 37]})
        note = {"title": "Screening", "body": screened.json()["overall"], "patient_id": 17, "staff_id": staff}
        assert sidecar.ask("POST", "/notes", who, note).json()["staff_id"] == staff
    sent = [seen.all("Authorization")[0] for seen in upstream.seen("/", "POST")]
    assert sent == [HOLT["Authorization"]] * 2 + [AMES["Authorization"]] * 2
    recorded = sorted(sidecar.events(), key=lambda event: str(event["@timestamp"]))[-4:]
    assert [event["user"]["name"] for event in recorded] == ["Dr Holt"] * 2 + ["Dr Ames"] * 2
