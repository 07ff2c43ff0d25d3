"""An export is exactly what was filtered; its manifest proves it, and tells what the journal does not bear out."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dashboard.data import tables
from dashboard.data.export_signature import Signer, check
from dashboard.data.export_verification import held
from dashboard.data.exports import Export, Exports
from dashboard.values.filters import View
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.journal.keys import SigningKey
from sidecar.journal.signer import Signer as JournalSigner
from sidecar.journal.statements import Statements, statements_of
from sidecar.journal.writer import Journal
from sidecar.settings import Settings
from sidecar.storage.database import open_engine
from tests.support.dashboard import seed
from tests.support.stack import until
from tests.support.tables import lay

UTC = ZoneInfo("UTC")
NOW = time.time_ns()


def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, node="ward", sign_key=tmp_path / "keys" / "sign-key")


def signer(tmp_path: Path) -> tuple[JournalSigner, Statements]:
    """Of the journal, as the sidecar has it."""
    statements = statements_of(settings(tmp_path))
    key = SigningKey(settings(tmp_path).sign_key_file)
    return JournalSigner(tmp_path / "journal", statements, key, lambda *_: None), statements


def sign(tmp_path: Path) -> None:
    made, _ = signer(tmp_path)
    made.look()
    made.sign()


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    """Events whose journal is on this machine, and older ones whose journal is gone."""
    journal = Journal(tmp_path / "journal", "ward", "1", durable=False, segment_bytes=1 << 20)
    store, dice = EmbeddedStore(tmp_path / "events.db"), random.Random(4)
    store.install()
    for number in range(30):
        event, _ = seed.event(NOW - number * seed.SECOND, dice, user="Dr Holt")
        for name in ("sequence", "hash"):
            del event["event"][name]
        journal.append(event, None).wait(5)
    journal.close()
    sign(tmp_path)
    paths = (tmp_path / "journal").glob("*.jsonl")
    lines = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    store.append([line["event"] for line in lines])
    store.append([seed.event(NOW - seed.DAY - number, dice, user="Dr Holt")[0] for number in range(5)])
    store.append([seed.event(NOW - seed.SECOND, dice, user="Dr Sato")[0]])
    return store


def export(tmp_path: Path, store: EmbeddedStore, form: str) -> tuple[Export, Path, Path]:
    engine = open_engine(Settings(data=tmp_path))
    lay(engine, tables.SCHEMA)
    exports = Exports(engine, store, tmp_path, held(settings(tmp_path), tuple), UTC, api="HOSP")
    ident = exports.start("auditor", View(period="7d", person="Dr Holt").fixed(NOW + seed.SECOND, UTC), form)
    made = until(lambda: (found := exports.find(ident, "auditor")) and found.state != "running" and found, 20)
    assert exports.find(ident, "somebody else") is None
    file, manifest = exports.path(made, "file"), exports.path(made, "manifest")
    engine.dispose()
    store.close()
    return made, file, manifest


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_what_was_filtered_is_exported_and_proven(tmp_path: Path, store: EmbeddedStore, form: str) -> None:
    made, file, manifest = export(tmp_path, store, form)
    assert (made.state, made.done, made.total) == ("done", 35, 35)
    said = json.loads(manifest.read_text())
    assert (said["rows"], said["made_by"], said["journal"]["ok"]) == (35, "auditor", True)
    counts = {name: said["journal"][name] for name in ("matched", "different", "not_in_journal")}
    assert counts == {"matched": 30, "different": 0, "not_in_journal": 5}
    assert len(file.read_text().splitlines()) == 35 + (form == "csv")
    key = Signer(tmp_path / "export.key").public()
    assert check(file, manifest, key) is None
    assert "another key" in str(check(file, manifest, "00"))
    said["rows"] = 34
    altered = tmp_path / "altered.json"
    altered.write_text(json.dumps(said))
    assert "its signature does not fit" in str(check(file, altered, key))
    file.write_bytes(file.read_bytes() + b" ")
    assert "SHA-256" in str(check(file, manifest, key))


def test_a_row_that_is_not_as_the_journal_has_it_is_told(tmp_path: Path, store: EmbeddedStore) -> None:
    with store._connection() as connection:
        connection.execute("UPDATE events SET document = replace(document, 'GET', 'PUT') WHERE seq <= 10")
    made, _, manifest = export(tmp_path, store, "jsonl")
    different = json.loads(manifest.read_text())["journal"]["different"]
    assert different > 0
    assert made.detail == f"{different} rows are NOT as the journal has them: see the manifest"


def test_a_journal_that_does_not_verify_is_told(tmp_path: Path, store: EmbeddedStore) -> None:
    path = next((tmp_path / "journal").glob("*.jsonl"))
    path.write_bytes(path.read_bytes().replace(b"Dr Holt", b"Dr Hilt", 1))
    made, _, manifest = export(tmp_path, store, "csv")
    assert made.detail.startswith("THE JOURNAL DOES NOT VERIFY")
    assert json.loads(manifest.read_text())["journal"]["first_bad"]["line"] == 1


def test_a_row_that_the_journal_should_have_and_has_not_is_told(tmp_path: Path, store: EmbeddedStore) -> None:
    store.append([seed.event(NOW - 3 * seed.SECOND, random.Random(8), user="Dr Holt")[0]])
    made, _, manifest = export(tmp_path, store, "csv")
    assert made.detail.startswith("1 rows are NOT in the journal")
    said = json.loads(manifest.read_text())["journal"]
    assert (said["missing"], said["not_in_journal"], len(said["missing_ids"])) == (1, 5, 1)


def test_a_journal_that_a_stranger_signed_is_not_verified(tmp_path: Path, store: EmbeddedStore) -> None:
    (tmp_path / "statements.jsonl").unlink()
    own = settings(tmp_path).sign_key_file
    own.rename(tmp_path / "own")
    sign(tmp_path)
    own.unlink()
    (tmp_path / "own").rename(own)
    made, _, manifest = export(tmp_path, store, "csv")
    assert made.detail.startswith("THE JOURNAL DOES NOT VERIFY")
    assert json.loads(manifest.read_text())["journal"]["ok"] is False


def test_without_the_key_nothing_is_called_verified(tmp_path: Path, store: EmbeddedStore) -> None:
    settings(tmp_path).sign_key_file.unlink()
    made, _, manifest = export(tmp_path, store, "csv")
    assert made.detail.startswith("NOT verified")
    assert json.loads(manifest.read_text())["journal"]["ok"] is None
