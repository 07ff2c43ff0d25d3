"""Which event store it is: Elasticsearch where the settings name one, else the embedded store in DATA."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sidecar.events.store import Checkpoint, EventStore, StoreUnavailable
from sidecar.settings import Settings
from sidecar.storage.encryption import open_vault

log = logging.getLogger(__name__)


def open_store(settings: Settings) -> EventStore:
    """The event store that the settings name."""
    if settings.elasticsearch:
        from sidecar.events.store.elasticsearch import ElasticStore

        return ElasticStore(
            *settings.elasticsearch,
            api_key=settings.elasticsearch_api_key,
            retention=settings.retention,
            body_retention=settings.body_retention,
            vault=open_vault(settings),
        )
    from sidecar.events.store.sqlite import EmbeddedStore

    return EmbeddedStore(settings.data / "events.db", vault=open_vault(settings))


def kept_checkpoints(settings: Settings) -> Sequence[Checkpoint]:
    """How far journals had come when they were last shipped; empty, with a warning, while the store cannot be asked."""
    store = open_store(settings)
    try:
        return list(store.checkpoints())
    except StoreUnavailable as error:
        log.warning("the event store does not answer: a cut tail would not be noticed (%s)", error)
        return []
    finally:
        store.close()
