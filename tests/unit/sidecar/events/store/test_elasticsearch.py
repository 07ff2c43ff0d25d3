"""ElasticStore keeps the event stores' contract on real nodes of both versions, and says truthfully what failed."""

from __future__ import annotations

import logging
import socket
import urllib.request
from pathlib import Path

import pytest

from sidecar.events.store import Filter, OtherProduct, StoreUnavailable
from sidecar.events.store.elasticsearch import ElasticStore
from sidecar.events.store.elasticsearch_streams import StreamStore
from sidecar.events.store.factory import open_store, refuse_other_products
from sidecar.settings import PREFIX, SettingError, load_settings
from tests.contracts.event_store import DAY, NOON, event, name
from tests.support.fake_elasticsearch import FakeElasticsearch


def unreachable(port: int) -> ElasticStore:
    return ElasticStore(f"http://127.0.0.1:{port}", timeout=1)


def test_every_method_says_unavailable_when_nothing_listens() -> None:
    store = unreachable(9)
    for ask in (
        store.install,
        lambda: store.append([event(1)]),
        lambda: store.search(Filter()),
        lambda: store.count(Filter()),
        lambda: store.count(Filter(), DAY),
        lambda: store.body(name(1)),
        lambda: store.drop_before(NOON, NOON),
        lambda: store.checkpoint("a", 1, "x"),
        store.checkpoints,
    ):
        with pytest.raises(StoreUnavailable, match="Elasticsearch: ConnectionError"):
            ask()
    store.close()


@pytest.mark.parametrize("silent", [False, True])
def test_where_one_node_does_not_answer_the_next_is_asked(silent: bool) -> None:
    """Nothing listens there; or somebody does, and never says a word."""
    with FakeElasticsearch() as fake, socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        if silent:
            other.listen()
        store = ElasticStore(f"http://127.0.0.1:{other.getsockname()[1]}", fake.url, timeout=0.5)
        assert [store.append([event(number)]).stored for number in range(4)] == [1, 1, 1, 1]
        store.close()
    assert sorted(fake.documents()) == sorted(name(number) for number in range(4))


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 502, 503, 504])
def test_an_answer_that_may_pass_is_unavailable(status: int) -> None:
    with FakeElasticsearch() as fake:
        fake.storm(1, status)
        store = ElasticStore(fake.url)
        with pytest.raises(StoreUnavailable, match=str(status)):
            store.append([event(1)])
        assert store.append([event(1)]).stored == 1
        store.close()


NOT_THERE_YET = [(503, "search_phase_execution_exception"), (404, "illegal_index_shard_state_exception")]
"""A day's first shards are being made: once they have no place, then they are not started."""


def test_a_search_waits_for_the_shards_of_a_day_that_has_just_begun() -> None:
    with FakeElasticsearch() as fake:
        fake.search_failures = list(NOT_THERE_YET)
        store = ElasticStore(fake.url)
        assert store.checkpoints() == []
        fake.search_failures = NOT_THERE_YET * 4
        with pytest.raises(StoreUnavailable, match="illegal_index_shard_state"):
            store.checkpoints()
        store.close()


def test_only_items_that_failed_for_now_are_to_be_retried() -> None:
    with FakeElasticsearch() as fake:
        fake.item_failures = {name(1): [429], name(2): [503], name(3): [400]}
        store = ElasticStore(fake.url)
        appended = store.append([event(number) for number in range(5)])
        store.close()
    assert appended.stored == 2
    assert [document["event"]["id"] for document in appended.retry] == [name(1), name(2)]
    assert [refused.document["event"]["id"] for refused in appended.rejected] == [name(3)]


def test_a_batch_refused_as_a_whole_is_halved_until_the_culprit_stands_alone() -> None:
    with FakeElasticsearch() as fake:
        fake.poison = name(3)
        store = ElasticStore(fake.url)
        appended = store.append([event(number) for number in range(8)])
        store.close()
    assert appended.stored == 7
    assert [refused.document["event"]["id"] for refused in appended.rejected] == [name(3)]
    assert sorted(fake.documents()) == sorted(name(number) for number in range(8) if number != 3)


