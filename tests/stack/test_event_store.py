"""ElasticStore keeps the event stores' contract on real nodes of both versions."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from compose.elasticsearch.node import VERSIONS, Node
from sidecar.events.store import Checkpoint, EventStore, Filter, Hold, SpansUnknown, StoreUnavailable
from sidecar.events.store.elasticsearch import ElasticStore
from tests.contracts.event_store import DAY, NOON, EventStoreContract, bodies, event, ids, name
from tests.support.nodes import prepared

INDICES = "understudy-*"


def node_or_skip(version: str, home: Path) -> Node:
    """A running node."""
    node = Node(prepared(version), home)
    node.start()
    return node


@pytest.fixture(scope="module", params=VERSIONS)
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = node_or_skip(request.param, tmp_path_factory.mktemp("elasticsearch"))
    yield node
    node.stop()


@pytest.fixture
def store(node: Node) -> Iterator[ElasticStore]:
    store = ElasticStore(node.url, refresh=True)
    for index in store._client.indices.get(index=INDICES):
        store._client.indices.delete(index=index)
    store.install()
    yield store
    store.close()


@pytest.mark.elasticsearch
class TestContract(EventStoreContract):
    @pytest.fixture
    def store(self, node: Node, store: ElasticStore) -> EventStore:
        return store

    def test_an_event_lands_in_the_day_of_its_own_time(self, store: Any) -> None:
        store.append([event(1, NOON - 1), event(2, NOON + DAY)], [bodies(1)])
        found = sorted(store._client.indices.get(index=INDICES))
        assert found == [
            "understudy-bodies-2026.03.10",
            "understudy-exchanges-2026.03.10",
            "understudy-exchanges-2026.03.11",
        ]
        assert sorted(store._client.indices.get_alias(name="understudy-exchanges")) == found[1:]

    def test_an_unknown_field_is_kept_and_not_indexed(self, store: Any) -> None:
        given = event(1) | {"labels": {"deep": [{"er": 1}, {"er": "two"}]}}
        assert store.append([given]).stored == 1
        assert list(store.search(Filter()).events) == [given]

    def test_very_long_values_are_not_refused(self, store: Any) -> None:
        given = event(1, path="/" + "é" * 40_000, agent="x" * 40_000)
        assert store.append([given]).stored == 1

    def test_checkpoints_never_go_back(self, store: Any) -> None:
        assert list(store.checkpoints()) == []
        store.checkpoint("b.jsonl", 5, "five")
        store.checkpoint("a.jsonl", 9, "nine")
        store.checkpoint("a.jsonl", 7, "seven")
        store.checkpoint("a.jsonl", 9, "nine")
        assert list(store.checkpoints()) == [Checkpoint("a.jsonl", 9, "nine"), Checkpoint("b.jsonl", 5, "five")]

    def test_a_cluster_at_its_shard_limit_is_tried_again_and_nothing_is_refused(self, store: Any) -> None:
        store.append([event(1)])
        store._client.cluster.put_settings(persistent={"cluster.max_shards_per_node": 1})
        try:
            appended = store.append([event(2), event(3, NOON + DAY)])
        finally:
            store._client.cluster.put_settings(persistent={"cluster.max_shards_per_node": None})
        assert (appended.stored, list(appended.rejected)) == (1, [])
        assert [document["event"]["id"] for document in appended.retry] == [name(3)]

    def test_more_buckets_than_one_page(self, store: Any) -> None:
        store.append([event(number, NOON + number * 1_000_000) for number in range(2500)])
        buckets = store.count(Filter(), 1_000_000)
        assert [bucket.start for bucket in buckets] == [NOON + number * 1_000_000 for number in range(2500)]

    def test_a_value_that_cannot_be_asked_for_is_the_askers_mistake(self, store: Any) -> None:
        store.append([event(1)])
        with pytest.raises(ValueError, match="input string"):
            store.search(Filter(terms={"http.response.status_code": ["ok"]}))

    def test_a_cursor_that_is_none_of_ours_is_named(self, store: Any) -> None:
        with pytest.raises(ValueError, match="cursor: expected one of a page before; found 'made up'"):
            store.search(Filter(), 10, "made up")


FIRST, SECOND = "understudy-exchanges-2026.03.10", "understudy-exchanges-2026.03.11"
COPIES = "understudy-exchanges-held"
BEGIN = NOON - DAY // 2
"""When the first of these days begins."""
BY = ("understudy.endpoint", "event.outcome")
FOREIGN = {"properties": {"event": {"properties": {"id": {"type": "text"}, "outcome": {"type": "text"}}}}}
"""A mapping that somebody else thought of."""


def counted(store: EventStore, since: int = BEGIN, until: int = BEGIN + 2 * DAY) -> int:
    return sum(bucket.count for bucket in store.count(Filter(since=since, until=until), None, BY))


@pytest.mark.elasticsearch
class TestOthersInTheCluster:
    """Templates, mappings and closed days that are not of our making: what cannot be counted is unknown, not zero."""

    @pytest.fixture
    def client(self, store: ElasticStore) -> Iterator[Any]:
        yield store._client
        for each in ("company", "understudy-exchanges"):
            store._client.options(ignore_status=404).indices.delete_index_template(name=each)

    def test_a_template_of_higher_priority_takes_nothing_from_us(self, store: Any, client: Any) -> None:
        company = {"mappings": {**FOREIGN, "dynamic": "strict"}, "settings": {"number_of_shards": 2}}
        client.indices.put_index_template(name="company", index_patterns=["*"], priority=1000, template=company)
        assert store.append([event(1), event(2, NOON + DAY)], [bodies(1)]).stored == 2
        store.checkpoint("a.jsonl", 1, "one")
        store.hold(Hold(id="h", at="2026-03-10T12:00:00Z", by="q", reason="r", user="Dr Holt"))
        assert counted(store) == 2
        assert ids(store.search(Filter(text="notes")).events) == [name(2), name(1)]
        assert (len(store.checkpoints()), len(store.holds())) == (1, 1)
        assert list(store.drop_before(BEGIN + DAY, BEGIN + DAY))
        assert store.body(name(1)) is not None, "what is held was kept"
        assert client.indices.get_settings(index=SECOND)[SECOND]["settings"]["index"]["number_of_shards"] == "2"

    def test_a_template_that_makes_data_streams_is_named(self, store: Any, client: Any) -> None:
        client.indices.put_index_template(name="company", index_patterns=["*"], priority=1000, data_stream={})
        with pytest.raises(StoreUnavailable, match="company"):
            store.append([event(1)])
        assert store.append([], []).stored == 0

    def test_a_day_that_was_made_with_another_mapping_is_unknown_and_the_others_are_not(
        self, store: Any, client: Any
    ) -> None:
        client.indices.create(index=FIRST, mappings=FOREIGN)
        assert store.append([event(1), event(2, NOON + DAY)]).stored == 2
        with pytest.raises(SpansUnknown, match=rf"{FIRST}.*event\.outcome.*text") as unknown:
            counted(store)
        assert unknown.value.spans == ((BEGIN, BEGIN + DAY),)
        assert counted(store, BEGIN + DAY) == 1
        assert sum(each.count for each in store.count(Filter(since=BEGIN, until=BEGIN + DAY), DAY)) == 1

    def test_a_closed_day_is_unknown_and_the_others_are_not(self, store: Any, client: Any) -> None:
        store.append([event(1), event(2, NOON + DAY)])
        assert counted(store) == 2
        client.indices.close(index=FIRST)
        for ask in (
            lambda: counted(store),
            lambda: store.count(Filter(since=BEGIN)),
            lambda: store.count(Filter(since=BEGIN, until=BEGIN + 2 * DAY), DAY),
            lambda: store.search(Filter()),
        ):
            with pytest.raises(SpansUnknown, match=f"{FIRST} is closed") as unknown:
                ask()
            assert unknown.value.spans == ((BEGIN, BEGIN + DAY),)
        assert counted(store, BEGIN + DAY) == 1
        assert ids(store.search(Filter(), 1).events) == [name(2)], "a page that does not reach it"
        client.indices.open(index=FIRST)
        client.cluster.health(index=FIRST, wait_for_status="yellow")
        store._days.forget()
        store.append([event(3, NOON + 1)])
        assert counted(store) == 3

    def test_nothing_is_erased_or_dropped_behind_a_closed_day(self, store: Any, client: Any) -> None:
        store.append([event(1), event(2, NOON + DAY)], [bodies(1), bodies(2, NOON + DAY)])
        store.hold(Hold(id="h", at="2026-03-10T12:00:00Z", by="q", reason="r", user="Dr Holt"))
        client.indices.close(index=[FIRST, "understudy-bodies-2026.03.10"])
        with pytest.raises(StoreUnavailable, match=r"understudy-bodies-2026\.03\.10 is closed"):
            store.erase([name(1), name(2)])
        with pytest.raises(StoreUnavailable, match="closed"):
            store.drop_before(BEGIN + DAY, BEGIN + DAY)
        client.indices.open(index=[FIRST, "understudy-bodies-2026.03.10"])
        client.cluster.health(wait_for_status="yellow")
        store._days.forget()
        assert (counted(store), store.erase([name(1), name(2)])) == (2, 2)

    def test_no_held_body_goes_while_the_copy_of_its_event_is_closed(self, store: Any, client: Any) -> None:
        store.append([event(1)], [bodies(1)])
        store.hold(Hold(id="h", at="2026-03-10T12:00:00Z", by="q", reason="r", user="Dr Holt"))
        assert list(store.drop_before(BEGIN + DAY, 0)) == [FIRST]
        client.indices.close(index=COPIES)
        with pytest.raises(StoreUnavailable, match=f"{COPIES} is closed"):
            store.drop_before(BEGIN + DAY, BEGIN + DAY)
        client.indices.open(index=COPIES)
        client.cluster.health(wait_for_status="yellow")
        assert list(store.drop_before(BEGIN + DAY, BEGIN + DAY)) == ["understudy-bodies-2026.03.10"]
        assert store.body(name(1)) is not None

    def unmapped(self, client: Any) -> None:
        """Days are made without our fields and alias."""
        company = {"mappings": {"dynamic": False}}
        client.indices.put_index_template(name="company", index_patterns=["*"], priority=1000, template=company)

    def test_a_day_of_before_gets_the_fields_and_the_name_that_it_lacks(self, store: Any, client: Any) -> None:
        self.unmapped(client)
        client.indices.create(index=FIRST)
        store.install()
        assert store.append([event(1)]).stored == 1
        assert counted(store) == 1

    def test_what_a_day_held_before_it_had_the_fields_stays_unknown(self, store: Any, client: Any) -> None:
        self.unmapped(client)
        client.index(index=FIRST, id=name(1), document=event(1), refresh=True)
        for _ in range(2):
            store.install()
        store.append([event(2)])
        with pytest.raises(SpansUnknown, match=rf"{FIRST}.*_update_by_query"):
            counted(store)
        client.indices.put_mapping(index=FIRST, meta={})
        store.append([event(3)])
        store._days.forget()
        assert counted(store) == 2

    def test_two_deployments_in_one_cluster_do_not_see_each_other(self, node: Node, store: Any, client: Any) -> None:
        other = ElasticStore(node.url, refresh=True, prefix="understudy-ward")
        try:
            other.install()
            assert (store.append([event(1)]).stored, other.append([event(1), event(2)], [bodies(1)]).stored) == (1, 2)
            assert (counted(store), counted(other)) == (1, 2)
            assert store.body(name(1)) is None
            assert list(other.drop_before(BEGIN + DAY, BEGIN + DAY))
            assert (counted(store), counted(other)) == (1, 0)
        finally:
            client.indices.delete_index_template(name="understudy-ward-*")
            other.close()

    def test_a_template_that_somebody_changed_is_left_as_it_is(self, store: Any, client: Any) -> None:
        theirs = _template(client)
        theirs["template"]["settings"]["index"]["number_of_replicas"] = "3"
        theirs["template"]["settings"]["index"].pop("auto_expand_replicas")
        client.indices.put_index_template(name="understudy-exchanges", **_put(theirs))
        store.install()
        now = _template(client)
        assert now == theirs

    def test_a_template_of_an_earlier_release_that_nobody_changed_is_brought_up_to_date(
        self, store: Any, client: Any
    ) -> None:
        ours = _template(client)
        early = _put(ours)
        early.pop("meta", None)
        del early["template"]["mappings"]["properties"]["understudy"]["properties"]["circuit"]
        client.indices.put_index_template(name="understudy-exchanges", **early)
        store.install()
        now = _template(client)
        assert now == ours


def _template(client: Any) -> dict[str, Any]:
    """As the cluster has it, without when it was put."""
    (found,) = client.indices.get_index_template(name="understudy-exchanges")["index_templates"]
    return {key: value for key, value in found["index_template"].items() if "date" not in key}


def _put(template: dict[str, Any]) -> dict[str, Any]:
    """As it is to be put."""
    names = {"_meta": "meta"}
    return {names.get(key, key): value for key, value in deepcopy(template).items()}
