"""Vandalism: what somebody touched is listed, with before and after, and put back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.stack import Sidecar, until
from tests.support.upstream import AMES, HOLT, USERS, Upstream


def affected(sidecar: Sidecar) -> list[dict[str, Any]]:
    done = sidecar.cli("audit", "affected", "--user", "Dr Ames", "--since", "1h", "--format", "json")
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def undo(sidecar: Sidecar, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sidecar", "audit", "undo", "--user", "Dr Ames", "--as", "Dr Holt", *words]
    return subprocess.run(
        [*command, "--password-stdin"], env=sidecar.environ, input=USERS["Dr Holt"] + "\n", capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip


def test_vandalism_is_listed_and_put_back_but_not_what_others_worked_on_since(tmp_path: Path) -> None:
    with Upstream() as upstream, Sidecar(upstream.url, tmp_path / "data", workers="1") as sidecar:
        notes = upstream.state.notes
        for ident in (1, 2, 3, 4):
            row = {"title": "Round", "body": f"well {ident}", "patient_id": 17, "staff_id": 2}
            notes[ident] = {"id": ident, **row}
        good = {ident: dict(row) for ident, row in notes.items()}
        assert sidecar.ask("GET", "/notes", HOLT).status == 200
        assert sidecar.ask("GET", "/notes/1", HOLT).status == 200
        assert sidecar.ask("PATCH", "/notes/1", AMES, {"body": "pwned"}).status == 200
        assert sidecar.ask("PATCH", "/notes/2", AMES, {"title": "pwned", "staff_id": 1}).status == 200
        assert sidecar.ask("POST", "/notes", AMES, {"title": "pwned", "patient_id": 17}).status == 201
        assert sidecar.ask("PATCH", "/notes/3", AMES, {"body": "pwned"}).status == 200
        assert sidecar.ask("DELETE", "/notes/4", AMES).status == 204
        assert sidecar.ask("PATCH", "/notes/3", HOLT, {"body": "corrected by hand"}).status == 200
        assert sidecar.cli("revoke", "Dr Ames").returncode == 0
        until(lambda: len(affected(sidecar)) == 5, what="all shipped")
        touched = {(row["action"], row["record"]): row for row in affected(sidecar)}
        first = touched["update", "1"]
        assert (first["before"]["body"], first["after"]["body"], first["patient"]) == ("well 1", "pwned", "17")
        assert touched["delete", "4"]["before"]["body"] == "well 4"

        done = undo(sidecar)
        assert (done.returncode, "4 put back, 1 left" in done.stdout) == (1, True), done.stdout + done.stderr
        assert "somebody has worked on it since (Dr Holt)" in done.stdout
        assert (notes[1], notes[2], notes[3]["body"]) == (good[1], good[2], "corrected by hand")
        again = [row for ident, row in notes.items() if ident > 3]
        assert [row["body"] for row in again] == ["well 4"]  # under another id: the upstream gives ids
        assert not [row for row in notes.values() if "pwned" in (row["title"], row.get("body"))]
        mine = [e for e in sidecar.events() if e.get("user_agent", {}).get("original") == "understudy-audit-undo"]
        assert {e["user"]["name"] for e in mine} == {"Dr Holt"}
        assert [e["event"]["action"] for e in mine if e["event"]["action"] != "read"] == [
            "create", "delete", "update", "update",
        ]  # fmt: skip
