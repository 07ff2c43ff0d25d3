"""What Elasticsearch's answers mean as errors: what may pass is StoreUnavailable, what is wrong with the request itself
is Refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from elastic_transport import TransportError
from elasticsearch import ApiError, BadRequestError, UnsupportedProductError

from sidecar.events.store import StoreUnavailable

DOCUMENT_AT_FAULT: Final = (400, 413)
CLUSTER_AT_FAULT: Final = frozenset({"validation_exception", "index_closed_exception", "cluster_block_exception"})
"""400s that say the cluster is full or closed (its shard limit, say), not that the document is wrong."""


class Refused(ValueError):
    """The request itself is wrong, and asking again would not help: a number was expected, say."""


@contextmanager
def asking() -> Iterator[None]:
    """Around calls of the client: its errors become ours."""
    try:
        yield
    except ApiError as error:
        if error.status_code in DOCUMENT_AT_FAULT and not is_cluster_at_fault(error):
            raise Refused(str(error)) from error
        raise StoreUnavailable(f"Elasticsearch answered {error.status_code}: {error.message}") from error
    except (TransportError, UnsupportedProductError) as error:
        raise StoreUnavailable(f"Elasticsearch: {type(error).__name__}: {error}") from error


def is_cluster_at_fault(error: ApiError) -> bool:
    return isinstance(error, BadRequestError) and error.message in CLUSTER_AT_FAULT
