# pure
"""What a setting's text means: each function takes what a person wrote and returns the value.

Raises ValueError with what was expected, as it follows "expected".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sidecar.settings.networks import Networks


def text(value: str) -> str:
    return value


def url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("an http:// or https:// URL")
    if parts.username is not None:
        raise ValueError("a URL without credentials (they have settings of their own)")
    return value.rstrip("/")


_HOST_FIELD: Final = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")


def host_field(value: str) -> str:
    """`keep`, `upstream`, or what a Host field may hold: a name or an address, with a port or without."""
    if not _HOST_FIELD.fullmatch(value):
        raise ValueError("keep, upstream, or a host with a port or without")
    return value


def urls(value: str) -> tuple[str, ...]:
    """Comma-separated URLs, at least one."""
    found = tuple(url(word) for word in names(value))
    if not found:
        raise ValueError("http:// or https:// URLs, comma-separated")
    return found


def address(value: str) -> tuple[str, int]:
    """`host:port` → (host, port)."""
    host, colon, port = value.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError("host:port")
    return host.strip("[]") or "127.0.0.1", int(port)


_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def duration(value: str) -> float:
    """`250ms`, `2.5s`, `15m`, `4h`, `30d`, or a bare number of seconds → seconds."""
    for unit in ("ms", "s", "m", "h", "d", "w"):
        if value.endswith(unit):
            number, factor = value.removesuffix(unit), _SECONDS[unit]
            break
    else:
        number, factor = value, 1.0
    try:
        seconds = float(number) * factor
    except ValueError:
        raise ValueError("a duration such as 250ms, 2.5s, 15m, 4h or 30d") from None
    if not 0 <= seconds < 1e9:
        raise ValueError("a duration of zero or more")
    return seconds


@dataclass(frozen=True)
class Quiet:
    """For how many seconds nobody may ask anything, and between which minutes of the day that counts (start, end; the
    end may lie on the next day). None: by day and night."""

    seconds: int
    hours: tuple[int, int] | None = None


def quiet(value: str) -> Quiet | None:
    """`off`, `1h`, `1h 07:00-19:00` → None, or for how long and when."""
    expected = "off, or a duration of a second or more, with hours or without: 1h, 1h 07:00-19:00"
    if value == "off":
        return None
    words = value.split()
    try:
        seconds = int(duration(words[0]))
        hours = None if len(words) == 1 else tuple(map(_minutes, words[1].split("-")))
    except (ValueError, IndexError):
        raise ValueError(expected) from None
    if seconds < 1 or len(words) > 2 or (hours is not None and (len(hours) != 2 or hours[0] == hours[1])):
        raise ValueError(expected)
    return Quiet(seconds, None if hours is None else (hours[0], hours[1]))


def _minutes(clock: str) -> int:
    """`07:30` → 450; `24:00` is the day's end."""
    hour, _, minute = clock.partition(":")
    if len(minute) != 2 or not 0 <= int(minute) < 60 or not 0 <= int(hour) * 60 + int(minute) <= 1440:
        raise ValueError(clock)
    return int(hour) * 60 + int(minute)


_BYTES: Final = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def size(value: str) -> int:
    """`64KiB`, `32MiB`, or a bare number of bytes → bytes."""
    unit = value[-3:]
    number = value[:-3] if unit in _BYTES else value
    if not number.strip().isdecimal():
        raise ValueError("a size such as 65536, 64KiB or 32MiB")
    return int(number) * _BYTES.get(unit, 1)


def count(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise ValueError("a whole number from 1")
    return int(value)


def ratio(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        raise ValueError("a number from 0 to 1") from None
    if not 0 <= number <= 1:
        raise ValueError("a number from 0 to 1")
    return number


def one_of(*words: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in words:
            raise ValueError(" or ".join(words))
        return value

    parse.__name__ = " \\| ".join(words)
    return parse


def names(value: str) -> tuple[str, ...]:
    """Comma-separated words."""
    return tuple(word.strip() for word in value.split(",") if word.strip())


def networks(value: str) -> Networks:
    """Comma-separated addresses or networks in CIDR form."""
    try:
        return tuple(ip_network(word) for word in names(value))
    except ValueError as error:
        raise ValueError(f"addresses or networks such as 10.0.0.0/8 ({error})") from None


def header_pairs(value: str) -> tuple[tuple[str, str], ...]:
    """Comma-separated `Name: value` pairs."""
    pairs = []
    for word in names(value):
        name, colon, content = word.partition(":")
        if not colon or not name.strip():
            raise ValueError("Name: value, comma-separated")
        pairs.append((name.strip().lower(), content.strip()))
    return tuple(pairs)


def credentials(value: str) -> tuple[str, str]:
    """`user:password` → (user, password). The message never repeats the value."""
    user, colon, password = value.partition(":")
    if not colon or not user:
        raise ValueError("user:password")
    return user, password


def index_prefix(value: str) -> str:
    """What names of indices may begin with, and what no pattern of another prefix's indices matches."""
    fits = re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,79}", value)
    if not fits or "exchanges" in value or "bodies" in value:
        raise ValueError("lower-case letters, digits, - and _, without the words exchanges and bodies")
    return value


def time_zone(value: str) -> str:
    """The name of a zone that this machine knows."""
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("a time zone such as UTC or Europe/London") from None
    return value


def role_pairs(value: str) -> tuple[tuple[str, str], ...]:
    """`group=role` pairs, comma-separated; a role is disclosure, auditor, operator or admin."""
    pairs = []
    for word in names(value):
        group, equals, role = word.rpartition("=")
        if not equals or not group or role not in ("disclosure", "auditor", "operator", "admin"):
            raise ValueError("value=role pairs, role being disclosure, auditor, operator or admin")
        pairs.append((group, role))
    return tuple(pairs)
