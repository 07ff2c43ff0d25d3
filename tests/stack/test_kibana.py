"""Kibana's saved objects: each query of a search or a panel finds something in a real Elasticsearch, by mapped fields.

What Kibana itself makes of them was not tried: it could not be had here. Lens's columns are asked for as Kibana does.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from elasticsearch import Elasticsearch

from compose.elasticsearch.node import VERSIONS, Node
from sidecar.events.store.elasticsearch import ElasticStore
from tests.support.dashboard import seed
from tests.support.nodes import prepared

FILE = Path(__file__).parents[2] / "compose/kibana/understudy.ndjson"
OBJECTS: list[dict[str, Any]] = [json.loads(line) for line in FILE.read_text().splitlines()]
RECORDS = "___records___"


def of(kind: str) -> list[dict[str, Any]]:
    return [found for found in OBJECTS if found["type"] == kind]


def names(objects: list[dict[str, Any]]) -> list[str]:
    return [found["id"] for found in objects]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elasticsearch]:
    """A node with a day's events: answered and failed, of people and about patients, denied and under break-glass."""
    node = Node(prepared(VERSIONS[0]), tmp_path_factory.mktemp("elasticsearch"))
    node.start()
    store = ElasticStore(node.url, refresh=True)
    try:
        store.install()
        dice, now = random.Random(1), time.time_ns()
        made = [seed.event(now - number * 60 * seed.SECOND, dice)[0] for number in range(400)]
        made[1]["understudy"] |= {"verdict": "deny", "findings": ["night"], "break_glass": "0190-1"}
        made += [seed.event(now, dice, status=503, outcome="failure")[0], seed.event(now, dice, outcome="unknown")[0]]
        assert store.append(made).stored == len(made)
        yield store._client
    finally:
        store.close()
        node.stop()


def source(found: dict[str, Any]) -> dict[str, Any]:
    """A search's or a dashboard's query."""
    said: dict[str, Any] = json.loads(found["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
    return said


def asked(query: dict[str, str]) -> dict[str, Any]:
    """As Kibana asks it: within the time that is shown."""
    assert query["language"] == "lucene"
    words = {"query_string": {"query": query["query"], "analyze_wildcard": True}}
    return {"bool": {"must": [words], "filter": [{"range": {"@timestamp": {"gte": "now-24h", "lte": "now"}}}]}}


@pytest.fixture(scope="module")
def index() -> str:
    (view,) = of("index-pattern")
    assert view["attributes"]["timeFieldName"] == "@timestamp"
    return str(view["attributes"]["title"])


@pytest.mark.elasticsearch
@pytest.mark.parametrize("name", names(of("search")))
def test_a_search_finds_something_and_shows_fields_that_are_there(client: Any, index: str, name: str) -> None:
    (found,) = [each for each in of("search") if each["id"] == name]
    answer = client.search(index=index, query=asked(source(found)["query"]), sort=dict(found["attributes"]["sort"]))
    assert answer["hits"]["total"]["value"] > 0
    assert answer["hits"]["total"]["value"] < 402 or "audit" in name, "it says something"
    able = client.field_caps(index=index, fields=found["attributes"]["columns"])["fields"]
    assert set(found["attributes"]["columns"]) <= able.keys()


def aggregation(columns: dict[str, Any]) -> dict[str, Any]:
    """The buckets in the order of the columns, each within the one before; the figures within the innermost."""
    figures, buckets = {}, []
    for name, column in columns.items():
        field, given = column["sourceField"], column["params"]
        match column["operationType"]:
            case "date_histogram":
                buckets.append((name, {"date_histogram": {"field": field, "fixed_interval": "1h"}}))
            case "terms":
                assert given["orderBy"]["columnId"] in columns
                buckets.append((name, {"terms": {"field": field, "size": given["size"]}}))
            case "unique_count":
                figures[name] = {"cardinality": {"field": field}}
            case "percentile":
                figures[name] = {"percentiles": {"field": field, "percents": [given["percentile"]]}}
            case "max":
                figures[name] = {"max": {"field": field}}
            case other:
                assert (other, field) == ("count", RECORDS)
    inner: dict[str, Any] = figures
    for name, how in reversed(buckets):
        inner = {name: {**how, **({"aggs": inner} if inner else {})}}
    return inner


def figures(found: dict[str, Any]) -> Iterator[Any]:
    """What an aggregation's answer counts."""
    for key, value in found.items():
        if isinstance(value, dict):
            yield from figures(value)
        elif isinstance(value, list):
            for each in value:
                yield from figures(each)
        elif key in ("value", "doc_count") or key[:1].isdigit():
            yield value


@pytest.mark.elasticsearch
@pytest.mark.parametrize("name", names(of("lens")))
def test_a_panel_has_figures(client: Any, index: str, name: str) -> None:
    (found,) = [each for each in of("lens") if each["id"] == name]
    state = found["attributes"]["state"]
    (layer,) = state["datasourceStates"]["formBased"]["layers"].values()
    columns = layer["columns"]
    assert layer["columnOrder"] == list(columns)
    answer = client.search(index=index, query=asked(state["query"]), size=0, aggs=aggregation(columns) or None)
    assert answer["hits"]["total"]["value"] > 0
    if wanted := aggregation(columns):
        assert any(figure for figure in figures({key: answer["aggregations"][key] for key in wanted}))
    fields = {column["sourceField"] for column in columns.values()} - {RECORDS}
    if fields:
        able = client.field_caps(index=index, fields=sorted(fields))["fields"]
        assert all(kind["aggregatable"] for field in fields for kind in able[field].values())


def test_what_refers_to_another_finds_it_and_shows_columns_that_are_there() -> None:
    there = {(found["type"], found["id"]) for found in OBJECTS}
    assert len(there) == len(OBJECTS)
    for found in OBJECTS:
        assert {(each["type"], each["id"]) for each in found["references"]} <= there
    (board,) = of("dashboard")
    panels = json.loads(board["attributes"]["panelsJSON"])
    wanted = {f"{panel['panelIndex']}:{panel['panelRefName']}": panel["type"] for panel in panels}
    assert {each["name"]: each["type"] for each in board["references"]} == wanted
    assert {each["id"] for each in board["references"]} >= set(names(of("lens")))
    for found in of("lens"):
        (layer,) = found["attributes"]["state"]["datasourceStates"]["formBased"]["layers"].values()
        assert _shown(found["attributes"]["state"]["visualization"]) == layer["columns"].keys()


def _shown(visualization: dict[str, Any]) -> set[str]:
    """The columns that a visualization draws."""
    if "metricAccessor" in visualization:
        return {visualization["metricAccessor"]}
    if "columns" in visualization:
        return {column["columnId"] for column in visualization["columns"]}
    (layer,) = visualization["layers"]
    return {layer["xAccessor"], *layer["accessors"], *([layer["splitAccessor"]] if "splitAccessor" in layer else [])}


def test_the_full_profile_with_kibana_puts_them_in() -> None:
    service = yaml.safe_load((FILE.parents[1] / "docker-compose.yml").read_text())["services"]["kibana-objects"]
    (mount,) = service["volumes"]
    where, place, _ = mount.split(":")
    assert (FILE.parents[1] / where).resolve() == FILE.parent
    assert f"@{place}/{FILE.name}" in " ".join(service["command"])
