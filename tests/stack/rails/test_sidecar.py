"""The sidecar before a real Rails application: answers equal, or honestly 503 in an outage; writes once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose.hosp.data import generate
from tests.support.rails_app import RailsApp
from tests.support.rails_cases import AXIOS, BROWSER, ERRORS, FORMAT, JSON, Case, _json
from tests.support.rails_send import Answer, send
from tests.support.stack import Sidecar, until

pytestmark = pytest.mark.timeout(400)
USER = next(iter(generate(7).passwords.items()))
KEEPER = ":".join(USER)
REQUESTS = 300
HONEST = 503


@pytest.fixture
def sidecar(rails: RailsApp, tmp_path: Path) -> Iterator[Sidecar]:
    with Sidecar(rails.url, tmp_path / "data", backfill_credentials=KEEPER, evidence=None) as running:
        yield running


def questions(seed: int) -> list[Case]:
    """Reads as clients send them: most as JSON, some as a browser, axios or a stranger would; and refused ones."""
    dice = random.Random(seed)
    accepts = [JSON] * 6 + [BROWSER, AXIOS, "*/*", None]
    asked = [case for case in [*FORMAT, *ERRORS] if case.method == "GET"]
    while len(asked) < REQUESTS:
        kind, most = dice.choice([("hospitals", 6), ("staffs", 30), ("patients", 400), ("notes", 2000)])
        target = dice.choice(
            [
                f"/{kind}",
                f"/{kind}/{dice.randint(1, most)}",
                f"/{kind}/{dice.randint(1, most)}",
                f"/notes?patient_id={dice.randint(1, 60)}",
                "/staffs/me",
                f"/{kind}/{most + 999}",
            ]
        )
        asked.append(Case(0, "GET", target, accept=dice.choice(accepts)))
    return asked


def same(direct: Answer, through: Answer) -> bool:
    return (direct.status, direct.kind, direct.content()) == (through.status, through.kind, through.content())


def test_reads_are_equal_in_health_and_equal_or_honest_in_an_outage(rails: RailsApp, sidecar: Sidecar) -> None:
    asked, direct, wrong = questions(seed=16), [], []
    for case in asked:
        direct.append(send(rails.port, case, USER))
        through = send(sidecar.port, case, USER)
        failed = direct[-1].status >= 500 and through.status == HONEST  # Rails itself fails here: 503 says so
        if not failed and not same(direct[-1], through):
            wrong.append(f"health {case.name}: {direct[-1].status} {direct[-1].kind}, {through.status} {through.kind}")
    assert not wrong, "\n".join(wrong)
    rails.stop()
    answered = 0
    for case, before in zip(asked, direct, strict=True):
        through = send(sidecar.port, case, USER)
        answered += through.status == before.status
        if (through.status, before.status) == (401, 401):
            continue  # without credentials: the refusal is ours, in problem+json, and says the same
        if through.status != HONEST and not same(before, through):
            wrong.append(f"outage {case.name}: {before.status} {before.kind}, {through.status} {through.kind}")
    assert not wrong, f"{len(wrong)} of {len(asked)}:\n" + "\n".join(wrong)
    assert answered > REQUESTS / 3


WRITES = [
    _json(0, "POST", "/notes", {"title": "In the outage", "body": "<kept> & once", "patient_id": 3, "staff_id": 2}),
    _json(0, "PATCH", "/patients/5", {"name": "Renamed in the outage"}),
    _json(0, "PATCH", "/patients/6", {"patient": {"name": "Wrapped in the outage"}}),
    _json(0, "PATCH", "/patients/8", {"birthdate": "2019-12-31T00:00:00.000Z"}),
    _json(0, "PATCH", "/patients/9", {"birthdate": ""}),
    _json(0, "POST", "/notes", {"title": "", "patient_id": 3, "staff_id": 2}),
    _json(0, "POST", "/notes", {"title": "No such patient", "patient_id": 99_999, "staff_id": 2}),
    _json(0, "PATCH", "/patients/10", {}),
    Case(0, "DELETE", "/notes/11"),
]


@pytest.mark.parametrize("case", WRITES, ids=lambda case: case.name)
def test_a_write_in_an_outage_ends_as_it_would_have_once(rails: RailsApp, sidecar: Sidecar, case: Case) -> None:
    """Accepted (2xx) is applied once; a refusal or 503 is not applied; what Rails refuses is not lost silently."""
    for target in ("/hospitals", "/staffs", "/patients", "/notes", "/staffs/me"):
        send(sidecar.port, Case(0, "GET", target), USER)
    before = {table: rails.rows(table) for table in ("patients", "notes")}
    rails.stop()
    told = send(sidecar.port, case, USER)
    rails.start()
    until(lambda: not sidecar.plane("GET", "/outbox").json()["pending"], 40, "outbox empty")
    parked = sidecar.plane("GET", "/outbox").json()["parked"]
    after = {table: rails.rows(table) for table in ("patients", "notes")}
    new = [row for row in after["notes"] if row[0] > 2000]
    would = send(rails.port, case, USER)
    if told.status < 400:
        assert would.status < 400 or parked or (case.method, would.status) == ("DELETE", 404), (
            f"{told.status} {told.body[:200]!r}, Rails: {would.status} {would.body[:200]!r}"
        )
        assert after != before or parked or case.method == "PATCH"
        assert len(new) <= 1
    else:
        assert after == before
        assert told.status in (HONEST, would.status), f"{told.status}, Rails: {would.status}"


def test_a_deletion_that_rails_never_takes_is_parked_once_it_takes_another(rails: RailsApp, sidecar: Sidecar) -> None:
    """The patient has notes, and the database forbids it: Rails answers 500 however often it is asked. Nobody could
    know in the outage; it hides the patient no longer than it takes to learn, and a person is told."""
    for target in ("/patients", "/patients/3", "/staffs/me"):
        send(sidecar.port, Case(0, "GET", target), USER)
    stray = send(sidecar.port, _json(0, "POST", "/patients", {"name": "Stray", "hospital_id": 1}), USER)
    assert stray.status == 201
    rails.stop()
    assert send(sidecar.port, Case(0, "DELETE", "/patients/3"), USER).status < 300
    rails.start()
    until(lambda: send(sidecar.port, Case(0, "GET", "/notes/1"), USER).status == 200, 40, "Rails is back")
    assert send(sidecar.port, Case(0, "DELETE", f"/patients/{stray.content()['id']}"), USER).status < 300
    (parked,) = until(lambda: sidecar.plane("GET", "/outbox").json()["parked"], 90, "the deletion is parked")
    assert (parked["action"], parked["record_id"]) == ("delete", "3")
    assert "500" in parked["reason"]
    shown = send(sidecar.port, Case(0, "GET", "/patients/3"), USER)
    assert same(send(rails.port, Case(0, "GET", "/patients/3"), USER), shown)
