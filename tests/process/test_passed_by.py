"""What passed us by while we were away is under way still as we come back: what is seen until it must be over is not
believed."""

from __future__ import annotations

import time
from pathlib import Path

from sidecar.standby.absence import TURN
from tests.support.stack import Sidecar, ask, until
from tests.support.upstream import HOLT, Upstream

TIMES = {"upstream_timeout": "2s", "late_effect": "1s", "deadline": "700ms"}
UNDER_WAY = TURN + 3
"""Seconds for which, with these, a write may be: until the balancer turns back to us, and the upstream is done."""


def test_a_write_that_is_under_way_at_the_upstream_as_we_come_back_is_not_undone_by_what_we_saw_before_it(
    tmp_path: Path,
) -> None:
    with (
        Upstream() as upstream,
        Sidecar(upstream.url, tmp_path / "data", workers="1", bypass_after="0s", **TIMES) as sidecar,
    ):
        upstream.state.patients[17] = {"id": 17, "name": "Rex"}

        def name() -> tuple[int, str | None]:
            got = sidecar.ask("GET", "/patients/17", HOLT)
            return got.status, got.json().get("name")

        def is_ready() -> bool:
            for path in ("/patients", "/staffs/me"):
                assert sidecar.ask("GET", path, HOLT).status == 200
            return name()[0] == sidecar.plane("GET", "/ready/patients.read").status == 200

        until(is_ready, what="known")
        sidecar.stop()
        sidecar.start()
        assert [sidecar.ask("GET", path, HOLT).status for path in ("/patients", "/staffs/me")] == [200, 200]
        assert name() == (200, "Rex")
        time.sleep(0.5)  # and is learned
        fields = {**HOLT, "Content-Type": "application/json"}
        assert ask(upstream.port, "PATCH", "/patients/17", fields, {"name": "Max"}).status == 200
        upstream.fault("500", "/patients/17", times=20)
        assert name()[0] == 503, "it was Rex when it was seen; that is no more than a guess"
        upstream.heal()
        until(is_ready, UNDER_WAY + 5, "known again")
        upstream.fault("500", "/patients/17", times=20)
        assert name() == (200, "Max")
