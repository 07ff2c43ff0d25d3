"""One patient's access log: everyone, once, signed, without a word of what the records say."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import orjson
import pytest
from sqlalchemy import Engine

from dashboard.data.disclosure import AccessLog, Disclosures
from dashboard.data.event_queries import Queries
from dashboard.data.export_signature import Signer, check
from dashboard.data.signed_lines import Unfit
from sidecar.events import trail
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.settings import Settings
from sidecar.timeunits import DAY, SECOND
from tests.support.dashboard import seed

NOW = 1_800_000_000 * SECOND
SINCE = NOW - 1000 * DAY


@pytest.fixture
def logs(engine: Engine, tmp_path: Path) -> Iterator[Disclosures]:
    store, dice = EmbeddedStore(tmp_path / "events.db"), random.Random(1)
    store.install()
    note = {"title": "Secret title", "body": "and words", "patient_id": 17}
    made = [
        seed.event(NOW - 3 * DAY, dice, kind="patient", user="Dr Holt", patient="17", status=200, outcome="success"),
        seed.event(NOW - 2 * DAY, dice, kind="create", user="Nurse Tan", patient="17", body=note, status=201,
                   outcome="success"),
        seed.event(NOW - DAY, dice, kind="patient", user="Dr Holt", patient="18"),
        seed.event(NOW - 900 * DAY, dice, kind="patient", user="Dr Sato", patient="17"),
    ]  # fmt: skip
    store.append([event for event, _ in made[:3]], [body for _, body in made[:3] if body])
    folder = tmp_path / trail.FOLDER
    folder.mkdir()
    old = [trail.condensed(event) for event, _ in (made[3], made[0], made[2])]
    (folder / f"ward-1-5{trail.SUFFIX}").write_bytes(
        gzip.compress(b"".join(orjson.dumps(each) + b"\n" for each in old))
    )
    signer = Signer(tmp_path / "export.key")
    yield Disclosures(engine, Queries(store), signer, Settings(data=tmp_path), ZoneInfo("UTC"), lambda: NOW, "HOSP")
    store.close()


def test_everyone_is_in_it_once_also_from_the_trail(logs: Disclosures, tmp_path: Path) -> None:
    made = logs.make("Ms Pell", "17", SINCE, NOW + DAY, "the owner asked")
    assert [row["who"] for row in made.rows] == ["Nurse Tan", "Dr Holt", "Dr Sato"]
    assert (made.head["accesses"], made.head["people"], made.head["made_by"]) == (3, 3, "Ms Pell")
    assert "Secret" not in made.content
    assert "trail does not hold" in made.head["left_out"]
    lately = logs.make("Ms Pell", "17", NOW - 30 * DAY, NOW, "the owner asked")
    assert lately.head["left_out"] == "lists of all patients, which show this one among others"
    file, manifest = tmp_path / made.file(), tmp_path / "manifest"
    file.write_text(made.content)
    manifest.write_text(made.manifest)
    assert check(file, manifest, None) is None
    file.write_text(made.content.replace("Dr Sato", "Dr Nemo"))
    assert "altered" in str(check(file, manifest, None))


def test_who_made_it_finds_it_and_no_other_of_the_role(logs: Disclosures) -> None:
    made = logs.make("Ms Pell", "17", SINCE, NOW, "the owner asked")
    assert logs.find(made.id, "Ms Pell") == logs.find(made.id, None) == made
    assert logs.find(made.id, "Mr Quill") is None
    assert (list(logs.latest("Mr Quill")), list(logs.latest("Ms Pell"))) == ([], [made])


def test_a_trail_that_cannot_be_read_makes_no_log(logs: Disclosures, tmp_path: Path) -> None:
    (tmp_path / trail.FOLDER / f"ward-1-5{trail.SUFFIX}").write_bytes(b"no gzip")
    with pytest.raises(Unfit, match="cannot be read"):
        logs.make("Ms Pell", "17", SINCE, NOW, "the owner asked")
    assert len(logs.make("Ms Pell", "17", NOW - 30 * DAY, NOW, "the owner asked").rows) == 2


@pytest.mark.parametrize(
    ("subject", "since", "reason", "why"),
    [
        ("", SINCE, "asked", "patient: expected"),
        ("17\n18", SINCE, "asked", "patient: expected"),
        ("17", SINCE, "", "reason: expected"),
        ("17", NOW, "asked", "to: expected a time after from"),
    ],
)
def test_what_makes_no_log_is_said(logs: Disclosures, subject: str, since: int, reason: str, why: str) -> None:
    with pytest.raises(Unfit, match=why):
        logs.make("Ms Pell", subject, since, NOW, reason)


def test_a_line_ends_where_json_lines_do() -> None:
    """A name may hold a character at which text, but no file of lines, is broken."""
    made = AccessLog(id="1", at=1, user="u", subject="17", content='{}\n{"who":"A\u2028B\x85C"}\n', manifest="{}")
    assert made.rows == [{"who": "A\u2028B\x85C"}]
