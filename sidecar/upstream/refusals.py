"""Whether the upstream refuses every connection. While its host does, nobody can have changed anything there."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

PATIENCE: Final = 0.2
"""Seconds for a connection."""
APART: Final = 1.0
"""Seconds between two looks, at the most, for the upstream to have refused everybody from the one to the other: no
server is started, asked and ended within them."""


class Refusals:
    """What looks at the upstream found; a look is one connection that nothing is sent on. Only a refusal by its own
    host counts: one that cannot be reached from here, or whose name is not found, may be reached by others."""

    def __init__(self, upstream: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`upstream`: its URL."""
        parts = urlsplit(upstream)
        self._host, self._port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        self._clock = clock
        self._seen: tuple[float, float] | None = None
        """Of the looks that all were refused, none missing, when the first and the last began."""

    def look(self) -> None:
        now = self._clock()
        if not self._is_refused():
            self._seen = None
        elif self._seen is not None and now - self._seen[1] <= APART:
            self._seen = self._seen[0], now
        else:
            self._seen = now, now

    def last_since(self, at: float) -> bool:
        """Whether everybody was refused from `at` (of the clock) until now."""
        return self._seen is not None and self._seen[0] <= at and self._clock() - self._seen[1] <= APART

    def _is_refused(self) -> bool:
        """At every address that its name has."""
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return False
        return bool(found) and all(_refuses(family, address) for family, _, _, _, address in found)


def _refuses(family: int, address: tuple[object, ...]) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as asked:
            asked.settimeout(PATIENCE)
            asked.connect(address)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False
