"""The canary steps forward on figures that are good, and back by itself on any that are worse, or missing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sidecar.canary import PATIENCE, Look, Verdict, judge, walk

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
