"""The event store: where exchanges are searched and counted. Two implementations, one contract (tests/contracts)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

Event = Mapping[str, Any]
"""An ECS document, nested: {"@timestamp": …, "event": {"id": …}, …}."""
NOTHING_RECORDED: Final = "no sidecar has recorded anything there yet (is DATA the sidecar's?)"


class StoreUnavailable(Exception):
    """The store cannot be asked now (refused, timed out, 429, 5xx). Try again later; nothing is lost."""


class OtherProduct(StoreUnavailable):
    """What answers says itself that it is another product, or a version, which cannot keep events."""


class SpansUnknown(StoreUnavailable):
    """Of parts of the time that was asked for nothing can be told: a day is closed, or indexed in another way."""

    def __init__(self, why: str, spans: Sequence[tuple[int, int]]) -> None:
        """`spans`: (since, until) of each, in ns since the epoch, the oldest first."""
        super().__init__(why)
        self.spans = tuple(spans)


@dataclass(frozen=True)
class Rejected:
    """A document that the store will never take, and why."""

    document: Event
    why: str


@dataclass(frozen=True)
class Appended:
    """What became of a batch: `stored` counts new and already present ones; `retry` failed for now."""

    stored: int
    retry: Sequence[Event] = ()
    rejected: Sequence[Rejected] = ()


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which events: all given conditions hold. Times are nanoseconds since the epoch; since ≤ t < until."""

    since: int | None = None
    until: int | None = None
    terms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """ECS field path → accepted values, e.g. {"understudy.endpoint": ["GET /notes"], "user.name": ["Dr Holt"]}; as in a
    Bucket's group, "" is having none."""
    at_most: Mapping[str, int] = field(default_factory=dict)
    """Numeric field → the greatest value accepted, e.g. {"event.duration": 3_000_000_000}."""
    text: str | None = None
    """Words that occur in path, query, user name, user agent or resource."""


@dataclass(frozen=True)
class Page:
    """Events newest first, and the cursor of the next page (None: there is no more)."""

    events: Sequence[Event]
    cursor: str | None


@dataclass(frozen=True)
class Bucket:
    """Counts of one time bucket and one combination of group values. Percentiles in nanoseconds; empty when unasked."""

    start: int
    group: tuple[str, ...]
    count: int
    percentiles: Mapping[float, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """How far a journal segment has reached the store: its last shipped sequence, and the chain's hash there."""

    segment: str
    sequence: int
    hash: str


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A legal hold: what it matches (all of user, patient and time that are given) is kept, whatever retention says.

    `since` and `until` in nanoseconds since the epoch; `at` is when it was laid, ISO 8601.
    """

    id: str
    at: str
    by: str
    reason: str
    user: str | None = None
    patient: str | None = None
    since: int | None = None
    until: int | None = None

    @property
    def where(self) -> Filter:
        """The events that are held."""
        terms = {"user.name": self.user, "understudy.patient.id": self.patient}
        given = {name: [value] for name, value in terms.items() if value is not None}
        return Filter(since=self.since, until=self.until, terms=given)


class EventStore(Protocol):
    """Every method raises StoreUnavailable when the store cannot be asked; `search` and `count` raise SpansUnknown
    where a part of the time is not known, which is neither empty nor zero."""

    def install(self) -> None:
        """Makes what the store needs (template, alias, tables). Safe to repeat."""

    def append(self, events: Sequence[Event], bodies: Sequence[Event] = ()) -> Appended:
        """Stores each event once by event.id, into the day of its own @timestamp; appending again changes nothing."""

    def search(self, where: Filter, size: int = 50, cursor: str | None = None) -> Page:
        """A page of events, newest first; paging is stable while events are added."""

    def count(
        self,
        where: Filter,
        interval: int | None = None,
        by: Sequence[str] = (),
        percentiles: Sequence[float] = (),
    ) -> Sequence[Bucket]:
        """Counts per bucket of `interval` ns (None: one bucket over all) and per value of the fields in `by`
        (understudy.endpoint, event.outcome, understudy.answered_by, user.name, http.response.status_code, …)."""

    def body(self, event_id: str) -> Event | None:
        """The recorded bodies of one exchange, or None."""

    def bodies(self, event_ids: Sequence[str]) -> Mapping[str, Event]:
        """The recorded bodies of many exchanges (at most a few thousand), by event id; those without are left out."""

    def drop_before(self, events_before: int, bodies_before: int) -> Iterable[str]:
        """Drops whole days older than these times, but for what is held; returns what was dropped."""

    def erase(self, event_ids: Sequence[str]) -> int:
        """Removes the recorded bodies of these exchanges, for good; returns how many there were."""

    def hold(self, hold: Hold) -> None:
        """Lays a hold, from now on."""

    def release(self, ident: str) -> None:
        """Takes a hold away; one that is not there is no error."""

    def holds(self) -> Sequence[Hold]:
        """The holds that are laid, oldest first."""

    def checkpoint(self, segment: str, sequence: int, hash: str) -> None:
        """Keeps how far a segment was shipped. It never goes back: a lower sequence than the kept one is ignored."""

    def checkpoints(self) -> Sequence[Checkpoint]:
        """The last checkpoint of every segment, by segment. A journal that ends before its checkpoint was cut."""

    def close(self) -> None: ...


def pages(store: EventStore, where: Filter, size: int) -> Iterator[Page]:
    """All that the filter holds, newest first, at most `size` events at a time. Raises StoreUnavailable."""
    cursor = None
    while True:
        page = store.search(where, size, cursor)
        yield page
        if (cursor := page.cursor) is None:
            return
