"""The audit trail of a running sidecar, seen from outside: signed, verified, exported, and damage to it told."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sidecar.cli import understudy
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.journal.keys import SigningError
from tests.support.stack import Sidecar, until
from tests.support.upstream import AMES, HOLT, Upstream


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        server.state.patients[17] = {"id": 17, "name": "Rex"}
        yield server


@pytest.fixture(scope="module")
def sidecar(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    data: Path = tmp_path_factory.mktemp("trail") / "data"
    with Sidecar(upstream.url, data, workers="1", sign_every="1s") as running:
        for number in range(20):
            assert running.ask("POST", "/notes", HOLT, {"title": f"Round {number}", "patient_id": 17}).status == 201
            assert running.ask("GET", f"/notes/{number + 1}", AMES).status == 200
        until(lambda: all_signed(audit(running.environ, "verify").output), what="all signed")
        yield running


def all_signed(told: str) -> bool:
    return "signed up to" in told and "not signed yet" not in told


def audit(environ: Mapping[str, str], *words: str) -> Result:
    """An `understudy audit` command in this process, with a sidecar's settings."""
    given = {key: value for key, value in environ.items() if key.startswith("UNDERSTUDY_")}
    return CliRunner().invoke(understudy, ["audit", *words], env={"UNDERSTUDY_SIGN_KEY": None, **given})


def verdict(environ: Mapping[str, str], *words: str) -> dict[str, Any]:
    done = audit(environ, "verify", "--format", "json", *words)
    found: dict[str, Any] = json.loads(done.output)
    assert done.exit_code == (0 if found["ok"] else 1), done.output
    assert found.keys() == {"ok", "events", "first_bad", "signed", "unsigned", "key", "notes"}
    return found


def test_the_journal_is_signed_while_it_grows(sidecar: Sidecar) -> None:
    done = sidecar.cli("audit", "verify")
    assert done.stdout.startswith("ok: "), done.stdout + done.stderr
    assert "signed up to" in done.stdout
    assert verdict(sidecar.environ)["events"] >= 40
    key = sidecar.data.parent / "data.sign-key"
    assert (key.exists(), key.stat().st_mode & 0o777) == (True, 0o600)
    assert (sidecar.data / "audit.pub").read_text() == audit(sidecar.environ, "key").output
    assert sidecar.plane("GET", "/shipper").json()["not_signed"] is None


def test_what_ends_in_order_is_signed_to_its_last_line(upstream: Upstream, tmp_path: Path) -> None:
    with Sidecar(upstream.url, tmp_path / "data", workers="2", sign_every="1h") as running:
        for _ in range(2):
            for _ in range(10):
                assert running.ask("GET", "/patients", HOLT).status == 200
            running.stop()
            found = verdict(running.environ)
            assert (found["ok"], found["unsigned"]) == (True, 0)
            assert found["events"] >= 10
            running.start()


