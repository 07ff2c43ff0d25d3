"""Which event store it is: Elasticsearch where the settings name one, else the embedded store in DATA."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sidecar.events.store import Checkpoint, EventStore, StoreUnavailable
from sidecar.settings import PREFIX, SettingError, Settings
from sidecar.storage.encryption import open_vault

log = logging.getLogger(__name__)


def open_store(settings: Settings) -> EventStore:
    """The event store that the settings name."""
    if settings.elasticsearch:
        from sidecar.events.store.elasticsearch import ElasticStore

        if settings.elasticsearch_api_key and settings.elasticsearch_credentials:
            raise SettingError(
                f"{PREFIX}ELASTICSEARCH_CREDENTIALS: expected one of it and {PREFIX}ELASTICSEARCH_API_KEY; found both"
            )
        return ElasticStore(
            *settings.elasticsearch,
            api_key=settings.elasticsearch_api_key,
            basic_auth=settings.elasticsearch_credentials,
            prefix=settings.elasticsearch_prefix,
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
