"""The event store in Elasticsearch, versions 8 and 9: daily indices, one alias, document ids that are event ids.
In data streams: `elasticsearch_streams`.

Appending is `create` with the event's id into the event's own day, and "already there" is success: shipping twice
changes nothing. It uses what the basic distribution's core has: no scripts, no delete_by_query, and ILM only where
the cluster offers it. Trouble that may pass (connection, timeout, 401, 403, 429, 5xx, a full cluster)
is StoreUnavailable or Appended.retry; only what a document itself does wrong makes it Rejected.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

from elasticsearch import ApiError, Elasticsearch

from sidecar.events.document import CLEAR
from sidecar.events.store import Appended, Bucket, Checkpoint, Event, Filter, Hold, Page, Rejected, StoreUnavailable
from sidecar.events.store.elasticsearch_days import Days
from sidecar.events.store.elasticsearch_errors import (
    CLUSTER_AT_FAULT,
    DOCUMENT_AT_FAULT,
    Refused,
    asking,
    is_shard_not_yet_there,
    items_of,
    whole_search,
)
from sidecar.events.store.elasticsearch_query import (
    bucket,
    decode,
    encode,
    milliseconds,
    percentile_aggregation,
    query,
    values,
)
from sidecar.events.store.elasticsearch_schema import HELD, Names, daily, day_end
from sidecar.events.store.elasticsearch_setup import Setup
from sidecar.storage.encryption import Vault
from sidecar.timeunits import DAY, parse_rfc3339

log = logging.getLogger(__name__)
PAGE: Final = 1000
"""Checkpoints asked for at a time."""
NOT_YET: Final = (0.1, 0.3, 0.6)
"""Seconds after which a search that some shard could not answer is made again."""
BUCKETS: Final = 10_000
"""Buckets of a count asked for at a time; a cluster's own limit is 65,536."""
_PRESENT: Final = 409


@dataclass(frozen=True)
class Operation:
    """One document on its way into one index."""

    index: str
    id: str
    document: Event
    body: bool

    @property
    def lines(self) -> tuple[Mapping[str, Any], Event]:
        return {"create": {"_index": self.index, "_id": self.id}}, self.document


