"""How old an entry is: exactly while the machine stays up, and never older than some clock says after that."""

from __future__ import annotations

import time
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from sidecar.clock import boot, stamp, uptime
from sidecar.standby.outbox import entries as box
from sidecar.timeunits import SECOND

HOUR = 3600 * SECOND


def accepted(ago: int, *, wall: int = 0, stamps: int = 0, booted: str | None = None) -> SimpleNamespace:
    """An entry of `ago` ns before now, written down by clocks that were off by `wall` and `stamps`."""
    return SimpleNamespace(
        accepted_at=time.time_ns() - ago + wall,
        accepted_stamp=stamp() - ago + stamps,
        accepted_boot=booted,
        accepted_uptime=None if booted is None else uptime() - ago,
    )


@given(ago=st.integers(0, 100 * HOUR), wall=st.integers(-100 * HOUR, 100 * HOUR), stamps=st.integers(-HOUR, 100 * HOUR))
def test_no_step_of_a_clock_changes_an_age_within_one_boot(ago: int, wall: int, stamps: int) -> None:
    entry = accepted(ago, wall=wall, stamps=stamps, booted=boot())
    assert 0 <= box.age(entry) - ago < HOUR


def test_of_another_boot_or_machine_the_least_that_a_clock_says_counts() -> None:
    for booted in (None, "another"):
        entry = accepted(HOUR, wall=-5 * HOUR, booted=booted)
        assert len(box.ages(entry)) == 2
        assert HOUR <= box.age(entry) < 2 * HOUR


def test_it_is_never_negative() -> None:
    assert box.age(accepted(0, wall=9 * HOUR)) == 0
