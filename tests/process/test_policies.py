"""Policies as people meet them: observed, reported, refused to be enforced, excepted, enforced, taken back."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack import TOKEN, Got, Sidecar, ask, until
from tests.support.upstream import AMES, HOLT, Upstream, basic

ZORN = {"Authorization": basic("Dr Zorn"), "Accept": "application/json"}
OWN = {"Dr Ames": 1, "Dr Holt": 2, "Dr Zorn": 3}
"""Whose staff_id is whose."""
POLICY = "author_is_caller"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        server.state.patients[17] = {"id": 17, "name": "Rex"}
        yield server


@pytest.fixture(scope="module")
def sidecar(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    data: Path = tmp_path_factory.mktemp("policies") / "data"
    with Sidecar(upstream.url, data, workers="2", threads="8", deadline="700ms", upstream_timeout="2s") as running:
        for who in (HOLT, AMES, ZORN):
            assert running.ask("GET", "/staffs/me", who).status == 200
        until(lambda: {row[0] for row in told_apart(data)} == OWN.keys(), what="all three are known")
        yield running


def told_apart(data: Path) -> list[tuple[str]]:
    with closing(sqlite3.connect(data / "understudy.db")) as database:
        return database.execute("SELECT caller FROM identities").fetchall()


def note(sidecar: Sidecar, who: dict[str, str], author: int, title: str = "Round") -> Got:
    return sidecar.ask("POST", "/notes", who, {"title": title, "patient_id": 17, "staff_id": author})


def report(sidecar: Sidecar, name: str = POLICY) -> list[dict[str, Any]]:
    done = sidecar.cli("policy", "report", "--policy", name, "--format", "json")
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout)["policies"][name]["stopped"])


def shipped(sidecar: Sidecar) -> None:
    """The event store has all that users did."""
    happened = sum(e["understudy"]["purpose"] == "user" for e in sidecar.events())
    until(lambda: sidecar.plane("GET", "/policies/report").json()["requests"] >= happened, what="all shipped")


def test_observe_report_refuse_except_enforce(sidecar: Sidecar, upstream: Upstream) -> None:
    week = [(HOLT, 2), (AMES, 1), (ZORN, 3), (HOLT, 2), (AMES, 2), (AMES, 2), (ZORN, 3), (ZORN, 1)]
    for who, author in week:  # Ames writes for Holt, and Zorn once for Ames
        assert note(sidecar, who, author).status == 201
    until(lambda: sum(e["understudy"]["verdict"] == "report" for e in sidecar.events(path="/notes")) == 3)
    shipped(sidecar)
    found = {(row["user"], row["detail"]): (row["requests"], row["succeeded"]) for row in report(sidecar)}
    assert found == {("Dr Ames", "staff_id 2"): (2, 2), ("Dr Zorn", "staff_id 1"): (1, 1)}

    refused = sidecar.cli("policy", "enforce", POLICY)
    assert refused.returncode == 1
    assert "Dr Ames, Dr Zorn 3 times" in refused.stderr
    assert note(sidecar, ZORN, 2).status == 201  # still nobody is stopped
    upstream.state.notes.popitem()

    assert sidecar.cli("policy", "except", POLICY, "Dr Ames", "--detail", "staff_id 2").returncode == 0
    assert sidecar.cli("policy", "enforce", POLICY).returncode == 1
    assert sidecar.cli("policy", "except", POLICY, "Dr Zorn", "--detail", "staff_id 1").returncode == 0
    assert sidecar.cli("policy", "except", POLICY, "Dr Zorn", "--detail", "staff_id 2").returncode == 0
    shipped(sidecar)
    assert sidecar.cli("policy", "enforce", POLICY, "--reason", "agreed").returncode == 0
    time.sleep(1)
    before = len(upstream.state.notes)
    stopped = note(sidecar, HOLT, 3, "pwned")
    assert (stopped.status, stopped.json()["policy"]) == (403, POLICY)
    assert stopped["X-Request-Id"]
    assert len(upstream.state.notes) == before
    for who, author in week:  # no request of the week is stopped
        assert note(sidecar, who, author).status == 201
    assert "Holt" not in sidecar.cli("policy", "list").stdout
    told = sidecar.plane("GET", "/policies").json()["policies"]
    row = next(row for row in told if row["name"] == POLICY)
    assert (row["mode"], row["reason"], len(row["exceptions"])) == ("enforce", "agreed", 3)

    opened = sidecar.cli("break-glass", "open", "Dr Holt", "--hours", "1", "--reason", "night, nobody else is here")
    assert opened.returncode == 0, opened.stderr
    time.sleep(1)
    assert note(sidecar, HOLT, 3, "in an emergency").status == 201
    assert note(sidecar, ZORN, 1).status == 201  # nobody else's business
    ident = opened.stdout.partition(":")[0]
    flagged = [each for each in sidecar.events(path="/notes") if each["understudy"].get("break_glass") == ident]
    assert [(each["user"]["name"], each["understudy"]["verdict"]) for each in flagged] == [("Dr Holt", "report")]
    assert "open until" in sidecar.cli("break-glass", "list").stdout
    assert sidecar.cli("break-glass", "end", ident, "--reason", "the others came").returncode == 0
    time.sleep(1)
    assert note(sidecar, HOLT, 3, "pwned again").status == 403
    assert sidecar.cli("break-glass", "end", ident).returncode == 1
    deeds = [each for each in sidecar.events() if each["event"]["action"].startswith("break_glass")]
    assert [(each["event"]["action"], each["understudy"]["deed"]["user"]) for each in deeds] == [
        ("break_glass", "Dr Holt"), ("break_glass_end", "Dr Holt")
    ]  # fmt: skip

    sidecar.kill()  # what people said outlives a restart
    sidecar.start()
    time.sleep(0.5)
    assert note(sidecar, HOLT, 3, "pwned").status == 403
    assert sidecar.cli("policy", "report-only", POLICY).returncode == 0
    time.sleep(1)
    assert note(sidecar, HOLT, 3).status == 201
    assert sidecar.cli("policy", "off", POLICY).returncode == 0
    time.sleep(1)
    assert note(sidecar, HOLT, 3, "off").status == 201
    assert sidecar.events(path="/notes")[-1]["understudy"].get("findings", []) == []


def test_an_unknown_policy_or_action_is_told_in_one_line(sidecar: Sidecar) -> None:
    done = sidecar.cli("policy", "enforce", "nonsense")
    assert (done.returncode, done.stderr) == (1, "understudy: hosp has no policy 'nonsense'\n")
    assert "since: expected a duration" in sidecar.cli("policy", "report", "--since", "soon").stderr
    refused = ask(sidecar.control, "POST", "/policies/author_is_caller/off", {"Authorization": f"Bearer not-{TOKEN}"})
    assert refused.status == 401


def test_stray_paths_and_an_author_that_changes(sidecar: Sidecar, upstream: Upstream) -> None:
    assert sidecar.ask("GET", "/wp-login.php", HOLT).status == 500  # HOSP's own crash, while only observed
    made = note(sidecar, AMES, 1).json()["id"]
    assert sidecar.cli("policy", "enforce", "outside_contract").returncode == 0
    assert sidecar.cli("policy", "enforce", "author_is_kept").returncode == 0
    time.sleep(1)
    assert sidecar.ask("GET", "/wp-login.php", HOLT).status == 404
    assert upstream.seen("/wp-login.php", "GET") == upstream.seen("/wp-login.php")[:1]
    assert sidecar.ask("PATCH", f"/notes/{made}", HOLT, {"staff_id": 2}).status == 403
    assert sidecar.ask("PATCH", f"/notes/{made}", HOLT, {"staff_id": 1, "title": "Late"}).status == 200
    assert upstream.state.notes[made]["staff_id"] == 1


def test_a_revocation_holds_everywhere_within_a_second_also_while_the_upstream_is_down(
    sidecar: Sidecar, upstream: Upstream
) -> None:
    assert sidecar.ask("GET", "/staffs/me", ZORN).status == 200
    upstream.stop()
    assert sidecar.cli("revoke", "Dr Zorn").returncode == 0
    time.sleep(1)
    assert {sidecar.ask("GET", "/staffs/me", ZORN).status for _ in range(20)} == {401}  # on every worker
    assert sidecar.cli("restore", "Dr Zorn").returncode == 0
    upstream.start()
    time.sleep(1)
    until(lambda: sidecar.ask("GET", "/staffs/me", ZORN).status == 200)


@pytest.mark.parametrize("words", [("off",), ("report-only",), ("except", "Dr Zorn")])
def test_nothing_that_is_said_of_policies_lifts_a_revocation(sidecar: Sidecar, words: tuple[str, ...]) -> None:
    assert sidecar.cli("revoke", "Dr Zorn").returncode == 0
    said = sidecar.cli("policy", words[0], "revoked_credential", *words[1:])
    assert (said.returncode != 0, "understudy restore USER" in said.stderr) == (True, True)
    time.sleep(1)
    assert {sidecar.ask("GET", "/notes", ZORN).status for _ in range(10)} == {401}
    assert sidecar.cli("restore", "Dr Zorn").returncode == 0
    until(lambda: sidecar.ask("GET", "/notes", ZORN).status == 200)


def test_guessing_is_stopped_and_locks_nobody_out(sidecar: Sidecar) -> None:
    def guess(number: int) -> int:
        return sidecar.ask("GET", "/staffs/me", {"Authorization": basic("Dr Holt", f"guess-{number}")}).status

    assert {guess(number) for number in range(25)} == {401}
    assert sidecar.cli("policy", "enforce", "failed_sign_ins").returncode == 0
    until(lambda: guess(99) == 429, what="guesses are refused")
    assert {sidecar.ask("GET", "/staffs/me", HOLT).status for _ in range(10)} == {200}
    assert sidecar.ask("GET", "/staffs/me", AMES).status == 200
    assert sidecar.cli("policy", "off", "failed_sign_ins").returncode == 0


def test_the_brake_lets_everything_through_but_the_revoked(upstream: Upstream, tmp_path: Path) -> None:
    with Sidecar(upstream.url, tmp_path / "data", workers="1", policy="report") as sidecar:
        assert sidecar.ask("GET", "/staffs/me", HOLT).status == 200
        assert sidecar.cli("policy", "enforce", "--force", POLICY).returncode == 0
        assert sidecar.cli("revoke", "Dr Zorn").returncode == 0
        time.sleep(1)
        assert note(sidecar, HOLT, 3).status == 201
        assert sidecar.ask("GET", "/staffs/me", ZORN).status == 401
