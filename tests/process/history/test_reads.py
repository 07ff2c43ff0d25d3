"""What others built in front of HOSP, and how it went wrong: the rows about reads and about being there at all.

Each test runs one row against the real sidecar; its docstring quotes the row ("what they did → what went wrong").
"""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from compose.balancer import describe
from compose.haproxy.config import render
from sidecar.contract import Contract
from sidecar.settings import load_settings
from tests.support.stack import Got, Sidecar, ask, free_port, until
from tests.support.upstream import AMES, HOLT, Upstream, basic


def learn_all(sidecar: Sidecar, headers: dict[str, str]) -> None:
    """Reads everything through the sidecar until its standby knows it."""
    for path in ("/", "/notes", "/patients", "/staffs/me"):
        assert sidecar.ask("GET", path, headers).status == 200
    until(lambda: sidecar.plane("GET", "/ready/patients.read").status == 200, what="patients known")


def test_no_read_after_a_write_is_stale(fresh: Sidecar, upstream: Upstream) -> None:
    """nginx in front, retries, 2-minute cache → stale reads after writes; nothing when HOSP is gone."""
    learn_all(fresh, HOLT)
    for number in range(20):
        assert fresh.ask("PATCH", "/notes/5", HOLT, {"title": f"v{number}"}).status == 200
        assert fresh.ask("GET", "/notes/5", HOLT).json()["title"] == f"v{number}"
        assert fresh.ask("GET", "/notes", HOLT).json()[-1]["title"] == f"v{number}"
    upstream.state.notes[5]["title"] = "written past us"
    assert fresh.ask("GET", "/notes/5", HOLT).json()["title"] == "written past us"
    assert fresh.ask("PATCH", "/notes/5", HOLT, {"title": "last"}).status == 200
    upstream.stop()
    got = fresh.ask("GET", "/notes/5", HOLT)
    assert (got.status, got.json()["title"]) == (200, "last")
    assert fresh.ask("PATCH", "/notes/5", HOLT, {"title": "taken over"}).status == 200
    assert fresh.ask("GET", "/notes/5", HOLT).json()["title"] == "taken over"


def test_one_users_notes_are_never_shown_to_another(fresh: Sidecar, upstream: Upstream) -> None:
    """cache keyed by path, or by path and query, without the user → one user's patients and notes shown to another."""
    upstream.state.only_for.update({5: "Dr Holt", 6: "Dr Ames"})
    asked = ("/notes", "/notes?patient_id=17", "/notes?patient_id=18", "/notes/5", "/notes/6")
    users = (("Dr Holt", HOLT), ("Dr Ames", AMES))
    for _ in range(2):  # the second round is after the standby has seen that not everyone is shown the same
        theirs = {name: [fresh.ask("GET", path, who) for path in asked] for name, who in users}
        time.sleep(1.1)
    for (name, who), path in zip(users, ("/notes/5", "/notes/6"), strict=True):  # the other's 404 has put it in doubt
        theirs[name][asked.index(path)] = fresh.ask("GET", path, who)
    time.sleep(1.1)
    assert [[note["id"] for note in got[0].json()] for got in theirs.values()] == [[5], [6]]
    upstream.stop()
    for name, who in users:
        for path, before in zip(asked, theirs[name], strict=True):
            now = fresh.ask("GET", path, who)
            assert now.status == 503 or (now.status, now.body) == (before.status, before.body), (name, path)
    assert fresh.ask("GET", "/notes/5", HOLT).status == 200
    for path in asked:
        assert fresh.ask("GET", path).status == 401
        assert fresh.ask("GET", path, {"Authorization": basic("Dr Nobody", "x")}).status == 503
        assert fresh.ask("GET", path, {"Authorization": basic("Dr Holt", "x")}).status == 401


def test_the_standby_never_drops_a_query_either(fresh: Sidecar, upstream: Upstream) -> None:
    """proxy that rebuilt the URL from the path → query strings dropped; here: when the standby answers."""
    learn_all(fresh, HOLT)
    upstream.stop()
    assert [note["id"] for note in fresh.ask("GET", "/notes?patient_id=17", HOLT).json()] == [5]
    assert fresh.ask("GET", "/notes?patient_id=99", HOLT).json() == []
    for unknown in ("?patient_id=17&order=asc", "?limit=1", "?patient_id=17&patient_id=18"):
        assert fresh.ask("GET", f"/notes{unknown}", HOLT).status == 503, unknown


def test_a_slow_answer_is_waited_for_by_a_caller_who_is_new_to_us(fresh: Sidecar, upstream: Upstream) -> None:
    """timeouts of 3.5 s below HOSP's usual wait, no alternative answer → 504 for requests that would have succeeded."""
    got, seconds = _timed(fresh, upstream)
    assert (got.status, got.body[:8]) == (200, b'{"id":17')
    assert seconds > 4.5


def _timed(sidecar: Sidecar, upstream: Upstream) -> tuple[Got, float]:
    """One read while HOSP takes 5 s for it."""
    upstream.fault("slow", "/patients/17", times=9, seconds=5)
    began = time.monotonic()
    got = sidecar.ask("GET", "/patients/17", HOLT)
    seconds = time.monotonic() - began
    upstream.heal()
    return got, seconds


@pytest.mark.haproxy
def test_the_balancer_keeps_to_the_sidecar_and_turns_to_hosp_only_without_it(
    fresh: Sidecar, upstream: Upstream, tmp_path: Path
) -> None:
    """health check moved to a path HOSP does not serve → load balancer marks HOSP down; with the real HAProxy."""
    learn_all(fresh, HOLT)
    haproxy = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    assert haproxy is not None, "HAProxy is needed"
    door = free_port()
    settings = load_settings({**fresh.environ, "UNDERSTUDY_SLOS": "hosp"}, None)
    described = describe(settings, Contract.load("hosp"), "inline", f"127.0.0.1:{door}", ())
    (tmp_path / "haproxy.cfg").write_text(render(described, f"{tmp_path}/socket"))

    def through() -> Got:
        return ask(door, "GET", "/notes/5", HOLT)

    process = subprocess.Popen([haproxy, "-db", "-f", str(tmp_path / "haproxy.cfg")], stderr=subprocess.DEVNULL)
    try:
        until(lambda: "fwd" in through()["Cache-Status"], what="through HAProxy to HOSP")
        upstream.stop()
        for _ in range(30):  # three times as long as HAProxy takes to mark a server down
            assert (through().status, through()["Cache-Status"][:16]) == (200, "understudy; hit;")
            time.sleep(0.1)
        upstream.start()
        fresh.kill()
        until(lambda: through().status == 200 and not through()["Cache-Status"], what="HOSP itself")
    finally:
        process.terminate()
        process.wait(10)
