"""ElasticStore keeps the event stores' contract on real nodes of both versions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compose.elasticsearch.node import VERSIONS, Node
from sidecar.events.store import Checkpoint, EventStore, Filter
from sidecar.events.store.elasticsearch import ElasticStore
from tests.contracts.event_store import DAY, NOON, EventStoreContract, bodies, event, name
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
