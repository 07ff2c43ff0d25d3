"""How a play is judged: what receivers were told, held against what people are owed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.alerts.heard import BURN, Heard
from tests.alerts.shelves import Shelf
from tests.alerts.world import World

SOON: Final = 60
"""Seconds within which people must know that users fail."""
OVER: Final = 1800 + 300 + 30
"""Seconds within which an end is told: the longest short window of a page, ALERT_KEEP, and half a minute."""
Stage = Callable[[Path], Shelf]


@dataclass
class Cell:
    """What became of one play: what is printed, and what is wrong."""

    said: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def demand(self, holds: bool, wrong: str) -> None:
        if not holds:
            self.wrong.append(wrong)

    def __str__(self) -> str:
        return "; ".join([*self.said, *(f"**{each}**" for each in self.wrong)])


def embedded(folder: Path) -> Shelf:
    return Shelf.embedded(folder)


@contextmanager
def deployment(stage: Stage, **given: Any) -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="breakage-") as name:
        folder = Path(name)
        with World(folder, stage(folder), **given) as world:
            yield world


def pages(world: World) -> list[Heard]:
    """That users fail."""
    return [said for said in world.heard if (said.kind, said.alert) == ("page", BURN)]


def paged(world: World) -> set[str]:
    return {said.channel for said in pages(world)}


def ended(world: World) -> set[str]:
    return {said.channel for said in world.heard if (said.kind, said.alert, said.severity) == ("end", BURN, "page")}
