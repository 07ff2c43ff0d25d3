"""Break-glass: opened, ended, over by itself; each with its line in the trail, and nothing without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from sidecar.access.break_glass import BreakGlass, Grant
from sidecar.settings import Settings
from sidecar.storage.database import open_engine
from sidecar.timeunits import HOUR
from tests.support.tables import lay


class Clock:
    now = 1_800_000_000_000_000_000

    def __call__(self) -> int:
        return self.now


class Trail:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str, str]] = []
        self.full = False

    def __call__(self, action: str, grant: Grant, by: str, reason: str) -> None:
        if self.full:
            raise OSError("no space left on device")
        self.lines.append((action, grant.user, by, reason))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def trail() -> Trail:
    return Trail()


def test_it_holds_for_its_hours_and_for_its_person_alone(engine: Engine, clock: Clock, trail: Trail) -> None:
    glass, other = BreakGlass(engine, clock), BreakGlass(engine, clock)
    made = glass.begin("Nurse Tan", 2, "Ms Pell", "night without a doctor", trail)
    assert (glass.under("Nurse Tan"), glass.under("Nurse Abara"), glass.under(None)) == (made.id, None, None)
    assert other.under("Nurse Tan") is None
    other.refresh()
    assert other.under("Nurse Tan") == made.id
    clock.now += 2 * HOUR
    assert (glass.under("Nurse Tan"), other.under("Nurse Tan")) == (None, None)
    other.end_expired(trail)
    glass.end_expired(trail)
    assert trail.lines == [
        ("break_glass", "Nurse Tan", "Ms Pell", "night without a doctor"),
        ("break_glass_end", "Nurse Tan", "understudy", "its time was over"),
    ]
    assert [(each["open"], each["ended"]) for each in glass.told()] == [(False, made.until)]


def test_it_ends_early_once(engine: Engine, clock: Clock, trail: Trail) -> None:
    glass = BreakGlass(engine, clock)
    made = glass.begin("Nurse Tan", 2, "Ms Pell", "night", trail)
    clock.now += HOUR
    glass.end(made.id, "Ms Pell", "the doctor is here", trail)
    assert glass.under("Nurse Tan") is None
    with pytest.raises(LookupError):
        glass.end(made.id, "Ms Pell", "", trail)
    clock.now += 5 * HOUR
    glass.end_expired(trail)
    assert [line[0] for line in trail.lines] == ["break_glass", "break_glass_end"]


def test_what_cannot_be_written_down_is_not_opened_and_its_end_is_tried_again(
    engine: Engine, clock: Clock, trail: Trail
) -> None:
    glass = BreakGlass(engine, clock)
    trail.full = True
    with pytest.raises(OSError, match="no space"):
        glass.begin("Nurse Tan", 2, "Ms Pell", "night", trail)
    assert (glass.told(), glass.under("Nurse Tan")) == ([], None)
    trail.full = False
    glass.begin("Nurse Tan", 2, "Ms Pell", "night", trail)
    clock.now += 3 * HOUR
    trail.full = True
    with pytest.raises(OSError, match="no space"):
        glass.end_expired(trail)
    trail.full = False
    glass.end_expired(trail)
    assert [line[0] for line in trail.lines] == ["break_glass", "break_glass_end"]


@pytest.mark.parametrize("hours", [0, -1, 73, float("nan")])
def test_hours_that_cannot_be_are_refused(engine: Engine, clock: Clock, trail: Trail, hours: float) -> None:
    with pytest.raises(ValueError, match="hours: expected"):
        BreakGlass(engine, clock).begin("Nurse Tan", hours, "Ms Pell", "night", trail)
    assert trail.lines == []


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(Settings(data=tmp_path))
    lay(engine)
    yield engine
    engine.dispose()
