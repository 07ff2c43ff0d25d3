# pure
"""Whether a value that the upstream shows is the one that was sent, as an upstream may have cast it.

Three answers, never two: what is sent as `"2019-12-31T00:00:00.000Z"` and shown as `"2019-12-31"` is the same, `"Rex"`
and `"Mia"` are not, and where an upstream might have made the one of the other (null of `"31/02/2020"`, `"rex"` of
`"REX"`) nobody can tell. What cannot be told is never taken for either. The casts are those that Rails, and others like
it, were seen to make (../shared/HOSP.md).
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Final

YES: Final = frozenset(("true", "1", "t", "on", "yes", "y"))
NO: Final = frozenset(("false", "0", "f", "off", "no", "n"))
ZONES: Final = timedelta(hours=15)
"""By which a time may have been moved for want of a time zone."""
_DATE: Final = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ].*)?", re.ASCII | re.DOTALL)
_DEFAULTS: Final = (0, "", False)
SHORTEST_CUT: Final = 16
"""Characters of which a text that was cut short has at least so many."""


class Match(StrEnum):
    EQUAL = "equal"
    DIFFERENT = "different"
    UNSURE = "unsure"


def all_of(fields: Mapping[str, Any], value: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]]) -> Match:
    """Whether a record has all the fields that were sent. One that it does not show may have any value."""
    found = set[Match]()
    for name, sent in fields.items():
        found.add(compare(sent, value[name], schemas.get(name, {})) if name in value else Match.UNSURE)
        if Match.DIFFERENT in found:
            return Match.DIFFERENT
    return Match.EQUAL if found == {Match.EQUAL} else Match.UNSURE


def compare(sent: Any, shown: Any, schema: Mapping[str, Any]) -> Match:
    """One field. `schema` is what the contract says of it: type and format."""
    if _same(sent, shown):
        return Match.EQUAL
    kinds, form = _types(schema), schema.get("format")
    if sent is None:
        return Match.DIFFERENT if shown and not _is_default(schema, shown) else Match.UNSURE
    if shown is None:
        blank_is_null = form in ("date", "date-time", "time") or bool(kinds & {"integer", "number", "boolean"})
        return Match.EQUAL if sent == "" and blank_is_null else Match.UNSURE
    if form == "date" or (form is None and _both_dates(sent, shown)):
        return _dates(sent, shown)
    if form == "date-time":
        return _times(sent, shown)
    if isinstance(sent, bool) or isinstance(shown, bool):
        return _booleans(sent, shown)
    if isinstance(sent, (dict, list)) or isinstance(shown, (dict, list)):
        return Match.UNSURE
    if isinstance(shown, (int, float)) or not isinstance(sent, str):
        return _numbers(sent, shown)
    return _texts(sent, str(shown))


def _same(sent: Any, shown: Any) -> bool:
    return bool(sent == shown) and isinstance(sent, bool) is isinstance(shown, bool)


def _is_default(schema: Mapping[str, Any], shown: Any) -> bool:
    return shown in _DEFAULTS or ("default" in schema and shown == schema["default"])


def _types(schema: Mapping[str, Any]) -> frozenset[str]:
    kinds = schema.get("type", ())
    return frozenset([kinds] if isinstance(kinds, str) else kinds)


def _both_dates(sent: Any, shown: Any) -> bool:
    return all(isinstance(each, str) and _DATE.fullmatch(each.strip()) is not None for each in (sent, shown))


def _day(value: Any) -> date | None:
    found = _DATE.fullmatch(value.strip()) if isinstance(value, str) else None
    try:
        return date(int(found[1]), int(found[2]), int(found[3])) if found else None
    except ValueError:
        return None


def _dates(sent: Any, shown: Any) -> Match:
    ours, theirs = _day(sent), _day(shown)
    if ours is None or theirs is None:
        return Match.UNSURE
    if ours == theirs:
        return Match.EQUAL
    return Match.UNSURE if abs((ours - theirs).days) <= 1 and len(str(sent)) > len("2019-12-31") else Match.DIFFERENT


def _instant(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(value.strip()) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo is not None else found.replace(tzinfo=UTC)


def _times(sent: Any, shown: Any) -> Match:
    ours, theirs = _instant(sent), _instant(shown)
    if ours is None or theirs is None:
        return Match.UNSURE
    apart = abs(ours - theirs)
    if apart < timedelta(milliseconds=1):
        return Match.EQUAL
    return Match.UNSURE if apart <= timedelta(seconds=1) or apart <= ZONES else Match.DIFFERENT


def _booleans(sent: Any, shown: Any) -> Match:
    ours, theirs = str(sent).strip().lower(), str(shown).strip().lower()
    known = YES | NO
    if ours not in known or theirs not in known:
        return Match.UNSURE
    return Match.EQUAL if (ours in YES) is (theirs in YES) else Match.DIFFERENT


def _number(value: Any) -> Decimal | None:
    text = str(value).strip()
    first = text.lstrip("_")[:1]
    if not (first.isdecimal() or first in "+-."):
        return None  # as most texts, and true and false: to have Decimal say so takes ten times as long
    try:
        found = Decimal(text)
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def _numbers(sent: Any, shown: Any) -> Match:
    ours, theirs = _number(sent), _number(shown)
    if ours is None or theirs is None:  # `17abc` is 17 to some, and 0 to others
        return Match.UNSURE
    if ours == theirs:
        return Match.EQUAL
    rounded = abs(ours - theirs) <= max(Decimal(1), abs(ours) / 1000) and ours != ours.to_integral_value()
    huge = max(abs(ours), abs(theirs)) > 2**53
    return Match.UNSURE if rounded or huge else Match.DIFFERENT


def _plain(text: str) -> str:
    return " ".join(html.unescape(unicodedata.normalize("NFKC", text)).casefold().split())


def _texts(sent: str, shown: str) -> Match:
    if unicodedata.normalize("NFC", sent.strip()) == unicodedata.normalize("NFC", shown.strip()):
        return Match.EQUAL
    ours, theirs = _plain(sent), _plain(shown)
    if ours == theirs:
        return Match.UNSURE
    cut = shown.rstrip(".…").rstrip()
    if len(cut) >= SHORTEST_CUT and sent.lstrip().startswith(cut):
        return Match.UNSURE
    tags = re.sub(r"<[^>]*>?", "", sent) != sent and _plain(re.sub(r"<[^>]*>?", "", sent)) == theirs
    return Match.UNSURE if tags or _number(sent) == (_number(shown) or object()) else Match.DIFFERENT
