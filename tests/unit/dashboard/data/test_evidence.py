"""Evidence packs: what is said of each row by the journal, and the forms in which a pack is handed out."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from dashboard.data.event_queries import Queries
from dashboard.data.evidence import Packs, status
from dashboard.data.export_signature import Signer, check
from dashboard.data.signed_lines import Unfit, sign_lines
from dashboard.values.filters import View
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.timeunits import HOUR, SECOND
from tests.support.dashboard import seed

NOW = 1_800_000_000 * SECOND


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"ok": None}, "not compared: the journal is not on this machine"),
        ({"ok": True, "matched_ids": ["a"], "different_ids": []}, "proven"),
        ({"ok": False, "matched_ids": ["a"], "different_ids": []}, "in the journal, which does NOT verify"),
        ({"ok": True, "matched_ids": [], "different_ids": ["a"]}, "DIFFERENT in the journal"),
        ({"ok": True, "matched_ids": ["b"], "different_ids": []}, "not in the journal"),
    ],
)
def test_a_row_is_proven_only_where_the_journal_verifies_and_holds_it(said: dict[str, object], words: str) -> None:
    assert status("a", said) == words


@pytest.fixture
def packs(engine: Engine, tmp_path: Path) -> Iterator[Packs]:
    store = EmbeddedStore(tmp_path / "events.db")
    store.install()
    formula = seed.event(
        NOW - HOUR, random.Random(1), kind="create", user="=HYPERLINK(1)", patient="17", status=201, outcome="success",
        body={"title": "a;b,c", "body": 'one "two"\nthree', "patient_id": 17},
    )  # fmt: skip
    store.append([formula[0]], [formula[1]] if formula[1] else [])
    signer = Signer(tmp_path / "export.key")
    nothing = {"ok": None, "why": "no journal"}
    yield Packs(engine, Queries(store), signer, lambda _: nothing, ZoneInfo("UTC"), lambda: NOW, "HOSP")
    store.close()


@pytest.mark.parametrize(("form", "separator"), [("csv", ","), ("csv-semicolon", ";")])
def test_a_pack_as_a_table_is_proven_by_its_own_manifest_and_holds_no_formula(
    packs: Packs, tmp_path: Path, form: str, separator: str
) -> None:
    pack = packs.make("Ms Pell", View(), "=A title", "Notes")
    (name, content), (manifest_name, manifest) = (packs.handed_out(pack, form, part) for part in ("file", "manifest"))
    assert manifest_name == f"{name}.manifest.json"
    head, row = csv.reader(io.StringIO(content.decode("utf-8-sig")), delimiter=separator)
    found = dict(zip(head, row, strict=True))
    assert found["sentence"].startswith("'=HYPERLINK(1) added the note “a;b,c”")
    assert 'one \\"two\\"\\nthree' in found["written"]
    assert (found["event_id"], found["journal"]) == (
        pack.rows[0]["event"]["event"]["id"], "not compared: the journal is not on this machine",
    )  # fmt: skip
    assert packs.handed_out(pack, form, "file")[1] == content, "made again it is the same"
    file, proof = tmp_path / name, tmp_path / manifest_name
    file.write_bytes(content)
    proof.write_bytes(manifest)
    assert check(file, proof, Signer(tmp_path / "export.key").public()) is None
    file.write_bytes(content.replace(b"Patient 17", b"Patient 18"))
    assert "altered" in str(check(file, proof, None))


def test_the_manifest_of_a_table_names_the_lines_that_were_signed(packs: Packs) -> None:
    pack = packs.make("Ms Pell", View(), "A title", "Notes")
    said = json.loads(packs.handed_out(pack, "csv", "manifest")[1])
    assert said["lines"] == {"file": pack.file(), "sha256": pack.signature["sha256"]}
    assert said["filters"] == ["from Thu 14 Jan 2027, 08:00:00 UTC to Fri 15 Jan 2027, 08:00:00 UTC"]
    assert (said["title"], said["notes"], said["made_by"], said["rows"]) == ("A title", "Notes", "Ms Pell", 1)
    assert packs.handed_out(pack, "jsonl", "file") == (pack.file(), pack.content.encode())
    assert packs.handed_out(pack, "jsonl", "manifest")[1] == pack.manifest.encode()


@pytest.mark.parametrize("part", ["file", "manifest"])
@pytest.mark.parametrize("form", ["csv", "csv-semicolon"])
def test_nothing_is_signed_of_lines_that_are_not_as_we_signed_them(
    packs: Packs, tmp_path: Path, form: str, part: str
) -> None:
    pack = packs.make("Ms Pell", View(), "A title", "Notes")
    altered = replace(pack, content=pack.content.replace('"17"', '"18"'))
    foreign = sign_lines(Signer(tmp_path / "other.key"), "evidence", pack.head, pack.rows)
    for damaged, why in (
        (altered, "altered: it does not have the manifest's SHA-256"),
        (replace(altered, manifest=pack.manifest.replace('"rows": 1', '"rows": 2')), "its signature does not fit"),
        (replace(pack, manifest="{}"), "not a manifest of ours"),
        (replace(pack, content=foreign["content"], manifest=foreign["manifest"]), "signed by another key"),
    ):
        assert damaged != pack
        with pytest.raises(Unfit, match=why):
            packs.handed_out(damaged, form, part)
        raw = (damaged.content if part == "file" else damaged.manifest).encode()
        assert packs.handed_out(damaged, "jsonl", part)[1] == raw, "as it stands, to be examined"
