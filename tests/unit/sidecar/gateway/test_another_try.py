"""What failed at the database is tried again where that can go well in time, and nowhere else."""

from __future__ import annotations

import asyncio
import time
from typing import cast

import pytest

from sidecar.gateway.another_try import PAUSE, another_try, is_worth_it
from sidecar.standby.standby import Standby


class Database:
    def __init__(self, may_be_back: bool) -> None:
        self._may_be_back = may_be_back

    def may_be_back(self) -> bool:
        return self._may_be_back


@pytest.mark.parametrize(
    ("may_be_back", "took", "left", "worth_it"),
    [(True, 0.0, 1.0, True), (False, 0.0, 1.0, False), (True, 0.0, -1.0, False), (True, 2.0, 1.0, False)],
    ids=["in time", "it is away", "too late", "the last took longer than is left"],
)
def test_another_try_is_worth_it(may_be_back: bool, took: float, left: float, worth_it: bool) -> None:
    standby, now = cast("Standby", Database(may_be_back)), time.monotonic()
    assert is_worth_it(standby, now - took, now + left) is worth_it
    assert asyncio.run(another_try(standby, now - took, now + left)) is worth_it
    assert not worth_it or time.monotonic() - now >= PAUSE
