"""StreamStore keeps the event stores' contract in data streams of real nodes of both versions, over rollovers too."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from compose.elasticsearch.node import VERSIONS, Node
from sidecar.events.store import EventStore, Filter, Hold, SpansUnknown, StoreUnavailable
from sidecar.events.store.elasticsearch import ElasticStore
from sidecar.events.store.elasticsearch_fit import LATE, META
from sidecar.events.store.elasticsearch_streams import StreamStore, backing
from tests.contracts.event_store import (
    DAY,
    HOUR,
    NOON,
    SECOND,
    EventStoreContract,
    bodies,
    event,
    everything,
    name,
)
from tests.support.fake_elasticsearch import unrecognized
from tests.support.nodes import prepared

JSON_LINES = "application/x-ndjson"


@pytest.fixture(scope="module", params=VERSIONS)
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node(prepared(request.param), tmp_path_factory.mktemp("elasticsearch"))
    node.start()
    yield node
    node.stop()


PREFIXES = iter(range(10_000))


@pytest.fixture
def store(node: Node) -> Iterator[StreamStore]:
    """Each in streams of its own: those of before stay."""
    store = StreamStore(node.url, refresh=True, prefix=f"understudy{next(PREFIXES)}")
    store._client.cluster.put_settings(persistent={"cluster.max_shards_per_node": 20_000})
    store.install()
    yield store
    store.close()


def roll(store: Any, *streams: str) -> None:
    """The cluster goes on in a new index, as after a day."""
    for stream in streams or (store._names.exchanges, store._names.bodies):
        if backing(store._client, stream):
            store._client.indices.rollover(alias=stream)


@pytest.mark.elasticsearch
class TestContract(EventStoreContract):
    @pytest.fixture
    def store(self, store: StreamStore) -> EventStore:
        return store

    def test_counts_of_time_alone_stay_true_as_events_come_again_and_go(self, store: Any) -> None:
        for number, at in enumerate((NOON - 2 * DAY, NOON - 1, NOON, NOON + 59 * SECOND, NOON + HOUR)):
            self.put(store, event(number, at))
            roll(store)
        store.append([event(2, NOON), event(7, NOON + HOUR + 1)])

        def counted(since: int, until: int) -> dict[int, int]:
            return {each.start: each.count for each in store.count(Filter(since=since, until=until), HOUR)}

        expected = {NOON - 2 * DAY: 1, NOON - HOUR: 1, NOON: 2, NOON + HOUR: 2}
        assert counted(NOON - 3 * DAY, NOON + DAY) == expected
        assert list(store.drop_before(NOON - DAY, 0))
        assert counted(NOON - 3 * DAY, NOON + DAY) == {start: n for start, n in expected.items() if start > NOON - DAY}

    def test_whole_days_are_dropped_by_the_events_own_time(self, store: Any) -> None:
        for number, at in enumerate([NOON - 2 * DAY, NOON - DAY, NOON]):
            store.append([event(number, at)], [bodies(number, at)])
            roll(store)
        there = [
            index
            for stream in (store._names.exchanges, store._names.bodies)
            for index, _ in backing(store._client, stream)
        ]
        dropped = list(store.drop_before(NOON - DAY - HOUR, NOON))
        assert dropped == [there[0], there[4], there[5]]
        assert everything(store, Filter(), 10) == [name(2), name(1)]
        assert [store.body(name(number)) is None for number in range(3)] == [True, True, False]
        assert everything(store, Filter(text="holt"), 10) == [name(2), name(1)]
        assert list(store.drop_before(NOON - DAY - HOUR, NOON)) == []

    def test_what_is_held_outlives_its_day_until_it_is_released(self, store: Any) -> None:
        old = NOON - 3 * DAY
        self.put(store, event(0, old, patient="17"), event(1, old, user="Dr Zorn"), event(2, old + 1))
        store.append([], [bodies(0, old), bodies(1, old), bodies(2, old)])
        roll(store)
        store.append([event(3, patient="17")], [bodies(3)])
        patient = Hold(id="h1", at="2026-03-01", by="Ms Pell", reason="court", patient="17", until=NOON - DAY)
        person = Hold(id="h2", at="2026-03-02", by="Ms Pell", reason="inquiry", user="Dr Zorn", since=old)
        store.hold(patient)
        store.hold(person)
        assert list(store.holds()) == [patient, person]
        assert len(list(store.drop_before(NOON - DAY, NOON - DAY))) == 2
        assert everything(store, Filter(), 10) == [name(3), *sorted([name(0), name(1)], reverse=True)]
        assert [store.body(name(number)) is None for number in range(4)] == [False, False, True, False]
        store.release("h2")
        store.drop_before(NOON - DAY, NOON - DAY)
        assert everything(store, Filter(), 10) == [name(3), name(0)]
        assert [store.body(name(number)) is None for number in range(4)] == [False, True, True, False]


def counted(store: EventStore, since: int | None = None, until: int | None = None) -> int:
    return sum(bucket.count for bucket in store.count(Filter(since=since, until=until), None, ("event.outcome",)))


@pytest.mark.elasticsearch
class TestStreams:
    def test_they_are_data_streams(self, store: Any) -> None:
        store.append([event(1)], [bodies(1)])
        found = store._client.indices.resolve_index(name=f"{store._names.prefix}-*", expand_wildcards="all")
        assert {each["name"] for each in found["data_streams"]} == {store._names.exchanges, store._names.bodies}

    @pytest.mark.parametrize("refresh", [True, False])
    def test_what_is_shipped_again_after_rollovers_is_there_once(self, node: Node, refresh: bool) -> None:
        """Also what no search sees yet. Times of now: they decide where it is looked for."""
        store = StreamStore(node.url, refresh=refresh, prefix=f"understudy{next(PREFIXES)}")
        store.install()
        try:
            for number in range(3):
                batch = [event(each) for each in range(number + 1)]
                appended = store.append(batch, [bodies(each) for each in range(number + 1)])
                assert (appended.stored, list(appended.retry), list(appended.rejected)) == (number + 1, [], [])
                roll(store)
            store._client.indices.refresh(index=f"{store._names.prefix}-*", expand_wildcards=("open", "hidden"))
            assert counted(store) == 3
            hits = store._client.search(index=f"{store._names.bodies}*")["hits"]["total"]["value"]
            assert hits == 3
        finally:
            store.close()

    def test_a_closed_index_is_unknown_for_its_time_and_stops_nothing_else(self, store: Any) -> None:
        later = time.time_ns() + HOUR
        store.append([event(1)])
        roll(store)
        store.append([event(2, later)])
        (first, _), _ = backing(store._client, store._names.exchanges)
        store._client.indices.close(index=first)
        store._days.forget()
        with pytest.raises(SpansUnknown, match=f"{first} is closed"):
            counted(store)
        assert counted(store, since=later - HOUR // 2) == 1
        with pytest.raises(StoreUnavailable, match="closed|cannot be asked what it has"):
            store.append([event(1)])
        store._client.indices.open(index=first)
        store._client.cluster.health(wait_for_status="yellow")
        store._days.forget()
        assert (store.append([event(1)]).stored, counted(store)) == (1, 2)

    @pytest.mark.parametrize("unknown", ["closed", "closed copies", "not indexed"])
    def test_no_held_body_goes_while_its_event_cannot_be_asked_for(self, store: Any, unknown: str) -> None:
        """It is in a stream's index, in the copies of those that were dropped, or in one that got the field late."""
        client, events = store._client, store._names.exchanges
        store.append([event(1, patient="17")], [bodies(1)])
        roll(store)
        store.append([event(2, NOON + DAY)], [bodies(2, NOON + DAY)])
        store.hold(Hold(id="h", at="2026-03-10T12:00:00Z", by="q", reason="r", patient="17"))
        (hiding, _), _ = backing(client, events)
        if unknown == "closed copies":
            hiding = f"{events}-held"
            assert len(list(store.drop_before(NOON + HOUR, 0))) == 1
        if unknown == "not indexed":
            client.indices.put_mapping(index=hiding, meta={META: {LATE: ["understudy.patient.id"]}})
        else:
            client.indices.close(index=hiding)
        with pytest.raises(StoreUnavailable, match=f"index_closed|{hiding} is closed|{hiding} holds events of before"):
            store.drop_before(0, NOON + HOUR)
        assert store.body(name(1)) is not None
        if unknown == "not indexed":
            client.indices.put_mapping(index=hiding, meta={})
        else:
            client.indices.open(index=hiding)
            client.cluster.health(wait_for_status="yellow")
        assert len(list(store.drop_before(0, NOON + HOUR))) == 1
        assert store.body(name(1)) is not None

    def test_a_template_of_higher_priority_is_named_and_nothing_is_lost(self, store: Any) -> None:
        client = store._client
        client.indices.put_index_template(name="company", index_patterns=[f"{store._names.prefix}*"], priority=1000)
        try:
            with pytest.raises(StoreUnavailable, match="higher priority"):
                store.append([event(1)])
        finally:
            client.indices.delete_index_template(name="company")
        assert store.append([event(1)]).stored == 1

    def test_a_parameter_that_a_version_does_not_know_is_told_as_the_fake_tells_it(self, node: Node) -> None:
        request = urllib.request.Request(f"{node.url}/_bulk?xyzzy=true", b"{}\n", {"Content-Type": JSON_LINES})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        with refused.value as answer:
            assert (answer.status, json.load(answer)) == (400, unrecognized("xyzzy"))

    def test_two_deployments_do_not_see_each_other(self, node: Node, store: Any) -> None:
        other = StreamStore(node.url, refresh=True, prefix=f"{store._names.prefix}-ward")
        other.install()
        assert (store.append([event(1)]).stored, other.append([event(1), event(2)], [bodies(1)]).stored) == (1, 2)
        assert (counted(store), counted(other), store.body(name(1))) == (1, 2, None)
        other.close()

    def test_daily_indices_of_before_are_named(self, node: Node) -> None:
        prefix = f"understudy{next(PREFIXES)}"
        daily, streams = ElasticStore(node.url, refresh=True, prefix=prefix), StreamStore(node.url, prefix=prefix)
        daily.install()
        daily.append([event(1)])
        with pytest.raises(StoreUnavailable, match=r"is a daily index: data streams need another ELASTICSEARCH_PREFIX"):
            streams.install()
        assert counted(daily) == 1
        daily.close()
        streams.close()

    def test_installing_again_leaves_a_template_that_somebody_changed(self, store: Any) -> None:
        client, stream = store._client, store._names.exchanges

        def now() -> dict[str, Any]:
            (found,) = client.indices.get_index_template(name=stream)["index_templates"]
            return {key: value for key, value in found["index_template"].items() if "date" not in key}

        ours = now()
        store.install()
        assert now() == ours
        theirs = {**ours, "priority": 501}
        client.indices.put_index_template(name=stream, **{key.removeprefix("_"): each for key, each in theirs.items()})
        store.install()
        assert now()["priority"] == 501
