"""What others built in front of HOSP, and how it went wrong: the rows about writes, callers and everyone's requests.

Each test runs one row against the real sidecar; its docstring quotes the row ("what they did → what went wrong").
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.stack import Sidecar, ask, until
from tests.support.upstream import AMES, HOLT, USERS, Upstream, basic


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
