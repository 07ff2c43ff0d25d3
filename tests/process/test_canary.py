"""The canary steps forward on figures that are good, and back by itself on any that are worse, or missing."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from compose.hosp.server import Simulator
from sidecar.takeover.canary import LOOKS, PATIENCE, Look, Served, Verdict, judge, walk
from tests.support.stack import Sidecar, ask, until
from tests.support.upstream import basic

WELL = Served(100, 0)
GOOD = Look(True, 1.0, 0, WELL)
BLIND = Look(True, None, None, WELL)
FAILING = Look(True, 1.0, 0, Served(95, 5))


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (GOOD, GOOD, Verdict.FORWARD),
        (GOOD, Look(False, 1.0, 0, WELL), Verdict.BACK),
        (GOOD, Look(True, 0.98, 5, WELL), Verdict.BACK),
        (GOOD, Look(True, 0.995, 2, WELL), Verdict.BACK),
        (Look(True, 0.995, 2, WELL), Look(True, 0.996, 2, WELL), Verdict.FORWARD),
        (GOOD, BLIND, Verdict.UNKNOWN),
        (BLIND, GOOD, Verdict.UNKNOWN),
        (GOOD, FAILING, Verdict.BACK),
        (BLIND, Look(True, None, None, Served(95, 5)), Verdict.BACK),
        (Look(True, 1.0, 0, None), FAILING, Verdict.BACK),  # what it was before is unknown: no excuse
        (FAILING, FAILING, Verdict.FORWARD),  # bad, but not for the canary
        (FAILING, Look(True, 1.0, 0, Served(94, 6)), Verdict.BACK),
        (GOOD, Look(True, 1.0, 0, Served(8, 2)), Verdict.FORWARD),  # two failures say nothing
        (GOOD, Look(True, 1.0, 0, Served(997, 3)), Verdict.FORWARD),  # within the budget
        (GOOD, Look(True, 1.0, 0, Served(0, 0)), Verdict.UNKNOWN),
        (GOOD, Look(True, 1.0, 0, None), Verdict.UNKNOWN),
    ],
)
def test_judgement(before: Look, after: Look, verdict: Verdict) -> None:
    assert judge(before, after)[0] is verdict


def test_a_burn_rate_is_exact() -> None:
    assert Served(95, 5).burn() == 5
    assert Served(0, 0).burn() is None


def walked(looks: Iterator[Look | Exception]) -> tuple[list[float], bool | None]:
    routed: list[float] = []

    def see(_: float) -> Look:
        found = next(looks)
        if isinstance(found, Exception):
            raise found
        return found

    try:
        return routed, walk([1, 25, 100], 1.0, see, lambda percent, _: routed.append(percent), lambda _: None)
    except OSError:
        return routed, None


def test_goes_through_all_steps_when_all_is_well() -> None:
    assert walked(iter([GOOD] * 3 * (1 + LOOKS))) == ([1, 25, 100], True)


def test_what_does_worse_does_not_stand_until_the_steps_end() -> None:
    for worse in (Look(True, 0.9, 9, WELL), FAILING):
        assert walked(iter([GOOD] * (LOOKS + 2) + [GOOD, worse])) == ([1, 25, 0], False)


def test_goes_back_when_nothing_can_be_judged() -> None:
    assert walked(iter([GOOD] + [BLIND] * PATIENCE * LOOKS)) == ([1, 0], False)


def test_goes_back_when_the_control_plane_breaks_off() -> None:
    assert walked(iter([GOOD, OSError()])) == ([1, 0], None)


class Staff:
    """People who ask for the hospitals without a pause, through the sidecar."""

    def __init__(self, sidecar: Sidecar, users: list[tuple[str, str]]) -> None:
        self.users = users
        self._sidecar, self._stop = sidecar, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for number in itertools.count():
            if self._stop.wait(0.02):
                return
            user = self.users[number % len(self.users)]
            self._sidecar.ask("GET", "/hospitals", {"Authorization": basic(*user)})

    def __enter__(self) -> Staff:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(40)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_command_steps_forward_on_a_healthy_hosp_and_back_on_a_bad_one(tmp_path: Path) -> None:
    with (
        Simulator("calm") as hosp,
        Sidecar(hosp.url, tmp_path / "data", parity_sample="1", backfill_rate="500",
                backfill_credentials=":".join(hosp.users[0]), evidence="compose.hosp") as sidecar,
    ):  # fmt: skip
        assert sidecar.cli("backfill").returncode == 0
        with Staff(sidecar, hosp.users[:3]) as staff:
            until(lambda: compared(sidecar), 20, "parity")
            walked = sidecar.cli("route", "hospitals.list", "--canary", "1,25,100", "--every", "2s")
            assert walked.returncode == 0, walked.stdout + walked.stderr
            assert [line.split(":")[1] for line in walked.stdout.splitlines()] == [" 1%", " 25%", " 100%"]
            assert percent(sidecar) == 100
            assert sidecar.cli("route", "hospitals.list", "--to", "25%").returncode == 0
            assert percent(sidecar) == 25
            assert sidecar.cli("route", "hospitals.list", "--to", "0").returncode == 0

            words = ("route", "hospitals.list", "--canary", "1,25,100", "--every", "3s")
            with ThreadPoolExecutor() as pool:
                burning = pool.submit(sidecar.cli, *words)
                until(lambda: percent(sidecar) == 25, 30, "the second step")
                staff.users = hosp.users[:2] + hosp.users[20:]  # most of them have never signed in here
                hosp.set_profile("outage")
                bad = burning.result()
            assert bad.returncode == 1
            assert "back, the burn rate is" in bad.stdout
            assert percent(sidecar) == 0


def test_the_command_steps_back_on_differences(tmp_path: Path) -> None:
    with (
        Simulator("calm") as hosp,
        Sidecar(hosp.url, tmp_path / "data", parity_sample="1", backfill_rate="500",
                backfill_credentials=":".join(hosp.users[0]), evidence="compose.hosp") as sidecar,
    ):  # fmt: skip
        assert sidecar.cli("backfill").returncode == 0
        headers = {"Authorization": basic(*hosp.users[0])}
        until(lambda: sidecar.ask("GET", "/hospitals", headers).status == 200 and compared(sidecar), 20, "parity")
        assert ask(hosp.port, "POST", "/hospitals", headers, {"name": "past the sidecar"}).status < 300
        until(lambda: sidecar.ask("GET", "/hospitals", headers).status == 200 and not compared(sidecar), 20, "a miss")
        worse = sidecar.cli("route", "hospitals.list", "--canary", "1,25,100", "--every", "1s")
        assert worse.returncode == 1
        assert "1%: back, parity" in worse.stdout
        assert percent(sidecar) == 0


def percent(sidecar: Sidecar) -> float:
    rows = sidecar.plane("GET", "/endpoints").json()
    return float(next(row["percent"] for row in rows if row["id"] == "hospitals.list"))


def compared(sidecar: Sidecar) -> bool:
    return bool(sidecar.plane("GET", "/parity").json()["endpoints"]["hospitals.list"]["ratio"] == 1)
