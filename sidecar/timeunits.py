# pure
"""Units of time in nanoseconds, and the one way in which times are written: ISO 8601 (RFC 3339) in UTC."""

from __future__ import annotations

import re
import time
from datetime import datetime
from functools import lru_cache
from typing import Final

MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
_UNITS: Final = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


def to_rfc3339(at: int) -> str:
    """Nanoseconds since the epoch → ISO 8601 in UTC with all nine digits."""
    second, rest = divmod(at, SECOND)
    return f"{_whole_second(second)}.{rest:09d}Z"


def parse_rfc3339(text: str) -> int:
    """ISO 8601 with a zone → nanoseconds since the epoch. Raises ValueError."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"an ISO 8601 time with a zone; found {text!r}")
    second, fraction, zone = found.groups()
    return _epoch(second, zone) * SECOND + int((fraction or "").ljust(9, "0"))


def spelled(seconds: int) -> str:
    """3,725 → 1 h 2 min 5 s; only what is not 0."""
    parts, rest = [], seconds
    for name, size in _UNITS:
        count, rest = divmod(rest, size)
        parts += [f"{count} {name}"] if count else []
    return " ".join(parts) or "0 s"


@lru_cache(maxsize=64)
def _epoch(second: str, zone: str) -> int:
    return int(datetime.fromisoformat(second + ("+00:00" if zone == "Z" else zone)).timestamp())


@lru_cache(maxsize=64)
def _whole_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
