"""What the standby may answer, as its users meet it: what is proven, by backfill alone, and nothing before."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose.hosp.server import Simulator
from tests.support.stack import Sidecar, until

READS = ("hospitals", "staffs", "patients", "notes")
DERIVED = (
    "/hospitals/1",
    "/patients/99",
    "/patients/9999",
    "/notes?patient_id=3",
    "/notes?patient_id=77777",
    "/notes/9",
)


@pytest.fixture
def hosp() -> Iterator[Simulator]:
    with Simulator("calm", 1, 0, 0, 1.0, "127.0.0.1") as simulator:
        yield simulator


@pytest.mark.timeout(240)
def test_backfill_proves_what_can_be_proven_and_it_outlives_a_restart(hosp: Simulator, tmp_path: Path) -> None:
    (backfill, its_password), (user, password) = list(hosp.users)[:2]
    settings = {"backfill_credentials": f"{backfill}:{its_password}", "backfill_rate": "40"}
    settings["bypass_after"] = "60s"  # what is tried is evidence, not gaps
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Accept": "application/json"}
    with Sidecar(hosp.url, tmp_path / "data", evidence=None, **settings) as sidecar:
        for name in READS:
            assert sidecar.ask("GET", f"/{name}", headers).status == 200
        truth = {target: sidecar.ask("GET", target, headers) for target in DERIVED[:1]}
        for name in READS:
            for action in ("list", "read"):
                ready = f"/ready/{name}.{action}"
                until(lambda ready=ready: sidecar.plane("GET", ready).status == 200, 110, ready)
        told = sidecar.plane("GET", "/evidence").json()["endpoints"]["notes.read"]["derivations"]
        assert told["missing"]["state"] == "proven"
        assert told["item"]["state"] == "proven"
        sidecar.process.terminate()
        sidecar.process.wait(30)
        sidecar.start()
        hosp.set_profile("outage")
        for target in DERIVED:
            until(lambda target=target: sidecar.ask("GET", target, headers).status != 503, 20, target)
        assert sidecar.ask("GET", "/hospitals/1", headers).json() == truth["/hospitals/1"].json()
        assert sidecar.ask("GET", "/patients/9999", headers).status == 404
        assert sidecar.ask("GET", "/notes?patient_id=77777", headers).json() == []
        assert {note["patient_id"] for note in sidecar.ask("GET", "/notes?patient_id=3", headers).json()} == {3}


def test_what_is_not_proven_is_an_honest_503_that_says_what_is_missing(hosp: Simulator, tmp_path: Path) -> None:
    user, password = list(hosp.users)[0]
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Accept": "application/json"}
    with Sidecar(hosp.url, tmp_path / "data", evidence=None) as sidecar:
        listed = sidecar.ask("GET", "/notes", headers)
        until(lambda: sidecar.plane("GET", "/standby").json()["resources"]["notes"]["complete"], what="notes known")
        assert sidecar.plane("GET", "/ready/notes.read").status != 200
        hosp.set_profile("outage")
        until(lambda: sidecar.ask("GET", "/notes", headers).status == 200, 20, "the caller is known to both workers")
        again = sidecar.ask("GET", "/notes", headers)
        assert (again.status, again.body) == (200, listed.body)  # a literal repeat
        for target in DERIVED[3:]:
            got = sidecar.ask("GET", target, headers)
            assert (got.status, got.json()["reason"], bool(got["Retry-After"])) == (503, "unproven", True), target
            assert got.json()["missing"]
