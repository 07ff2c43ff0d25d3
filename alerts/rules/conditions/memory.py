"""What metrics were before: for how much a counter rose, and how low a gauge was. Pure; the caller has the clock."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

from alerts.rules.conditions.metrics import Labels, Metrics


class Memory:
    """Keeps what was seen for `reach` seconds. After a restart it knows nothing, and says so."""

    def __init__(self, reach: int) -> None:
        self._reach = reach
        self._seen: deque[tuple[int, Metrics]] = deque()

    def add(self, now: int, metrics: Metrics) -> None:
        """`now` in Unix seconds. A clock that was set back begins anew."""
        if self._seen and now < self._seen[-1][0]:
            self._seen.clear()
        self._seen.append((now, metrics))
        while len(self._seen) > 1 and self._seen[1][0] <= now - self._reach:
            self._seen.popleft()

    def increases(self, metric: str, window: int, now: int) -> tuple[dict[Labels, float], bool]:
        """How much each counter rose in the last `window` seconds, and whether it was watched for so long.

        A counter that fell began again at 0 (its process did); one that appears began at 0.
        """
        looks = self._within(window, now)
        risen: dict[Labels, float] = {}
        for before, after in pairwise(looks):
            earlier = before.get(metric, {})
            for labels, value in after.get(metric, {}).items():
                was = earlier.get(labels, 0.0)
                risen[labels] = risen.get(labels, 0.0) + (value - was if value >= was else value)
        return risen, bool(self._seen) and self._seen[0][0] <= now - window

    def least(self, metric: str, window: int, now: int) -> dict[Labels, float]:
        """The least value of each gauge in the last `window` seconds, as far as it was watched."""
        least: dict[Labels, float] = {}
        for look in self._within(window, now):
            for labels, value in look.get(metric, {}).items():
                least[labels] = min(value, least.get(labels, value))
        return least

    def _within(self, window: int, now: int) -> list[Metrics]:
        """From the last look before the window on: what happened between two looks is not lost."""
        start = max((at for at, _ in self._seen if at <= now - window), default=0)
        return [metrics for at, metrics in self._seen if at >= start]
