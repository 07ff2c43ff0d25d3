# pure
"""What Rails makes of a value that is not of its column's type."""

from __future__ import annotations

import re
from calendar import month_abbr
from datetime import date
from typing import Any

MONTHS = {month_abbr[number].lower(): number for number in range(1, 13)}


def to_string(value: Any) -> str | None:
    if isinstance(value, bool):
        return "t" if value else "f"
    return None if value is None else str(value)


def to_integer(value: Any) -> int | None:
    """Ruby's to_i: up to the first character that is no digit; a blank string is null."""
    if isinstance(value, str):
        if not value.strip():
            return None
        found = re.match(r"\s*([+-]?\d+)", value)
        return int(found[1]) if found else 0
    return None if value is None else int(value)


def to_date(value: Any) -> str | None:
    """The day that a string names, as YYYY-MM-DD; null where there is no such day."""
    if not isinstance(value, str):
        return None
    if found := re.match(r"\s*(\d{4})-(\d{1,2})-(\d{1,2})(?!\d)", value):
        year, month, day = (int(part) for part in found.groups())
    elif found := re.match(r"\s*(\d{1,2})/(\d{1,2})/(\d{4})", value):
        day, month, year = (int(part) for part in found.groups())
    elif (found := re.match(r"\s*(\d{1,2}) ([A-Za-z]{3})[a-z]* (\d{4})", value)) and found[2].lower() in MONTHS:
        day, month, year = int(found[1]), MONTHS[found[2].lower()], int(found[3])
    else:
        return None
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return None


def to_column(field: str, value: Any) -> Any:
    """As the column of that name stores it."""
    if field.endswith("_id"):
        return to_integer(value)
    return to_date(value) if field == "birthdate" else to_string(value)
