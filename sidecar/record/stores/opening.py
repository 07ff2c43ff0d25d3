"""Which event store it is: Elasticsearch where the settings name one, else the embedded store in DATA."""

from __future__ import annotations

from sidecar.record.stores import EventStore
from sidecar.settings import Settings
from sidecar.vault import open_vault


def open_store(settings: Settings) -> EventStore:
    """The event store that the settings name."""
    if settings.elasticsearch:
        from sidecar.record.stores.elastic import ElasticStore

        return ElasticStore(
            *settings.elasticsearch,
            api_key=settings.elasticsearch_api_key,
            retention=settings.retention,
            body_retention=settings.body_retention,
            vault=open_vault(settings),
        )
    from sidecar.record.stores.embedded import EmbeddedStore

    return EmbeddedStore(settings.data / "events.db", vault=open_vault(settings))
