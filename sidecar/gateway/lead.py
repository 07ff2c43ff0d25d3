# pure
"""How long the standby's answers take: an answer that is to be there by a deadline is begun so much before it."""

from __future__ import annotations

from typing import Final

SLOW: Final = 0.02
"""Seconds from which it is worth while to begin before."""
FADES: Final = 0.9
"""What is left, at the next answer, of the longest time that one took."""


class Lead:
    """By endpoint. One per worker; on its loop."""

    def __init__(self, most: float) -> None:
        """`most`: seconds that are never exceeded."""
        self._most = most
        self._took: dict[str, float] = {}

    def took(self, endpoint: str, seconds: float) -> None:
        """An answer for the endpoint has taken so long."""
        self._took[endpoint] = max(seconds, self._took.get(endpoint, 0.0) * FADES)

    def of(self, endpoint: str) -> float:
        """Seconds before it is due that the next one is to be begun."""
        took = self._took.get(endpoint, 0.0)
        return min(took, self._most) if took > SLOW else 0.0