def test_a_stranger_verifies_an_export_with_the_public_key_alone(sidecar: Sidecar, tmp_path: Path) -> None:
    one, key = tmp_path / "export.jsonl", tmp_path / "audit.pub"
    assert audit(sidecar.environ, "export", "--out", str(one)).exit_code == 0
    key.write_text(audit(sidecar.environ, "key").output)

    def stranger(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sidecar", "audit", "verify", str(one), "--public-key", str(key), *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    done = stranger()
    assert (done.returncode, "signed up to" in done.stdout) == (0, True), done.stdout + done.stderr
    good = one.read_bytes()
    one.write_bytes(good.replace(b"Round 7", b"Round 8", 1))
    line = good[: good.index(b"Round 7")].count(b"\n") + 1
    found = json.loads(stranger("--format", "json").stdout)
    assert (found["ok"], found["first_bad"]["line"], found["first_bad"]["file"]) == (False, line, str(one))
    lines = good.splitlines(keepends=True)
    statements = [raw for raw in lines if b"@statements" in raw]
    one.write_bytes(b"".join(raw for raw in lines if raw not in statements))
    done = stranger()
    assert (done.returncode, "not signed" in done.stdout) == (1, True)
    assert not verdict(sidecar.environ, str(one))["ok"]
    (tmp_path / "nonsense").write_text("nonsense")
    told = audit(sidecar.environ, "verify", str(one), "--public-key", str(tmp_path / "nonsense"))
    assert (type(told.exception), "expected an Ed25519 public key" in str(told.exception)) == (SigningError, True)


def test_segments_that_are_gone_or_cut_are_told(sidecar: Sidecar, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    shutil.copytree(sidecar.data, copy)
    key = sidecar.data.with_name("data.sign-key")
    environ = {**sidecar.environ, "UNDERSTUDY_DATA": str(copy), "UNDERSTUDY_SIGN_KEY": str(key)}
    assert verdict(environ)["ok"]
    path = max((copy / "journal").glob("*.jsonl"), key=lambda path: path.stat().st_size)
    good = path.read_bytes()
    path.unlink()
    found = verdict(environ)
    assert (found["ok"], found["first_bad"]["file"]) == (False, path.name)
    lines = good.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    assert verdict(environ)["first_bad"]["line"] == len(lines)
    path.write_bytes(good)
    statements = copy / "statements.jsonl"
    statements.write_bytes(b"".join(statements.read_bytes().splitlines(keepends=True)[:-1]))
    assert "a checkpoint says" in verdict(environ)["first_bad"]["why"]
    statements.unlink()
    assert not verdict(environ)["ok"]


def test_changes_are_told_by_digests_of_before_and_after(sidecar: Sidecar, upstream: Upstream) -> None:
    made = sidecar.ask("POST", "/notes", HOLT, {"title": "Fresh", "patient_id": 17}).json()["id"]
    assert sidecar.ask("PATCH", f"/notes/{made}", AMES, {"title": "Changed"}).status == 200
    assert sidecar.ask("PATCH", f"/notes/{made}", AMES, {"title": "Fresh"}).status == 200
    assert sidecar.ask("DELETE", f"/notes/{made}", HOLT).status == 204
    assert sidecar.ask("PATCH", f"/notes/{made}", AMES, {"title": "Late"}).status == 404
    upstream.state.notes[900] = {"id": 900, "title": "Unseen", "patient_id": 17}
    assert sidecar.ask("PATCH", "/notes/900", AMES, {"title": "Seen"}).status == 200
    told = [
        event["understudy"].get("change")
        for event in sidecar.events()
        if event["event"]["action"] in ("create", "update", "delete")
    ][-6:]
    created, first, second, deleted, refused, unseen = told
    assert (created["before"], deleted["after"], refused) == ("none", "none", None)
    assert [created["after"], first["after"], second["after"]] == [
        first["before"], second["before"], deleted["before"],
    ]  # fmt: skip
    assert len({created["after"], first["after"]}) == 2
    assert (unseen["before"], len(unseen["after"])) == ("unknown", 64)
    upstream.fault("reset", "/notes", method="PATCH")
    assert sidecar.ask("PATCH", "/notes/900", AMES, {"title": "Unclear"}).status == 200  # the outbox has it
    mine = [event for event in sidecar.events(path="/notes/900") if event["understudy"]["purpose"] == "user"]
    unclear = mine[-1]
    assert unclear["understudy"]["change"] == {"before": unseen["after"], "after": "unknown"}


def test_the_key_is_rotated_under_traffic(sidecar: Sidecar, tmp_path: Path) -> None:
    old = tmp_path / "old.pub"
    old.write_text(audit(sidecar.environ, "key").output)
    done = sidecar.cli("audit", "rotate-key")
    assert done.returncode == 0, done.stderr
    assert audit(sidecar.environ, "key").output != old.read_text()
    assert sidecar.ask("GET", "/notes/1", HOLT).status == 200
    until(lambda: "not signed yet" not in audit(sidecar.environ, "verify").output, what="signed by the new key")
    assert verdict(sidecar.environ)["ok"]
    assert verdict(sidecar.environ, "--public-key", str(old))["ok"]


def test_a_key_that_only_its_keeper_can_replace_is_rotated(sidecar: Sidecar, tmp_path: Path) -> None:
    old, key, successor = tmp_path / "old.pub", sidecar.data.with_name("data.sign-key"), tmp_path / "successor"
    old.write_text(audit(sidecar.environ, "key").output)
    done = sidecar.cli("audit", "rotate-key", "--to", str(successor))
    assert (done.returncode, done.stderr) == (0, "")
    assert audit(sidecar.environ, "key").output == old.read_text(), "it signs until it is replaced"
    assert sidecar.ask("GET", "/notes/1", HOLT).status == 200
    sidecar.stop()
    successor.replace(key)
    sidecar.start()
    assert audit(sidecar.environ, "key").output != old.read_text()
    assert sidecar.ask("GET", "/notes/1", HOLT).status == 200
    until(lambda: audit(sidecar.environ, "verify").exit_code == 0, what="the new key has signed")
    assert "unvouched" not in audit(sidecar.environ, "verify").output
    assert verdict(sidecar.environ, "--public-key", str(old))["ok"]


def test_bodies_are_erased_everywhere_unless_they_are_held(sidecar: Sidecar, upstream: Upstream) -> None:
    secret = {"images": ["NEVERTOBESEENAGAIN"]}
    assert sidecar.ask("POST", "/patients/17/screen", HOLT, secret).status == 200
    assert sidecar.ask("POST", "/notes", HOLT, {"title": "NEVERTOBESEENAGAIN", "patient_id": 17}).status == 201
    until(lambda: b"NEVERTOBESEENAGAIN" in everything(sidecar), what="shipped")
    ids = [
        event["event"]["id"] for event in sidecar.events()
        if event["event"]["action"] in ("call", "create") and event["user"]["name"] == "Dr Holt"
    ][-2:]  # fmt: skip
    until(lambda: all(shipped(sidecar, ident) for ident in ids), what="both are shipped")
    held = audit(sidecar.environ, "hold", "--patient", "17", "--reason", "court")
    assert held.exit_code == 0, held.output
    laid = json.loads(audit(sidecar.environ, "holds", "--format", "json").output)[0]["id"]
    words = ["erase", *(word for ident in ids for word in ("--event", ident)), "--reason", "asked for", "--yes"]
    assert f"hold {laid} (patient 17) keeps 2 of these" in str(audit(sidecar.environ, *words).exception)
    assert audit(sidecar.environ, "release", laid, "--reason", "over").exit_code == 0
    done = audit(sidecar.environ, *words)
    assert (done.exit_code, "of 2 exchanges in the event store, of 2 in this node's journal" in done.output) == (
        0,
        True,
    )
    assert b"NEVERTOBESEENAGAIN" not in everything(sidecar)
    assert verdict(sidecar.environ)["ok"]
    deeds = {event["event"]["action"]: event for event in sidecar.events() if event["understudy"]["purpose"] == "audit"}
    assert {"hold", "release", "erase"} <= deeds.keys()
    assert (deeds["erase"]["understudy"]["reason"], deeds["erase"]["understudy"]["deed"]["events"]) == ("asked for", 2)
    assert "has no event" in str(audit(sidecar.environ, "erase", "--event", "x", "--reason", "r", "--yes").exception)


def shipped(sidecar: Sidecar, ident: str) -> bool:
    store = EmbeddedStore(sidecar.data / "events.db")
    try:
        return store.body(ident) is not None
    finally:
        store.close()


def everything(sidecar: Sidecar) -> bytes:
    """All that is written: the journal and the event store."""
    paths = [*(sidecar.data / "journal").glob("*"), *sidecar.data.glob("events.db*")]
    return b"".join(path.read_bytes() for path in paths)


def test_a_journal_stripped_rolled_back_or_signed_by_a_stranger_does_not_verify(
    upstream: Upstream, tmp_path: Path
) -> None:
    """What an attacker who may write all of DATA can do: none of it passes, by the key and the head beside it."""
    with Sidecar(upstream.url, tmp_path / "data", workers="1", sign_every="1s") as running:
        environ = running.environ
        running.ask("GET", "/notes", HOLT)
        until(lambda: all_signed(audit(environ, "verify").output), what="signed once")
        shutil.copytree(running.data, tmp_path / "older")
        running.ask("GET", "/notes", HOLT)
        until(lambda: verdict(environ)["events"] == 2 and verdict(environ)["unsigned"] == 0, what="signed twice")
        assert verdict(environ)["ok"]
    statements = running.data / "statements.jsonl"
    whole = statements.read_bytes()
    statements.unlink()
    assert "not signed" in str(stripped(environ)) or "cut: signed statements" in str(stripped(environ))
    for name in ("journal", "statements.jsonl", "events.db"):
        replaced(tmp_path / "older" / name, running.data / name)
    assert "head beside the key says" in str(stripped(environ))
    key, head = tmp_path / "data.sign-key", tmp_path / "data.sign-key.head"
    head.unlink()
    assert "not there" in str(stripped(environ)), "DATA alone says how far it had been signed"
    statements.write_bytes(whole)
    assert key.with_name("data.sign-key.pub").exists()
    key.unlink()
    key.with_name("data.sign-key.pub").unlink()
    done = audit(environ, "verify")
    assert isinstance(done.exception, SigningError)


def stripped(environ: Mapping[str, str]) -> Any:
    found = verdict(environ)
    assert not found["ok"]
    return found["first_bad"]["why"]


def replaced(source: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
        shutil.copytree(source, target)
    elif source.exists():
        shutil.copy(source, target)
