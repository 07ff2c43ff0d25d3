"""A copied write that is withdrawn leaves its record as it was known before: no better, where that was unverified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from sidecar import app
from sidecar.contract import Contract
from sidecar.http.messages import Request
from sidecar.standby.tables import DOUBT, KNOWN, records
from tests.support.gateway import InProcess
from tests.support.upstream import HOLT

HOSP = Contract.load("hosp")


@pytest.mark.parametrize("gap", ["none", "before the copy", "after the copy"])
def test_a_withdrawn_copy_verifies_nothing(tmp_path: Path, gap: str) -> None:
    with InProcess(tmp_path) as gateway:
        gateway.upstream.state.notes[1] = {"id": 1, "title": "Limps", "body": "left"}
        gateway.ask("GET", "/notes", HOLT)
        gateway.knows("/notes/1", HOLT)
        (worker,) = app._running

        def known() -> Any:
            with worker.engine.connect() as connection:
                return connection.execute(select(records.c.state, records.c.stamp, records.c.body)).one()

        def passed_by() -> None:
            worker.standby.mark_gap("somebody may have passed by")

        before = known()
        assert before.state == KNOWN
        if gap == "before the copy":
            passed_by()
        match, request = HOSP.match("PATCH", "/notes/1"), Request("PATCH", "/notes/1", [], b'{"body": "right"}')
        worker.standby.passed("key", match, request, "Dr Holt")
        assert known().state == DOUBT, "it may be under way"
        if gap == "after the copy":
            passed_by()
        worker.standby.withdrawn("key")
        assert known() == before
        assert gap == "none" or gateway.down("/notes/1", HOLT).status == 503