class ElasticStore:
    """EventStore on an Elasticsearch cluster, a day's events in an index of its own."""

    _Setup: ClassVar[type[Setup]] = Setup
    _Days: ClassVar[type[Days]] = Days
    _bulk_words: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self,
        *urls: str,
        api_key: str | None = None,
        basic_auth: tuple[str, str] | None = None,
        retention: float = 365 * 86400,
        body_retention: float = 30 * 86400,
        timeout: float = 10.0,
        vault: Vault = CLEAR,
        refresh: bool = False,
        prefix: str = "understudy",
    ) -> None:
        """`urls` are nodes of one cluster: where one does not answer the next is asked, for all that is asked here may
        be asked twice. `refresh` makes each append visible to searches at once (tests); otherwise it takes about a
        second. `prefix`: what the names of all that is ours begin with."""
        self._client = Elasticsearch(
            list(urls), api_key=api_key, basic_auth=basic_auth, request_timeout=timeout, http_compress=True,
            max_retries=len(urls) - 1, retry_on_timeout=True, retry_on_status=(),
        )  # fmt: skip
        self._names = Names(prefix)
        self._setup = self._Setup(
            self._client, self._names, {self._names.exchanges: retention, self._names.bodies: body_retention}
        )
        self._days = self._Days(self._client, self._names)
        self._refresh = refresh
        self._vault = vault

    def install(self) -> None:
        """Puts the index templates, and the lifecycle policies where the cluster has ILM; changes of theirs stay."""
        self._setup.install(bool(self.holds()))

    def require_elasticsearch(self) -> None:
        """Raises OtherProduct where OpenSearch answers, StoreUnavailable where nothing does."""
        self._setup.require_elasticsearch()

    def append(self, events: Sequence[Event], bodies: Sequence[Event] = ()) -> Appended:
        operations: list[Operation] = []
        rejected: list[Rejected] = []
        for name, documents in ((self._names.exchanges, events), (self._names.bodies, bodies)):
            for document in documents:
                try:
                    index, identity = self._place(name, document["@timestamp"]), document["event"]["id"]
                    if not isinstance(identity, str):
                        raise ValueError(f"event.id: expected text; found {identity!r}")
                    operations.append(Operation(index, identity, document, name == self._names.bodies))
                except (KeyError, TypeError, ValueError) as error:
                    rejected.append(Rejected(document, f"no index for it: {error!r}"))
        refused = {index: self._setup.ensure(index) for index in {each.index for each in operations}}
        if why := next((why for why in refused.values() if why is not None), None):
            log.warning("%s", why)
            if all(refused.values()):
                raise StoreUnavailable(why)
        taken = [each for each in operations if refused[each.index] is None]
        unseen = self._unseen(taken)
        done = self._bulk(unseen)
        stored = done.stored + sum(not each.body for each in taken) - sum(not each.body for each in unseen)
        later = [each.document for each in operations if refused[each.index] is not None]
        return Appended(stored, [*done.retry, *later], [*rejected, *done.rejected])

    def _place(self, name: str, timestamp: str) -> str:
        """The index of a document. Raises ValueError where its time is none in UTC."""
        return daily(name, timestamp)

    def _everywhere(self, name: str) -> str:
        """All of what is kept under that name."""
        return f"{name}-*"

    def _unseen(self, operations: Sequence[Operation]) -> Sequence[Operation]:
        """Those that may have to be sent: a day's index itself refuses what it has."""
        return operations

    def _bulk(self, operations: Sequence[Operation]) -> Appended:
        """One bulk request; one that is refused as a whole is halved until the culprit stands alone."""
        if not operations:
            return Appended(0)
        try:
            with asking():
                lines = [line for operation in operations for line in operation.lines]
                answer = self._client.bulk(operations=lines, refresh=self._refresh, **self._bulk_words)
        except Refused as error:
            if len(operations) == 1:
                return Appended(0, rejected=[Rejected(operations[0].document, str(error))])
            middle = len(operations) // 2
            first, second = self._bulk(operations[:middle]), self._bulk(operations[middle:])
            return Appended(
                first.stored + second.stored,
                [*first.retry, *second.retry],
                [*first.rejected, *second.rejected],
            )
        return _sort_out(operations, items_of(answer, len(operations)))

    def search(self, where: Filter, size: int = 50, cursor: str | None = None) -> Page:
        order = {"order": "desc", "format": "strict_date_optional_time_nanos"}
        with asking():
            answer = self._search_days(
                {"event.id", *_used(where)},
                query=query(where),
                size=size,
                sort=[{"@timestamp": order}, {"event.id": {"order": "desc"}}],
                search_after=None if cursor is None else decode(cursor),
                track_total_hits=False,
            )
        hits = answer["hits"]["hits"]
        more = len(hits) == size and size > 0
        reached = parse_rfc3339(hits[-1]["sort"][0]) if more else where.since
        self._days.require(replace(where, since=reached), {"event.id", *_used(where)})
        return Page([hit["_source"] for hit in hits], encode(hits[-1]["sort"]) if more else None)

    def _search(self, **words: Any) -> Any:
        """A search that every shard answers. The shards of a day that has just begun are not there at once. Raises
        StoreUnavailable also for an answer that is none: what it lacks is unknown, and not nothing."""
        for pause in NOT_YET:
            try:
                return whole_search(self._client.search(**{**_EVERY_SHARD, **words}), words)
            except ApiError as error:
                if not is_shard_not_yet_there(error):
                    raise
                time.sleep(pause)
        return whole_search(self._client.search(**{**_EVERY_SHARD, **words}), words)

    def _search_days(self, fields: Collection[str], **words: Any) -> Any:
        """Over all days. One that is closed is passed over only where it was seen to be, and not asked for."""
        for _ in range(2):
            try:
                return self._search(index=self._days.indices(fields), ignore_unavailable=False, **words)
            except ApiError as error:
                if error.message == "index_not_found_exception":
                    return {"hits": {"hits": [], "total": {"value": 0}}}
                if error.message != "index_closed_exception":
                    raise
                self._days.forget()
        return self._search(index=self._names.exchanges, ignore_unavailable=False, **words)

    def count(
        self,
        where: Filter,
        interval: int | None = None,
        by: Sequence[str] = (),
        percentiles: Sequence[float] = (),
    ) -> Sequence[Bucket]:
        fields = {*_used(where), *by, *(("event.duration",) if percentiles else ())}
        self._days.require(where, fields)
        counted = self._counted(where, interval, by, percentiles, fields)
        self._days.require(where, fields)  # a day that was closed meanwhile was seen to be
        return counted

    def _counted(
        self, where: Filter, interval: int | None, by: Sequence[str], percentiles: Sequence[float],
        fields: Collection[str],
    ) -> Sequence[Bucket]:  # fmt: skip
        inner = percentile_aggregation(percentiles)
        if interval is None and not by:
            return self._total(where, fields, inner)
        if interval is not None and _few(where, interval) and not by and not percentiles:
            return self._histogram(where, fields, interval)
        if interval is None and len(by) == 1 and not percentiles and (found := self._terms(where, fields, by[0])):
            return found
        sources: list[Mapping[str, Any]] = [
            {str(i): {"terms": {"field": field, "missing_bucket": True}}} for i, field in enumerate(by)
        ]
        if interval is not None:
            fixed = {"field": "@timestamp", "fixed_interval": milliseconds(interval)}
            sources.insert(0, {"start": {"date_histogram": fixed}})
        buckets = [bucket(found, len(by), where.since or 0) for found in self._composite(where, fields, sources, inner)]
        return sorted(buckets, key=lambda each: (each.start, each.group))

    def _total(self, where: Filter, fields: Collection[str], inner: Mapping[str, Any]) -> Sequence[Bucket]:
        with asking():
            answer = self._search_days(fields, query=query(where), size=0, track_total_hits=True, aggs=inner)
        count = answer["hits"]["total"]["value"]
        return [Bucket(where.since or 0, (), count, values(answer.get("aggregations", {})))] if count else []

    def _histogram(self, where: Filter, fields: Collection[str], interval: int) -> Sequence[Bucket]:
        """Of a span of time alone Elasticsearch reads the answer off its index, whatever the number of events."""
        fixed = {"field": "@timestamp", "fixed_interval": milliseconds(interval), "min_doc_count": 1}
        with asking():
            answer = self._search_days(fields, query=query(where), size=0, aggs={"buckets": {"date_histogram": fixed}})
        found = answer.get("aggregations", {}).get("buckets", {}).get("buckets", [])
        return [Bucket(int(each["key"]) * 1_000_000, (), each["doc_count"]) for each in found]

    def _terms(self, where: Filter, fields: Collection[str], field: str) -> Sequence[Bucket]:
        """Of one field Elasticsearch counts values several times as fast so; empty: they are too many for that."""
        aggregations = {"values": {"terms": {"field": field, "size": BUCKETS}}, "none": {"missing": {"field": field}}}
        with asking():
            answer = self._search_days(fields, query=query(where), size=0, aggs=aggregations)
        found = answer.get("aggregations", {})
        values = found.get("values", {})
        if values.get("sum_other_doc_count", 1) or values.get("doc_count_error_upper_bound", 1):
            return ()
        counts = {str(each["key"]): each["doc_count"] for each in values["buckets"]}
        counts[""] = counts.get("", 0) + found["none"]["doc_count"]
        return [Bucket(where.since or 0, (value,), count) for value, count in sorted(counts.items()) if count]

    def _composite(
        self, where: Filter, fields: Collection[str], sources: Sequence[Mapping[str, Any]], inner: Mapping[str, Any]
    ) -> Iterator[Mapping[str, Any]]:
        """All buckets, a page at a time: Elasticsearch counts, nothing is pulled to be counted here."""
        after: Mapping[str, Any] | None = None
        while True:
            composite = {"size": BUCKETS, "sources": sources, **({"after": after} if after else {})}
            aggregation = {"buckets": {"composite": composite, **({"aggs": inner} if inner else {})}}
            with asking():
                answer = self._search_days(fields, query=query(where), size=0, aggs=aggregation)
            found = answer.get("aggregations", {}).get("buckets", {})
            yield from found.get("buckets", [])
            after = found.get("after_key")
            if after is None:
                return

    def body(self, event_id: str) -> Event | None:
        with asking():
            wanted = {"ids": {"values": [event_id]}}
            answer = self._search(index=self._everywhere(self._names.bodies), query=wanted, size=1)
        hits = answer["hits"]["hits"]
        return self._vault.opened(hits[0]["_source"]) if hits else None

    def bodies(self, event_ids: Sequence[str]) -> Mapping[str, Event]:
        if not event_ids:
            return {}
        with asking():
            wanted = {"ids": {"values": list(event_ids)}}
            answer = self._search(index=self._everywhere(self._names.bodies), query=wanted, size=len(event_ids))
        return {hit["_id"]: self._vault.opened(hit["_source"]) for hit in answer["hits"]["hits"]}

    def drop_before(self, events_before: int, bodies_before: int) -> Iterable[str]:
        dropped: list[str] = []
        holds = self.holds()
        with asking():
            for name, before in ((self._names.exchanges, events_before), (self._names.bodies, bodies_before)):
                for index in sorted(self._client.indices.get_alias(index=f"{name}-*")):
                    end = day_end(name, index)
                    if end is not None and end <= before:
                        self._keep_held(name, index, end, holds)
                        self._client.indices.delete(index=index, ignore_unavailable=True)
                        self._setup.forget(index)
                        dropped.append(index)
            self._let_go(holds)
        return dropped

    def _keep_held(self, name: str, index: str, end: int, holds: Sequence[Hold]) -> None:
        """Copies what is held out of a day that is about to be dropped."""
        if not holds:
            return
        day = Filter(since=end - DAY, until=end)
        self._require_held(day, holds)
        self._copy(name, index, self._names.exchanges, {"bool": {"filter": [query(day), any_of(holds)]}})

    def _require_held(self, when: Filter, holds: Sequence[Hold]) -> None:
        """Raises SpansUnknown where it is unknown what is held. Looked at anew: what is dropped does not come back."""
        self._days.forget()
        self._days.require(when, {"event.id", *(field for hold in holds for field in _used(hold.where))})

    def _copy(self, name: str, index: str, events: str, chosen: Mapping[str, Any]) -> None:
        """Copies these events, or their bodies, out of the index of this name. `events`: where they are."""
        for hits in self._pages(events, chosen):
            ids = [hit["_id"] for hit in hits]
            if name == self._names.bodies:
                hits = self._hits(index, {"ids": {"values": ids}}, len(ids), ignore_unavailable=False)
            lines: list[Mapping[str, Any]] = []
            for hit in hits:
                lines += [{"create": {"_index": f"{name}{HELD}", "_id": hit["_id"]}}, hit["_source"]]
            self._copied(lines)

    def _copied(self, lines: Sequence[Mapping[str, Any]]) -> None:
        if not lines:
            return
        for index in {line["create"]["_index"] for line in lines[::2]}:
            self._made(index)
        answer = self._client.bulk(operations=lines, refresh=True)
        statuses = [item["create"]["status"] for item in items_of(answer, len(lines) // 2)]
        if any(status >= 300 and status != _PRESENT for status in statuses):
            raise StoreUnavailable("what is held could not be copied: the day is not dropped")

    def _let_go(self, holds: Sequence[Hold]) -> None:
        """Removes copies that no hold matches any more. A body goes with its event."""
        gone = {"bool": {"must_not": [any_of(holds)]}} if holds else {"match_all": {}}
        for hits in list(self._pages(f"{self._names.exchanges}{HELD}", gone)):
            ids = [hit["_id"] for hit in hits]
            self._delete(
                [(f"{name}{HELD}", ident) for name in (self._names.exchanges, self._names.bodies) for ident in ids]
            )

    def _pages(self, index: str, wanted: Mapping[str, Any]) -> Iterator[Sequence[Mapping[str, Any]]]:
        after = None
        while hits := self._hits(index, wanted, PAGE, [{"event.id": "asc"}], after):
            yield hits
            after = hits[-1]["sort"]

    def _hits(
        self, index: str, wanted: Mapping[str, Any], size: int, sort: Any = None, after: Any = None,
        ignore_unavailable: bool = True,
    ) -> Sequence[Mapping[str, Any]]:  # fmt: skip
        answer = self._search(
            index=index, query=wanted, size=size, sort=sort, search_after=after, ignore_unavailable=ignore_unavailable
        )
        hits: Sequence[Mapping[str, Any]] = answer["hits"]["hits"]
        return hits

    def _delete(self, places: Sequence[tuple[str, str]]) -> int:
        if not places:
            return 0
        lines = [{"delete": {"_index": index, "_id": ident}} for index, ident in places]
        answer = self._client.bulk(operations=lines, refresh=self._refresh)
        statuses = [item["delete"]["status"] for item in items_of(answer, len(places))]
        if any(status >= 300 and status != 404 for status in statuses):
            raise StoreUnavailable("not all could be removed")
        return sum(status < 300 for status in statuses)

    def erase(self, event_ids: Sequence[str]) -> int:
        erased = 0
        self._days.require_open(self._names.bodies)
        with asking():
            for start in range(0, len(event_ids), PAGE):
                wanted = {"ids": {"values": list(event_ids[start : start + PAGE])}}
                hits = self._hits(self._everywhere(self._names.bodies), wanted, 2 * PAGE)
                erased += self._delete([(hit["_index"], hit["_id"]) for hit in hits])
        return erased

    def hold(self, hold: Hold) -> None:
        self._made(self._names.holds)
        with asking():
            self._client.index(index=self._names.holds, id=hold.id, document=dict(vars(hold)), refresh=True)
            self._setup.lifecycles(True)

    def release(self, ident: str) -> None:
        with asking():
            self._client.options(ignore_status=404).delete(index=self._names.holds, id=ident, refresh=True)
        held = bool(self.holds())
        with asking():
            self._setup.lifecycles(held)

    def holds(self) -> Sequence[Hold]:
        with asking():
            found = [Hold(**hit["_source"]) for hit in self._hits(self._names.holds, {"match_all": {}}, PAGE)]
        return sorted(found, key=lambda hold: (hold.at, hold.id))

    def _made(self, index: str) -> None:
        if why := self._setup.ensure(index):
            raise StoreUnavailable(why)

    def checkpoint(self, segment: str, sequence: int, hash: str) -> None:
        self._made(self._names.checkpoints)
        with asking():
            self._client.options(ignore_status=_PRESENT).index(
                index=self._names.checkpoints,
                id=segment,
                document={"segment": segment, "sequence": sequence, "hash": hash},
                version=sequence,
                version_type="external_gte",
                refresh=self._refresh,
            )

    def checkpoints(self) -> Sequence[Checkpoint]:
        kept: list[Checkpoint] = []
        while True:
            with asking():
                after = [kept[-1].segment] if kept else None
                answer = self._search(
                    index=self._names.checkpoints, size=PAGE, sort=[{"segment": "asc"}], search_after=after
                )
            hits = answer["hits"]["hits"]
            kept.extend(Checkpoint(**hit["_source"]) for hit in hits)
            if len(hits) < PAGE:
                return kept

    def close(self) -> None:
        self._client.close()


def _few(where: Filter, interval: int) -> bool:
    """Whether a span of time has few buckets; without an end it ends now, and what is empty is no bucket."""
    until = time.time_ns() + DAY if where.until is None else where.until
    return where.since is not None and (until - where.since) // interval < BUCKETS


def _used(where: Filter) -> Collection[str]:
    """The fields that a filter goes by."""
    return {*where.terms, *where.at_most, *(("understudy.words",) if where.text else ())}


def any_of(holds: Sequence[Hold]) -> Mapping[str, Any]:
    return {"bool": {"should": [query(hold.where) for hold in holds], "minimum_should_match": 1}}


_EVERY_SHARD: Final[dict[str, Any]] = {
    "ignore_unavailable": True,
    "allow_no_indices": True,
    "allow_partial_search_results": False,
}
"""No index yet is an empty answer, unless a caller says otherwise; a shard that cannot answer now is StoreUnavailable,
never a smaller count."""


def _sort_out(operations: Sequence[Operation], items: Sequence[Mapping[str, Any]]) -> Appended:
    """Stored, to be tried again, or refused for ever: item by item."""
    stored, retry, rejected = 0, [], []
    for operation, item in zip(operations, items, strict=True):
        result = item["create"]
        status, error = result["status"], result.get("error") or {}
        if status < 300 or status == _PRESENT:
            stored += not operation.body
        elif status in DOCUMENT_AT_FAULT and error.get("type") not in CLUSTER_AT_FAULT:
            rejected.append(Rejected(operation.document, _why(error)))
        else:
            retry.append(operation.document)
    return Appended(stored, retry, rejected)


def _why(error: Mapping[str, Any]) -> str:
    cause = error.get("caused_by") or {}
    return ": ".join(str(part) for part in (error.get("type"), error.get("reason"), cause.get("reason")) if part)
