"""The sidecar under the system call filter of its shipped unit: all of it works, background work too."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import seccomp
from tests.support.stack import Sidecar, ask, until
from tests.support.upstream import Upstream

UNIT = Path(__file__).parents[2] / "compose" / "systemd" / "understudy-sidecar.service"
pytestmark = pytest.mark.skipif(not seccomp.available(), reason="needs libseccomp2 and systemd-analyze")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


def test_background_work_lives_under_the_unit_s_filter(tmp_path: Path, upstream: Upstream) -> None:
    within = [sys.executable, "-m", "tests.support.seccomp", str(UNIT)]
    side = Sidecar(upstream.url, tmp_path / "data", within=within)
    try:
        ask(side.port, "GET", "/hospitals", {"Authorization": "Basic YTpi"})
        shipped = tmp_path / "data" / "shipper.json"
        until(lambda: shipped.exists() and json.loads(shipped.read_text())["shipped"] >= 1, 15, side.log.read_text())
        until(lambda: ask(side.control, "GET", "/readyz?full").status == 200, 15, side.log.read_text())
        assert "understudy_background_up 1.0" in ask(side.control, "GET", "/metrics").body.decode()
        assert "ended and is started again" not in side.log.read_text()
        side.process.send_signal(signal.SIGHUP)
        until(lambda: '"reload"' in side.log.read_text(), 15)
        until(side.healthy, 15)
    finally:
        side.stop()
