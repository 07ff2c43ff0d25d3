"""Times as people read and write them: always with their zone, always the same way. Pure."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sidecar.timeunits import DAY, HOUR, MINUTE, SECOND


def local(at: int, zone: ZoneInfo) -> datetime:
    """Nanoseconds since the epoch → the local time, to the microsecond."""
    return datetime.fromtimestamp(at // SECOND, zone) + timedelta(microseconds=at % SECOND // 1000)


def day_and_time(at: int, zone: ZoneInfo) -> str:
    """Mon 24 Nov 2026, 07:35:31"""
    return f"{day(at, zone)}, {clock(at, zone)}"


def day(at: int, zone: ZoneInfo) -> str:
    """Mon 24 Nov 2026: the day it was there."""
    return f"{local(at, zone):%a %-d %b %Y}"


def long_day(at: int, zone: ZoneInfo) -> str:
    """Tuesday 24 November 2026"""
    return f"{local(at, zone):%A %-d %B %Y}"


def day_of_year(day: date) -> str:
    """24 Nov: where the year is plain."""
    return f"{day:%-d %b}"


def clock(at: int, zone: ZoneInfo) -> str:
    """07:35:31"""
    return f"{local(at, zone):%H:%M:%S}"


def stamp(at: int, zone: ZoneInfo) -> str:
    """Mon 24 Nov 2026, 07:35:31 GMT (UTC+00:00): a time that says of itself where it holds."""
    return f"{day_and_time(at, zone)} {zone_name(at, zone)}"


def field_value(at: int, zone: ZoneInfo) -> str:
    """2026-11-24T07:35:31: what a browser's field of date and time holds."""
    return f"{local(at, zone):%Y-%m-%dT%H:%M:%S}"


def zone_name(at: int, zone: ZoneInfo) -> str:
    """How the zone is called at that time, with its offset: `UTC`, or `BST (UTC+01:00)`."""
    moment = local(at, zone)
    name, plain = moment.tzname() or str(zone), f"{moment:%z}"
    offset = f"UTC{plain[:3]}:{plain[3:5]}"
    return name if name == "UTC" else f"{name} ({offset})"


def ago(at: int, now: int) -> str:
    """`4 s ago`, `12 min ago`, `3 h ago`, `5 days ago`."""
    past = max(0, now - at)
    for unit, name in ((DAY, "days"), (HOUR, "h"), (MINUTE, "min")):
        if past >= 2 * unit or (past >= unit and name != "days"):
            return f"{past // unit} {name} ago"
    return f"{past // SECOND} s ago"


def took(nanoseconds: float) -> str:
    """A duration with its unit: `12 ms`, `3.4 s`, `2.5 min`, `3.1 h`, `2.4 days`."""
    if nanoseconds < SECOND:
        return f"{nanoseconds / 1e6:.0f} ms"
    for unit, name in ((DAY, "days"), (HOUR, "h"), (MINUTE, "min")):
        if nanoseconds >= 2 * unit:
            return f"{nanoseconds / unit:.1f} {name}"
    return f"{nanoseconds / SECOND:.1f} s"


def midnight(at: int, zone: ZoneInfo, days: int = 0) -> int:
    """The start of the local day of that time, or of the day so many days later."""
    day = local(at, zone).date() + timedelta(days=days)
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * SECOND


def parse(text: str, zone: ZoneInfo) -> int:
    """`2026-11-24`, `2026-11-24 07:00`, `2026-11-24T07:00:30` local, or with an offset → nanoseconds. ValueError."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"expected a time such as 2026-11-24 07:00; found {text!r}") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
    seconds = int(moment.timestamp())
    if not 0 <= seconds < 9_000_000_000:
        raise ValueError(f"expected a time between 1970 and 2255; found {text!r}")
    return seconds * SECOND + moment.microsecond * 1000
