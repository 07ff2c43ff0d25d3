"""Evidence that a sidecar of a test begins with, as one that has stood beside its upstream for days would have it.

It is not made up: a whole gateway, beside the upstream that the test has, compares question by question what it would
have answered. A test whose upstream behaves otherwise than these two begins without, and proves what it asks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Engine, insert, select

from compose.hosp.server import Simulator
from sidecar.contract import Contract
from sidecar.http.messages import Response
from sidecar.settings import load_settings
from sidecar.standby.evidence import evidence
from sidecar.standby.seeking import questions
from sidecar.storage.database import create_all, open_engine
from sidecar.upstream.connection import Call
from tests.support import tables
from tests.support.gateway import FakeUpstream, InProcess
from tests.support.kept import kept
from tests.support.stack import ask
from tests.support.upstream import USERS, basic

UPSTREAM, SIMULATOR = "tests.support.upstream", "compose.hosp"
"""Whose behaviour it is evidence of."""
ROUNDS = 12
"""More than enough: each asks what tells apart what still can be told apart."""
IDS = range(11, 17)
"""Records that every caller reads, and that are changed."""
Fields = dict[str, str]


def lay(environ: Mapping[str, str], of: str) -> None:
    """Before the first start of a sidecar with these variables: its database, with the evidence."""
    settings = load_settings(environ)
    if settings.contract != "hosp":
        return
    if not settings.database and (settings.data / "understudy.db").exists():
        return
    rows, engine = learned(of), open_engine(settings)
    if not settings.database:
        tables.lay(engine)
    create_all(engine)
    with engine.begin() as connection:
        if connection.scalar(select(evidence.c.endpoint).limit(1)) is None:
            connection.execute(insert(evidence), rows)
    engine.dispose()


@cache
def learned(of: str) -> list[dict[str, Any]]:
    """The rows of the table of evidence, from `kept`: it takes a quarter of a minute."""
    rows: list[dict[str, Any]] = kept(f"evidence-{of}", lambda: _made(of))
    return rows


def _made(of: str) -> list[dict[str, Any]]:
    if of == UPSTREAM:
        return _learned(_filled(), [_fields(*user) for user in USERS.items()])
    with Simulator("calm") as simulator:
        return _learned(_Beside(simulator.port), [_fields(*user) for user in simulator.users[:3]])


def _fields(user: str, password: str) -> Fields:
    return {"Authorization": basic(user, password), "Accept": "application/json"}


def _filled() -> FakeUpstream:
    """With records enough to tell rivals apart: ids with room below and between, references of which some are null."""
    upstream = FakeUpstream()
    for number in (*range(11, 25), *range(27, 41)):
        about = None if number % 7 == 0 else 11 + number % 9
        upstream.state.patients[number] = {"id": number, "name": f"Rex {number}"}
        upstream.state.notes[number] = {
            "id": number,
            "title": f"t{number}",
            "patient_id": about,
            "staff_id": number % 3,
        }
        upstream.state.staffs[number] = {"id": number, "name": f"Dr {number}"}
    return upstream


class _Beside(FakeUpstream):
    """A server on a port of this machine."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def route(self, call: Call) -> Response:
        got = ask(self._port, call.method, call.target, dict(call.headers), call.body or None)
        return Response(got.status, got.headers, got.body)


def _learned(upstream: FakeUpstream, callers: Sequence[Fields]) -> list[dict[str, Any]]:
    with TemporaryDirectory() as made, InProcess(Path(made), upstream, parity_sample=1.0, deadline=5.0) as gateway:
        engine = open_engine(gateway.settings)
        kinds = ("patients", "notes", "staffs", "hospitals")
        _ask(gateway, callers, [f"/{kind}" for kind in kinds])
        _ask(gateway, callers, [f"/{kind}/{ident}" for kind in kinds[:3] for ident in IDS])
        _ask(gateway, callers[:1], [f"/{kind}{rest}.json" for kind in kinds[:3] for rest in ("", f"/{IDS[0]}")])
        _ask(gateway, callers[:1], [f"/notes?patient_id={patient}" for patient in (*range(1, 30), "11,12")])
        _settle(gateway, engine, callers)
        for kind, field in (("patients", "name"), ("notes", "title"), ("staffs", "name")):
            for ident in IDS:
                made_ = gateway.ask("POST", f"/{kind}", callers[0], {field: f"new {ident}"}).json().get("id")
                gateway.ask("PATCH", f"/{kind}/{ident}", callers[0], {field: f"changed {ident}"})
                gateway.learned()
                _ask(gateway, callers[:1], [f"/{each}" for each in kinds])
                gateway.ask("DELETE", f"/{kind}/{ident + 16}", callers[0])
                _ask(gateway, callers[:1], [f"/{kind}/{each}" for each in (made_, ident, ident + 16)])
                _ask(gateway, callers[:1], [f"/{kind}"])
        _settle(gateway, engine, callers)
        with engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(select(evidence)).mappings()]
        engine.dispose()
        return rows


def _ask(gateway: InProcess, callers: Iterable[Fields], targets: Iterable[str]) -> None:
    for caller in callers:
        for target in targets:
            gateway.ask("GET", target, caller)
            gateway.learned()


def _settle(gateway: InProcess, engine: Engine, callers: Sequence[Fields]) -> None:
    """Asks what backfill would ask, by callers in turn."""
    contract = Contract.load("hosp")
    for number in range(ROUNDS):
        gateway.learned()
        with engine.connect() as connection:
            targets = questions(connection, contract, gateway.settings.proof)
        _ask(gateway, [callers[number % len(callers)]], targets)