SIGNED = {
    "ELASTICSEARCH_CREDENTIALS": ("understudy:s3cret:word", "Basic dW5kZXJzdHVkeTpzM2NyZXQ6d29yZA=="),
    "ELASTICSEARCH_API_KEY": ("bm90OnJlYWw=", "ApiKey bm90OnJlYWw="),
}


@pytest.mark.parametrize("name", SIGNED)
def test_a_cluster_is_asked_as_the_settings_say_and_they_are_never_printed(tmp_path: Path, name: str) -> None:
    secret, sent = SIGNED[name]
    with FakeElasticsearch() as fake:
        given = {
            f"{PREFIX}{name}": secret,
            f"{PREFIX}ELASTICSEARCH": fake.url,
            f"{PREFIX}ELASTICSEARCH_PREFIX": "ward-7",
        }
        settings = load_settings({**given, f"{PREFIX}DATA": str(tmp_path)})
        store = open_store(settings)
        store.install()
        assert store.append([event(1)]).stored == 1
        store.close()
    assert fake.signed == {sent}
    assert {index for index, _ in fake.stored} == {"ward-7-exchanges-2026.03.10"}
    assert "s3cret" not in repr(settings)
    assert secret not in repr(settings)


@pytest.mark.parametrize("name", SIGNED)
def test_nothing_that_is_said_of_trouble_has_the_credentials(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    secret, sent = SIGNED[name]
    caplog.set_level(logging.DEBUG)
    said = []
    with FakeElasticsearch() as fake:
        given = {f"{PREFIX}{name}": secret, f"{PREFIX}ELASTICSEARCH": fake.url, f"{PREFIX}DATA": str(tmp_path)}
        store = open_store(load_settings(given))
        for status in (401, 403, 500):
            fake.storm(1, status)
            with pytest.raises(StoreUnavailable) as refused:
                store.append([event(1)])
            said += [str(refused.value), repr(refused.value.__cause__)]
        store.append([event(1)])
        store.close()
    store = open_store(load_settings({**given, f"{PREFIX}ELASTICSEARCH": "http://127.0.0.1:9"}))
    with pytest.raises(StoreUnavailable) as away:
        store.install()
    store.close()
    said += [str(away.value), repr(away.value.__cause__), caplog.text]
    words = {secret, sent, sent.split()[1], *secret.split(":", 1)[1:]} - {"understudy", ""}
    assert fake.signed == {sent}
    assert [word for word in words if any(word in each for each in said)] == []
    assert "/_bulk" in caplog.text, "it was logged"


def test_two_ways_to_sign_in_are_refused(tmp_path: Path) -> None:
    given = {f"{PREFIX}{name}": secret for name, (secret, _) in SIGNED.items()}
    settings = load_settings({**given, f"{PREFIX}ELASTICSEARCH": "http://127.0.0.1:9", f"{PREFIX}DATA": str(tmp_path)})
    with pytest.raises(SettingError, match="ELASTICSEARCH_CREDENTIALS: expected one of it and"):
        open_store(settings)


@pytest.mark.parametrize("prefix", ["Ward", "-ward", "ward*", "understudy-exchanges", "a/b", "w" * 81])
def test_a_prefix_that_is_none_is_refused(prefix: str) -> None:
    with pytest.raises(SettingError, match="ELASTICSEARCH_PREFIX: expected"):
        load_settings({f"{PREFIX}ELASTICSEARCH_PREFIX": prefix})


OPENSEARCH = {
    "name": "node-1",
    "cluster_name": "ward",
    "version": {"distribution": "opensearch", "number": "2.19.1", "build_type": "tar"},
    "tagline": "The OpenSearch Project: https://opensearch.org/",
}
"""What OpenSearch answers GET / with."""


def test_opensearch_is_refused_by_name_at_the_start(tmp_path: Path) -> None:
    with FakeElasticsearch() as fake:
        given = {f"{PREFIX}ELASTICSEARCH": fake.url, f"{PREFIX}DATA": str(tmp_path)}
        settings = load_settings({**given, f"{PREFIX}ELASTICSEARCH_CREDENTIALS": "understudy:s3cret"})
        refuse_other_products(settings)
        fake.product, fake.saying = None, OPENSEARCH
        with pytest.raises(SettingError, match=r"ELASTICSEARCH: what answers is OpenSearch 2\.19\.1") as refused:
            refuse_other_products(settings)
        store = open_store(settings)
        with pytest.raises(OtherProduct, match="OpenSearch"):
            store.install()
        store.close()
        fake.saying = {"status": "down for maintenance"}
        refuse_other_products(settings)
        fake.product, fake.saying = "Elasticsearch", None
        for status in (401, 403, 405):
            fake.word = status
            store = open_store(settings)
            store.install()
            store.close()
        fake.refusing = True
        refuse_other_products(settings)
    refuse_other_products(settings)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("version", "fit"), [("7.17.29", False), ("8.12.2", False), ("8.13.0", True), ("8.19.7", True), ("9.0.0", True)]
)
def test_data_streams_are_refused_by_version_at_the_start(tmp_path: Path, version: str, fit: bool) -> None:
    with FakeElasticsearch() as fake:
        given = {f"{PREFIX}ELASTICSEARCH": fake.url, f"{PREFIX}DATA": str(tmp_path)}
        streams = load_settings({**given, f"{PREFIX}ELASTICSEARCH_DATA_STREAMS": "on"})
        fake.version = version
        refuse_other_products(load_settings(given))
        if fit:
            refuse_other_products(streams)
            return
        why = f"what answers is Elasticsearch {version}: data streams need 8.13 or later, daily indices do not"
        with pytest.raises(SettingError, match=f"ELASTICSEARCH: {why}$"):
            refuse_other_products(streams)
        store = open_store(streams)
        with pytest.raises(OtherProduct, match=why):
            store.install()
        store.close()


