"""The canary steps forward on figures that are good, and back by itself on any that are worse, or missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from compose.hosp.server import Simulator
from sidecar.canary import PATIENCE, Look, Verdict, judge, walk
from tests.stack import Sidecar, ask, until
from tests.upstream import basic

GOOD = Look(True, 1.0, 0)
BLIND = Look(True, None, None)


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (GOOD, GOOD, Verdict.FORWARD),
        (GOOD, Look(False, 1.0, 0), Verdict.BACK),
        (GOOD, Look(True, 0.98, 5), Verdict.BACK),
        (GOOD, Look(True, 0.995, 2), Verdict.BACK),
        (Look(True, 0.995, 2), Look(True, 0.996, 2), Verdict.FORWARD),
        (GOOD, BLIND, Verdict.UNKNOWN),
        (BLIND, GOOD, Verdict.UNKNOWN),
    ],
)
def test_judgement(before: Look, after: Look, verdict: Verdict) -> None:
    assert judge(before, after)[0] is verdict


def walked(looks: Iterator[Look | Exception]) -> tuple[list[float], bool | None]:
    routed: list[float] = []

    def see() -> Look:
        found = next(looks)
        if isinstance(found, Exception):
            raise found
        return found

    try:
        return routed, walk([1, 25, 100], see, lambda percent, _: routed.append(percent), lambda: None)
    except OSError:
        return routed, None


def test_goes_through_all_steps_when_all_is_well() -> None:
    assert walked(iter([GOOD] * 6)) == ([1, 25, 100], True)


def test_goes_back_when_parity_worsens() -> None:
    assert walked(iter([GOOD, GOOD, GOOD, Look(True, 0.9, 9)])) == ([1, 25, 0], False)


def test_goes_back_when_nothing_can_be_judged() -> None:
    assert walked(iter([GOOD] + [BLIND] * PATIENCE)) == ([1, 0], False)


def test_goes_back_when_the_control_plane_breaks_off() -> None:
    assert walked(iter([GOOD, OSError()])) == ([1, 0], None)


def test_the_command_steps_forward_on_a_healthy_hosp_and_back_on_differences(tmp_path: Path) -> None:
    with (
        Simulator("calm") as hosp,
        Sidecar(hosp.url, tmp_path / "data", parity_sample="1", backfill_rate="500",
                backfill_credentials=":".join(hosp.users[0])) as sidecar,
    ):  # fmt: skip
        blind = sidecar.cli("route", "hospitals.list", "--canary", "1,100", "--every", "100ms")
        assert blind.returncode == 1
        assert "1%: " in blind.stdout
        assert percent(sidecar) == 0
        assert sidecar.cli("backfill").returncode == 0
        headers = {"Authorization": basic(*hosp.users[0])}
        until(lambda: sidecar.ask("GET", "/hospitals", headers).status == 200 and compared(sidecar), 20, "parity")
        walked = sidecar.cli("route", "hospitals.list", "--canary", "1,25,100", "--every", "100ms")
        assert walked.returncode == 0, walked.stdout + walked.stderr
        assert percent(sidecar) == 100
        assert sidecar.cli("route", "hospitals.list", "--to", "25%").returncode == 0
        assert percent(sidecar) == 25
        assert sidecar.cli("route", "hospitals.list", "--to", "0").returncode == 0
        assert ask(hosp.port, "POST", "/hospitals", headers, {"name": "past the sidecar"}).status < 300
        until(lambda: sidecar.ask("GET", "/hospitals", headers).status == 200 and not compared(sidecar), 20, "a miss")
        worse = sidecar.cli("route", "hospitals.list", "--canary", "1,25,100", "--every", "100ms")
        assert worse.returncode == 1
        assert "1%: back" in worse.stdout
        assert percent(sidecar) == 0


def percent(sidecar: Sidecar) -> float:
    rows = sidecar.plane("GET", "/endpoints").json()
    return float(next(row["percent"] for row in rows if row["id"] == "hospitals.list"))


def compared(sidecar: Sidecar) -> bool:
    return bool(sidecar.plane("GET", "/parity").json()["endpoints"]["hospitals.list"]["ratio"] == 1)
