# pure
"""An event as a syslog message of RFC 5424, facility "log audit", whose text is its CEF line (`cef`).

Of the structured data only what IANA has registered: nobody has given Understudy an enterprise number.
"""

from __future__ import annotations

import re
from typing import Final

from sidecar.events.cef import at, severity, to_cef
from sidecar.events.store import Event

LOG_AUDIT: Final = 13
WARNING, NOTICE, INFORMATIONAL = 4, 5, 6
BOM: Final = "\ufeff"
"""Begins a text in UTF-8 (RFC 5424, 6.4)."""
_NO_NAME: Final = re.compile(r"[^\x21-\x7e]")
_FRACTION: Final = re.compile(r"(\.\d{1,6})\d*")


def to_syslog(event: Event, version: str) -> str:
    """Without a line break or a length before it. `version`: Understudy's."""
    heavy = severity(event)
    level = WARNING if heavy >= 6 else NOTICE if heavy >= 3 else INFORMATIONAL
    moment = _FRACTION.sub(r"\1", str(event["@timestamp"]))
    host = _name(str(at(event, "service.node.name") or ""), 255)
    what = _name(str(at(event, "understudy.endpoint_id") or ""), 32)
    origin = f'[origin software="Understudy" swVersion="{_parameter(version)}"]'
    return f"<{LOG_AUDIT * 8 + level}>1 {moment} {host} understudy - {what} {origin} {BOM}{to_cef(event, version)}"


def _name(text: str, longest: int) -> str:
    """Visible ASCII characters; `-`: none is known."""
    return _NO_NAME.sub("?", text)[:longest] or "-"


def _parameter(text: str) -> str:
    return re.sub(r'(["\\\]])', r"\\\1", text)