def test_where_a_request_is_not_known_nothing_is_lost() -> None:
    """Of a version that did not say what it is."""
    with FakeElasticsearch() as fake:
        fake.unknown = "require_data_stream"
        store = StreamStore(fake.url)
        with pytest.raises(StoreUnavailable, match=r"unrecognized parameter: \[require_data_stream\]"):
            store.append([event(1), event(2)])
        fake.unknown, fake.poison = None, "contains unrecognized parameter"
        appended = store.append([event(1), event(2, path="/?contains unrecognized parameter")])
        store.close()
    assert (appended.stored, len(appended.rejected)) == (1, 1), "what a document says is not what the cluster says"


def test_the_fake_speaks_plain_http() -> None:
    with FakeElasticsearch() as fake, urllib.request.urlopen(f"{fake.url}/_cluster/health", timeout=5) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"status": "ok"},
        {"hits": None},
        {"hits": []},
        {"hits": {}},
        {"hits": {"hits": None}},
        {"hits": {"hits": [1]}, "items": {}},
        {"hits": {"hits": [], "total": {}}, "items": [{"create": None}]},
        {"hits": {"hits": [], "total": {"value": None}}, "items": []},
        [],
        "ok",
    ],
    ids=str,
)
def test_an_answer_that_is_none_is_unavailable_and_never_nothing(said: object) -> None:
    with FakeElasticsearch() as fake:
        store, fake.saying = ElasticStore(fake.url, timeout=5), said
        for ask in (
            lambda: store.append([event(1)]),
            lambda: store.count(Filter()),
            lambda: store.count(Filter(), DAY),
            lambda: store.count(Filter(), by=("user.name",)),
        ):
            with pytest.raises(StoreUnavailable):
                ask()
        listed = said["hits"] if isinstance(said, dict) and isinstance(said.get("hits"), dict) else {}
        for look in (lambda: store.search(Filter()), store.holds, lambda: store.drop_before(NOON, NOON)):
            if listed.get("hits") != []:
                with pytest.raises(StoreUnavailable):
                    look()
        store.close()
