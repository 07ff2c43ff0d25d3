"""What someone looks at, as an address: a page's filters to and from its query string, and to the store's Filter. Pure.

The address is all of a view's state: who opens it sees the same. `fixed` turns a period such as "the last 24 hours"
into times that stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo

from dashboard.values import time_format
from dashboard.values.people import networks, several, within
from sidecar.events.store import Filter
from sidecar.timeunits import DAY, HOUR, SECOND

PERIODS: Final[Mapping[str, str]] = {
    "1h": "last hour",
    "24h": "last 24 hours",
    "today": "today",
    "yesterday": "yesterday",
    "7d": "last 7 days",
    "30d": "last 30 days",
    "all": "everything kept",
    "between": "between two times",
}
_LENGTHS: Final = {"1h": HOUR, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY}
ACTIONS: Final[Mapping[str, str]] = {
    "": "anything",
    "read": "looked at one record",
    "list": "looked at a list",
    "create": "added",
    "update": "changed",
    "delete": "deleted",
    "call": "screened",
    "other": "outside the contract",
}
REFUSED: Final = [str(code) for code in range(400, 500)]
"""Statuses, as counts have them."""
_WORKED: Final = [str(code) for code in range(200, 400)]
OUTCOMES: Final[Mapping[str, tuple[str, Mapping[str, list[str]]]]] = {
    "": ("any outcome", {}),
    "worked": ("worked", {"event.outcome": ["success"], "http.response.status_code": _WORKED}),
    "refused": ("was refused or not found", {"http.response.status_code": REFUSED}),
    "signin": ("sign-in failed", {"http.response.status_code": ["401"]}),
    "failed": ("failed", {"event.outcome": ["failure"]}),
    "uncertain": ("ended without certainty", {"event.outcome": ["unknown"]}),
    "denied": ("denied, or would be denied", {"understudy.verdict": ["deny", "report"]}),
}
ANSWERERS: Final[Mapping[str, str]] = {
    "": "anyone",
    "upstream": "{api}",
    "standby": "the standby",
    "understudy": "Understudy itself",
}
"""`{api}`: what people call the API that we stand beside."""


class ViewError(ValueError):
    """A filter that cannot be; the message names it."""


@dataclass(frozen=True, kw_only=True)
class View:
    """The filters, as text; empty: not filtered. `after` is the cursor of a page."""

    period: str = "24h"
    start: str = ""
    end: str = ""
    person: str = ""
    patient: str = ""
    action: str = ""
    resource: str = ""
    record: str = ""
    outcome: str = ""
    answered: str = ""
    address: str = ""
    text: str = ""
    event: str = ""
    glass: str = ""
    """The id of a break-glass under which it was done."""
    after: str = ""

    @classmethod
    def parse(cls, query: str) -> View:
        """From a query string. Raises ViewError; keys that are no filter are ignored."""
        given = {key: value.strip() for key, value in parse_qsl(query.lstrip("?"), max_num_fields=50)}
        names = {declared.name for declared in fields(cls)}
        view = cls(**{key: value[:4000] for key, value in given.items() if key in names})
        for name, allowed in (("period", PERIODS), ("action", ACTIONS), ("outcome", OUTCOMES), ("answered", ANSWERERS)):
            if (value := getattr(view, name)) not in allowed:
                raise ViewError(f"{name}: expected {' or '.join(key for key in allowed if key)}; found {value!r}")
        try:
            networks(view.address)
        except ValueError:
            wanted = "an IP address such as 10.1.2.3, or a network such as 10.1.2.0/24"
            raise ViewError(f"address: expected {wanted}; found {view.address!r}") from None
        return view

    def query(self, **changed: str) -> str:
        """The query string, with some filters changed; what has its default is left out."""
        view, plain = replace(self, **changed), View()
        pairs = [(each.name, getattr(view, each.name)) for each in fields(view)]
        return urlencode([(name, value) for name, value in pairs if value != getattr(plain, name)])

    def range(self, now: int, zone: ZoneInfo) -> tuple[int | None, int | None]:
        """Since and until, in nanoseconds; None is open. Raises ViewError."""
        if self.period == "between":
            return self._ends(zone)
        if self.period in _LENGTHS:
            return now - _LENGTHS[self.period], None
        if self.period == "all":
            return None, None
        first = 0 if self.period == "today" else -1
        return time_format.midnight(now, zone, first), time_format.midnight(now, zone, first + 1)

    def _ends(self, zone: ZoneInfo) -> tuple[int | None, int | None]:
        ends: list[int | None] = []
        for name, text in (("start", self.start), ("end", self.end)):
            try:
                ends.append(time_format.parse(text, zone) if text else None)
            except ValueError as error:
                raise ViewError(f"{name}: {error}") from None
        since, until = ends
        if since is not None and until is not None and since >= until:
            raise ViewError(f"end: expected a time after {self.start}; found {self.end}")
        return since, until

    def fixed(self, now: int, zone: ZoneInfo) -> View:
        """The same view, with times that stay."""
        since, until = self.range(now, zone)
        start, end = (utc(at) if at is not None else "" for at in (since, until if until is not None else now))
        return replace(self, period="between", start=start, end=end)

    def filter(self, now: int, zone: ZoneInfo, addresses: Iterable[str] = ()) -> Filter:
        """What the store is asked; `addresses`: those known, of which a network means some. Raises ViewError."""
        since, until = self.range(now, zone)
        terms: dict[str, list[str]] = {}
        for name, field in _TERMS.items():
            if value := getattr(self, name):
                terms[field] = several(value)
        if self.address:
            terms[_TERMS["address"]] = within(networks(self.address), addresses) or [self.address]
        for field, accepted in OUTCOMES[self.outcome][1].items():
            terms[field] = list(accepted)
        return Filter(since=since, until=until, terms=terms, text=self.text or None)

    def words(self, api: str) -> list[str]:
        """The filters in words, for people and for the trail. `api`: what people call the upstream."""
        said = [PERIODS[self.period] if self.period != "between" else f"from {self.start or '…'} to {self.end or '…'}"]
        return [*said, *self.chips(api).values()]

    def chips(self, api: str) -> dict[str, str]:
        """Each filter beside the period by its name, in words."""
        said: dict[str, str] = {}
        for name, prefix in _WORDS.items():
            if value := getattr(self, name):
                many = several(value)
                few = "; ".join(many[:4]) + (f" and {len(many) - 4} more" if len(many) > 4 else "")
                said[name] = f"{len(many)} events" if name == "event" and len(many) > 1 else f"{prefix} {few}"
        if self.action:
            said["action"] = f"who {ACTIONS[self.action]}" if self.action != "other" else "outside the contract"
        if self.outcome:
            said["outcome"] = f"that {OUTCOMES[self.outcome][0]}"
        if self.answered:
            said["answered"] = f"answered by {ANSWERERS[self.answered].format(api=api)}"
        return said

    def network(self) -> bool:
        """Whether the addresses that were seen must be known to ask the store."""
        return "/" in self.address


_TERMS: Final = {
    "person": "user.name",
    "patient": "understudy.patient.id",
    "action": "event.action",
    "resource": "understudy.resource.type",
    "record": "understudy.resource.id",
    "answered": "understudy.answered_by",
    "address": "source.ip",
    "event": "event.id",
    "glass": "understudy.break_glass",
}
_WORDS: Final = {
    "person": "person",
    "patient": "patient",
    "resource": "in",
    "record": "record",
    "address": "from address",
    "text": "with the words",
    "event": "event",
    "glass": "under break-glass",
}


def utc(at: int) -> str:
    return datetime.fromtimestamp(at // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
