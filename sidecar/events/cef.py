# pure
"""An event as a line of the Common Event Format (ArcSight's "Implementing ArcSight CEF", version 25; `CEF:0`).

In the header `\\` and `|` are escaped, in the extension `\\`, `=` and line breaks; no other control character is left,
so that a line is one line to whoever reads it. Values are cut at the lengths of CEF's dictionary. What has no key there
has a custom one with a label; what is not known has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any, Final

from sidecar.events.store import Event
from sidecar.timeunits import parse_rfc3339

_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROLS_BUT_BREAKS: Final = re.compile("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")
_LONGEST: Final[Mapping[str, int]] = {
    "act": 63, "app": 31, "cat": 1023, "dvchost": 100, "externalId": 40, "outcome": 63, "reason": 1023, "request": 1023,
    "requestClientApplication": 1023, "requestMethod": 1023, "suser": 1023, "cs1": 4000, "cs2": 4000, "cs3": 4000,
    "cs4": 4000, "cs5": 4000, "cs6": 4000, "flexString1": 1023, "flexString2": 1023,
}  # fmt: skip
"""Characters, by key."""
_CUSTOM: Final[Mapping[str, tuple[str, str]]] = {
    "cs1": ("Patient", "understudy.patient.id"),
    "cs2": ("Record", ""),
    "cs3": ("Answered by", "understudy.answered_by"),
    "cs4": ("Policy verdict", "understudy.verdict"),
    "cs5": ("Policy findings", "understudy.findings"),
    "cs6": ("Request id", "http.request.id"),
    "flexString1": ("Break-glass", "understudy.break_glass"),
    "flexString2": ("Identity", "understudy.identity"),
}
_CHANGES: Final = frozenset({"create", "update", "delete"})


def severity(event: Event) -> int:
    """CEF's, 0 to 10: 0–3 low, 4–6 medium, 7–8 high. How much an auditor should look at it."""
    status = at(event, "http.response.status_code")
    if at(event, "understudy.break_glass") or at(event, "understudy.purpose") == "audit":
        return 7
    if at(event, "understudy.verdict") == "deny" or at(event, "understudy.findings"):
        return 6
    if status in (401, 403):
        return 5
    if at(event, "event.outcome") != "success":
        return 4
    return 3 if at(event, "event.action") in _CHANGES else 1


def to_cef(event: Event, version: str) -> str:
    """Without a line break. `version`: Understudy's."""
    deed = at(event, "understudy.purpose") == "audit"
    action = str(at(event, "event.action") or "other")
    what = f"audit.{action}" if deed else str(at(event, "understudy.endpoint_id") or "other")
    name = f"{action} (by a person, of Understudy itself)" if deed else str(at(event, "understudy.endpoint") or action)
    head = ("CEF:0", "Understudy", "Understudy", version, what, name, str(severity(event)))
    extension = (f"{key}={_value(key, value)}" for key, value in _extension(event, deed))
    return f"{'|'.join(_header(each) for each in head)}|{' '.join(extension)}"


def _extension(event: Event, deed: bool) -> Iterator[tuple[str, Any]]:
    yield "rt", parse_rfc3339(str(event["@timestamp"])) // 1_000_000
    for key, path in (("externalId", "event.id"), ("dvchost", "service.node.name"), ("suser", "user.name")):
        yield from _known(key, at(event, path))
    yield from _source(at(event, "source.ip"))
    yield from _known("act", at(event, "event.action"))
    yield from _known("outcome", at(event, "event.outcome"))
    yield from _known("reason", at(event, "understudy.reason"))
    yield from _known("cat", ",".join(at(event, "event.category") or ()))
    if not deed:
        query = at(event, "url.query")
        yield "app", "HTTP"
        yield from _known("requestMethod", at(event, "http.request.method"))
        yield from _known("request", f"{at(event, 'url.path') or ''}{f'?{query}' if query else ''}")
        yield from _known("requestClientApplication", at(event, "user_agent.original"))
        yield from _known("in", at(event, "http.request.bytes"))
        yield from _known("out", at(event, "http.response.bytes"))
        if (status := at(event, "http.response.status_code")) is not None:
            yield from (("cn1", status), ("cn1Label", "HTTP status"))
    for key, (label, path) in _CUSTOM.items():
        value = at(event, path) if path else _record(event, deed)
        if value not in (None, "", []):
            yield from ((key, ",".join(value) if isinstance(value, list) else value), (f"{key}Label", label))


def _record(event: Event, deed: bool) -> str | None:
    """What it was about: a record; of a deed the person, where it was about one."""
    if deed:
        return at(event, "understudy.deed.user")  # type: ignore[no-any-return]
    kind, record = at(event, "understudy.resource.type"), at(event, "understudy.resource.id")
    return f"{kind}/{record}" if kind and record is not None else kind


def _source(address: Any) -> Iterator[tuple[str, Any]]:
    if address is None:
        return
    if ip_address(str(address)).version == 4:
        yield "src", address
    else:
        yield from (("c6a2", address), ("c6a2Label", "Source IPv6 Address"))


def _known(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if value not in (None, ""):
        yield key, value


def _header(text: str) -> str:
    return _CONTROLS.sub(" ", text).replace("\\", "\\\\").replace("|", "\\|")


def _value(key: str, value: Any) -> str:
    text = _CONTROLS_BUT_BREAKS.sub(" ", str(value)[: _LONGEST.get(key)])
    return (
        text.replace("\\", "\\\\").replace("=", "\\=").replace("\r\n", "\\n").replace("\n", "\\n").replace("\r", "\\r")
    )


def at(event: Event, path: str) -> Any:
    """What the event has there; None: nothing."""
    value: Any = event
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
