"""Questions to Elasticsearch, and what its answers mean: filters, groups, percentiles, cursors. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sidecar.events.store import Bucket, Filter
from sidecar.events.store.elasticsearch_schema import moment


def query(where: Filter) -> Mapping[str, Any]:
    conditions: list[Mapping[str, Any]] = []
    since = {} if where.since is None else {"gte": moment(where.since)}
    until = {} if where.until is None else {"lt": moment(where.until)}
    if since or until:
        conditions.append({"range": {"@timestamp": {**since, **until, "format": "strict_date_optional_time_nanos"}}})
    conditions.extend(_accepts(field, values) for field, values in where.terms.items())
    conditions.extend({"range": {field: {"lte": most}}} for field, most in where.at_most.items())
    if where.text:
        conditions.append({"match": {"understudy.words": {"query": where.text, "operator": "and"}}})
    return {"bool": {"filter": conditions}}


def _accepts(field: str, values: Sequence[str]) -> Mapping[str, Any]:
    given = {"terms": {field: [value for value in values if value]}}
    if "" not in values:
        return given
    return {
        "bool": {"should": [given, {"bool": {"must_not": [{"exists": {"field": field}}]}}], "minimum_should_match": 1}
    }


def percentile_aggregation(wanted: Sequence[float]) -> Mapping[str, Any]:
    asked = {"field": "event.duration", "percents": list(wanted), "keyed": False}
    return {"duration": {"percentiles": asked}} if wanted else {}


def values(aggregations: Mapping[str, Any]) -> Mapping[float, float]:
    values = aggregations.get("duration", {}).get("values", [])
    return {float(entry["key"]): float(entry["value"]) for entry in values if entry["value"] is not None}


def bucket(found: Mapping[str, Any], groups: int, since: int) -> Bucket:
    """Composite keys are "start" in milliseconds, then "0", "1", … for the groups; a missing value is ""."""
    key = found["key"]
    group = tuple("" if key[str(i)] is None else str(key[str(i)]) for i in range(groups))
    start = int(key["start"]) * 1_000_000 if "start" in key else since
    return Bucket(start, group, found["doc_count"], values(found))


def milliseconds(interval: int) -> str:
    if interval < 1_000_000 or interval % 1_000_000:
        raise ValueError(f"interval: expected whole milliseconds, in nanoseconds; found {interval}")
    return f"{interval // 1_000_000}ms"


def encode(sort: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(sort).encode()).decode()


def decode(cursor: str) -> list[Any]:
    try:
        sort = json.loads(base64.urlsafe_b64decode(cursor))
    except ValueError:
        raise ValueError(f"cursor: expected one of a page before; found {cursor!r}") from None
    if not isinstance(sort, list) or len(sort) != 2:
        raise ValueError(f"cursor: expected one of a page before; found {cursor!r}")
    return sort
