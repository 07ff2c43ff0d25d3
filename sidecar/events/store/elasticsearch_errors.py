"""What Elasticsearch's answers mean as errors: what may pass, and what is no answer of it at all, is StoreUnavailable;
what is wrong with the request itself is Refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from elastic_transport import TransportError
from elasticsearch import ApiError, BadRequestError, UnsupportedProductError

from sidecar.events.store import OtherProduct, StoreUnavailable

DOCUMENT_AT_FAULT: Final = (400, 413)
CLUSTER_AT_FAULT: Final = frozenset({"validation_exception", "index_closed_exception", "cluster_block_exception"})
"""400s that say the cluster is full or closed (its shard limit, say), not that the document is wrong."""
UNKNOWN_PARAMETER: Final = re.compile(r"request \[\S*\] contains unrecognized parameter")
SHARD_BEING_MADE: Final = "illegal_index_shard_state_exception"


class Refused(ValueError):
    """The request itself is wrong, and asking again would not help: a number was expected, say."""


@contextmanager
def asking() -> Iterator[None]:
    """Around calls of the client: its errors become ours."""
    try:
        yield
    except UnsupportedProductError as error:
        raise _other_product(error.body) from error
    except ApiError as error:
        if error.status_code in DOCUMENT_AT_FAULT and not is_cluster_at_fault(error):
            raise Refused(str(error)) from error
        why = _unknown_parameter(error) or error.message
        raise StoreUnavailable(f"Elasticsearch answered {error.status_code}: {why}") from error
    except TransportError as error:
        raise StoreUnavailable(f"Elasticsearch: {type(error).__name__}: {error}") from error


def _other_product(body: Any) -> StoreUnavailable:
    """OpenSearch names itself in what it says of itself; what names nothing may be a proxy, for the moment."""
    about = body.get("version") if isinstance(body, dict) else None
    if isinstance(about, dict) and about.get("distribution") == "opensearch":
        return OtherProduct(
            f"what answers is OpenSearch {about.get('number', '')}, which cannot keep events: "
            "they are kept in Elasticsearch 8 or 9, or in DATA where nothing is set"
        )
    return StoreUnavailable("what answers is not Elasticsearch, or a proxy before it that takes X-Elastic-Product away")


def is_cluster_at_fault(error: ApiError) -> bool:
    if not isinstance(error, BadRequestError):
        return False
    return error.message in CLUSTER_AT_FAULT or _unknown_parameter(error) is not None


def _unknown_parameter(error: ApiError) -> str | None:
    """What an old version says of a request that it does not know, whatever is sent in it."""
    cause = error.body.get("error") if isinstance(error.body, dict) else None
    reason = cause.get("reason") if isinstance(cause, dict) else None
    return reason if isinstance(reason, str) and UNKNOWN_PARAMETER.match(reason) else None


def is_shard_not_yet_there(error: ApiError) -> bool:
    """Some shard cannot answer at this moment. One that is still being made says so with a 404."""
    return error.status_code == 503 or error.message == SHARD_BEING_MADE


def part(answer: Any, *path: str) -> Any:
    """What an answer has there; the whole object where no path is given. What is no object, or has nothing there, is
    not Elasticsearch's answer."""
    found = answer.body
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    if found is None or (not path and not isinstance(found, dict)):
        raise StoreUnavailable(f"Elasticsearch's answer has no {'.'.join(path) or 'object'}")
    return found


def whole_search(answer: Any, asked: Mapping[str, Any]) -> Any:
    """The answer of a search, which has what every one has: a proxy's JSON has not."""
    hits = answer.get("hits") if isinstance(answer.body, dict) else None
    found = hits.get("hits") if isinstance(hits, dict) else None
    whole = isinstance(found, list) and all(isinstance(hit, dict) for hit in found)
    if whole and asked.get("track_total_hits") is True:
        total = hits.get("total") if isinstance(hits, dict) else None
        whole = isinstance(total, dict) and isinstance(total.get("value"), int)
    if whole and asked.get("aggs") and "aggregations" not in answer:
        whole = (answer.get("_shards") or {}).get("total") == 0  # no index, so nothing to count
    if not whole:
        raise StoreUnavailable("Elasticsearch's answer is not one of a search")
    return answer


def items_of(answer: Any, sent: int) -> Sequence[Mapping[str, Any]]:
    """What a bulk request's answer says of each of its operations."""
    items = answer.get("items") if isinstance(answer.body, dict) else None
    if not isinstance(items, list) or len(items) != sent:
        raise StoreUnavailable("Elasticsearch's answer is not one of a bulk request")
    for item in items:
        said = next(iter(item.values()), None) if isinstance(item, dict) else None
        if not isinstance(said, dict) or not isinstance(said.get("status"), int):
            raise StoreUnavailable("Elasticsearch's answer is not one of a bulk request")
    return items
