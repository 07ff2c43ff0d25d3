"""Event stores that break when they are told to: the embedded one behind a thin door, and a real Elasticsearch node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from compose.elasticsearch.node import Node
from sidecar.events.store import Appended, Bucket, Event, EventStore, Filter, Page, SpansUnknown, StoreUnavailable
from sidecar.events.store.elasticsearch import ElasticStore
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.timeunits import DAY, SECOND
from tests.contracts.event_store import NOON, event

TODAY: Final = NOON - NOON % DAY
FOREIGN: Final = {"properties": {"event": {"properties": {"outcome": {"type": "text"}}}}}


class Shelf:
    """A store, as far as alerts and shippers use it. The ways in which it breaks are those of Elasticsearch."""

    def __init__(self, store: EventStore) -> None:
        self.store = store
        self.away = self.read_only = self.nonsense = False
        self.dark: tuple[tuple[int, int], ...] = ()
        """(since, until) in ns of which it can tell nothing."""

    @classmethod
    def embedded(cls, folder: Path) -> Shelf:
        store = EmbeddedStore(folder / "events.db")
        store.install()
        return cls(store)

    def goes(self) -> None:
        self.away = True

    def blocks(self) -> None:
        """Flood stage: it answers, and takes nothing."""
        self.read_only = True

    def closes(self, day: int) -> None:
        """An index of the day (ns) is closed."""
        self.dark = ((day, day + DAY),)

    def estranges(self, day: int) -> None:
        """Somebody made the day's index with another mapping."""
        self.dark = ((day, day + DAY),)

    def mends(self) -> None:
        self.away = self.read_only = self.nonsense = False
        self.dark = ()

    def append(self, events: Sequence[Event], bodies: Sequence[Event] = ()) -> Appended:
        if self.away or self.read_only:
            raise StoreUnavailable("read_only_allow_delete" if self.read_only else "connection refused")
        return self.store.append(events, bodies)

    def count(
        self, where: Filter, interval: int | None = None, by: Sequence[str] = (), percentiles: Sequence[float] = ()
    ) -> Sequence[Bucket]:
        self._ask(where)
        return self.store.count(where, interval, by, percentiles)

    def search(self, where: Filter, size: int = 50, cursor: str | None = None) -> Page:
        self._ask(where)
        return self.store.search(where, size, cursor)

    def close(self) -> None:
        self.store.close()

    def _ask(self, where: Filter) -> None:
        if self.away:
            raise StoreUnavailable("connection refused")
        if self.nonsense:
            raise KeyError("aggregations")
        hit = [
            (since, until)
            for since, until in self.dark
            if (where.since is None or until > where.since) and (where.until is None or since < where.until)
        ]
        if hit:
            raise SpansUnknown("understudy-exchanges-… is closed", hit)


class ElasticShelf(Shelf):
    """A real node, broken by its own API."""

    def __init__(self, node: Node) -> None:
        self._node = node
        store = ElasticStore(node.url, refresh=True)
        super().__init__(store)
        self._client: Any = store._client
        self._again: list[Callable[[], object]] = []
        self._clear()
        store.install()

    def goes(self) -> None:
        self._node.stop()
        self._again.append(self._node.start)

    def blocks(self) -> None:
        self._set({"index.blocks.read_only_allow_delete": True})
        self._again.append(lambda: self._set({"index.blocks.read_only_allow_delete": None}))

    def closes(self, day: int) -> None:
        index = _index(day)
        self.store.append([event(10**9, day)])
        self._client.indices.close(index=index)
        self._again.append(lambda: self._client.indices.open(index=index))
        self._forget()

    def estranges(self, day: int) -> None:
        """The day is there already as somebody else thought of it, with what it held: it is indexed anew by hand."""
        index = _index(day)
        held = self._client.search(index=index, size=10_000, query={"match_all": {}})["hits"]["hits"]
        self._client.indices.delete(index=index)
        self._client.indices.create(index=index, mappings=FOREIGN)
        self._put(index, held)
        self._again.append(lambda: self._as_before(index))
        self._forget()

    def mends(self) -> None:
        super().mends()
        for mend in self._again:
            mend()
        self._again.clear()
        self._client.cluster.health(wait_for_status="yellow", wait_for_no_initializing_shards=True)
        self._forget()

    def close(self) -> None:
        self._clear()
        super().close()

    def _as_before(self, index: str) -> None:
        held = self._client.search(index=index, size=10_000, query={"match_all": {}})["hits"]["hits"]
        self._client.indices.delete(index=index)
        self._forget()
        self.store.append([each["_source"] for each in held])

    def _put(self, index: str, held: Iterable[Any]) -> None:
        lines = [line for each in held for line in ({"create": {"_index": index, "_id": each["_id"]}}, each["_source"])]
        if lines:
            self._client.bulk(operations=lines, refresh=True)

    def _set(self, settings: dict[str, Any]) -> None:
        self._client.indices.put_settings(index="understudy-*", settings=settings)

    def _clear(self) -> None:
        for index in self._client.indices.get(index="understudy-*", expand_wildcards="all"):
            self._client.indices.delete(index=index)

    def _forget(self) -> None:
        days: Any = self.store
        days._days.forget()


def _index(day: int) -> str:
    return f"understudy-exchanges-{datetime.fromtimestamp(day // SECOND, UTC):%Y.%m.%d}"
