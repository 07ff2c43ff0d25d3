"""What the pages ask of the event store, and nothing else of it: the store counts, the pages show.

Works by the EventStore interface alone, so that the embedded store and Elasticsearch answer alike. Counts are kept for
a few seconds: many people who look at one page ask once.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Final
from zoneinfo import ZoneInfo

from dashboard.values.filters import REFUSED, View, ViewError
from sidecar.events.store import Bucket, Event, EventStore, Filter, Page
from sidecar.timeunits import DAY, HOUR, MINUTE, SECOND, parse_rfc3339

KEEP: Final = 10.0
"""Seconds for which a count may be shown again."""
PAGE: Final = 500
NEWEST: Final = 4
"""So many pages of so many events are read to see when people were there last."""
SAME: Final = 400
"""Values that are kept as long as their sign is the same: a year of days and some."""
PEOPLE: Final[Mapping[str, Sequence[str]]] = {"understudy.client": ["user"], "understudy.purpose": ["user"]}
"""Requests of real people, for themselves: what objectives and traffic are about."""
_STATUS: Final = "http.response.status_code"
_ENDED: Final = {"success": "worked", "failure": "failed", "unknown": "uncertain"}
_BUCKETS: Final = (MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY)


@dataclass(frozen=True)
class Rows:
    """A page of events with their bodies by event id, and the cursor of the next page."""

    events: Sequence[Event]
    bodies: Mapping[str, Event]
    cursor: str | None


class Queries:
    """Safe from any thread. Every method raises StoreUnavailable."""

    def __init__(self, store: EventStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._kept: dict[Any, tuple[float, Any]] = {}
        self._same: OrderedDict[Any, tuple[Any, Any]] = OrderedDict()
        self._making: dict[Any, Future[Any]] = {}
        self._lock = threading.Lock()

    def rows(self, where: Filter, size: int = 50, cursor: str | None = None) -> Rows:
        """Raises ViewError for a cursor that is none of the store's."""
        try:
            page = self._store.search(where, size, cursor or None)
        except ValueError as error:
            if not cursor:
                raise
            raise ViewError(f"after: expected the cursor of a page before; found {cursor!r}") from error
        bodies = self._store.bodies([event["event"]["id"] for event in page.events])
        return Rows(page.events, bodies, page.cursor)

    def plain(self, where: Filter, size: int, cursor: str | None = None) -> Page:
        """Events without their bodies: for who may not read them."""
        return self._store.search(where, size, cursor)

    def total(self, where: Filter) -> int:
        return sum(bucket.count for bucket in self._count(where))

    def by(
        self, where: Filter, *fields: str, keep: float = 0.0, anew: bool = False
    ) -> list[tuple[tuple[str, ...], int]]:
        """Counts per combination of the fields' values, the most frequent first. `keep`: seconds for which the same may
        be shown again; `anew`: none that was kept."""
        found = [(bucket.group, bucket.count) for bucket in self._count(where, None, fields, keep=keep, anew=anew)]
        return sorted(found, key=lambda each: (-each[1], each[0]))

    def endings(self, where: Filter) -> Counter[str]:
        """How events ended, by the outcomes that a view knows. Refused is what has such a status, however it ended:
        counted by itself, for both together take long."""
        found: Counter[str] = Counter()
        for (outcome,), count in self.by(where, "event.outcome"):
            found[_ENDED.get(outcome, "uncertain")] += count
        chosen = where.terms.get(_STATUS, REFUSED)
        statuses = [code for code in REFUSED if code in chosen]
        refused = replace(where, terms={**where.terms, _STATUS: statuses})
        for (outcome,), count in self.by(refused, "event.outcome") if statuses else ():
            found[_ENDED.get(outcome, "uncertain")] -= count
            found["refused"] += count
        return +found

    def lasts(self, where: Filter, names: Sequence[str]) -> dict[str, int]:
        """When each person's latest event was, in ns; 0: there is none, or no name. From the newest pages;
        who is not in them is looked for alone."""
        found: dict[str, int] = {}
        cursor: str | None = None
        for _ in range(NEWEST):
            page = self._store.search(where, PAGE, cursor)
            for event in page.events:
                found.setdefault(str(event.get("user", {}).get("name", "")), parse_rfc3339(event["@timestamp"]))
            cursor = page.cursor
            if cursor is None or all(name in found for name in names if name):
                break
        return {name: found[name] if name in found and name else self._last(where, name) for name in names}

    def _last(self, where: Filter, name: str) -> int:
        page = self._store.search(replace(where, terms={**where.terms, "user.name": [name]}), 1) if name else None
        return parse_rfc3339(page.events[0]["@timestamp"]) if page and page.events else 0

    def where(self, view: View, now: int, zone: ZoneInfo) -> Filter:
        """What a view asks of the store. Raises ViewError."""
        where = view.filter(now, zone)
        if not view.network():
            return where
        return view.filter(now, zone, self.values(where, "source.ip"))

    def values(self, where: Filter, field: str) -> list[str]:
        """The values of a field in the filter's time, the most frequent first."""
        asked = Filter(since=where.since, until=where.until)
        key = ("values", field, asked.since and asked.since // HOUR, asked.until and asked.until // HOUR)

        def ask() -> list[str]:
            return [group[0] for group, _ in self.by(asked, field) if group[0]]

        found: list[str] = self.kept(key, 60.0, ask)
        return found

    def is_known(self, field: str, value: str) -> bool:
        """Whether any event at all has this value."""
        return bool(self._store.search(Filter(terms={field: [value]}), 1).events)

    def over_time(self, where: Filter, interval: int, *fields: str, anew: bool = False) -> Sequence[Bucket]:
        return self._count(where, interval, fields, anew=anew)

    def spread(self, where: Filter, field: str, marks: Sequence[float]) -> Sequence[Bucket]:
        """Of each value of a field: in how many ns each of these percent of its requests were answered. Asked anew."""
        return self._store.count(where, None, (field,), marks)

    def percentiles(self, where: Filter, interval: int) -> list[tuple[int, dict[float, float]]]:
        """Per bucket of time: half, 95% and 99% of requests took at most so many nanoseconds."""
        counted = self._count(where, interval, (), (50.0, 95.0, 99.0))
        return [(bucket.start, dict(bucket.percentiles)) for bucket in counted]

    def bodies(self, events: Sequence[Event]) -> Mapping[str, Event]:
        return self._store.bodies([event["event"]["id"] for event in events])

    def _count(
        self, where: Filter, interval: int | None = None, by: Sequence[str] = (), percentiles: Sequence[float] = (),
        keep: float = 0.0, anew: bool = False,
    ) -> Sequence[Bucket]:  # fmt: skip
        step = int(max(KEEP, keep)) * SECOND
        rounded = where.since if where.since is None else where.since - where.since % step
        key = (rounded, _which(where), interval, tuple(by), tuple(percentiles))
        counted: Sequence[Bucket] = self.kept(
            key, 0.0 if anew else max(KEEP, keep), lambda: self._store.count(where, interval, by, percentiles)
        )
        return counted

    def kept(self, key: Any, seconds: float, make: Callable[[], Any]) -> Any:
        """What was made for `key` less than so many seconds ago, or made now."""
        now = self._clock()
        with self._lock:
            made, value = self._kept.get(key, (-1e9, None))
        if now - made < seconds:
            return value
        if not seconds:
            return make()

        def keep() -> Any:
            value = make()
            with self._lock:
                self._kept = {k: v for k, v in self._kept.items() if now - v[0] < 700 and len(self._kept) < 500}
                self._kept[key] = (now, value)
            return value

        return self._made_once(("kept", key), keep)

    def while_same(self, key: Any, sign: Any, make: Callable[[], Any]) -> Any:
        """What was made for `key` when its `sign` was the same, however long ago, or made now. `make` goes by nothing
        older than the sign, or that would stay."""
        with self._lock:
            made, value = self._same.get(key, (None, None))
            if made == sign:
                self._same.move_to_end(key)
                return value

        def keep() -> Any:
            value = make()
            with self._lock:
                self._same[key] = (sign, value)
                if len(self._same) > SAME:
                    self._same.popitem(last=False)
            return value

        return self._made_once(("same", key, sign), keep)

    def _made_once(self, key: Any, make: Callable[[], Any]) -> Any:
        """Who wants what somebody is making already waits for that one, and has what comes of it, or its error: two
        that count the same side by side take more than twice as long. `make` wants nothing that waits for `key`."""
        mine: Future[Any] = Future()
        with self._lock:
            theirs = self._making.setdefault(key, mine)
        if theirs is not mine:
            return theirs.result()
        try:
            mine.set_result(make())
        except BaseException as error:
            mine.set_exception(error)
        finally:
            with self._lock:
                del self._making[key]
        return mine.result()


def _which(where: Filter) -> tuple[Any, ...]:
    """All of a filter but since when, as a part of a key."""
    terms = tuple((name, tuple(values)) for name, values in where.terms.items())
    return where.until, terms, tuple(where.at_most.items()), where.text


def bucket_for(span: int, most: int = 120) -> int:
    """The smallest bucket by which a span of so many nanoseconds has at most so many buckets."""
    return next((bucket for bucket in _BUCKETS if span // bucket <= most), _BUCKETS[-1])
