"""Which event store it is: Elasticsearch where the settings name one, else the embedded store in DATA."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sidecar.events.store import Checkpoint, EventStore, OtherProduct, StoreUnavailable
from sidecar.settings import PREFIX, SettingError, Settings
from sidecar.storage.encryption import open_vault

if TYPE_CHECKING:
    from sidecar.events.store.elasticsearch import ElasticStore

log = logging.getLogger(__name__)
LOOK: Final = 1.0
"""Seconds that each node has to say what it is when a sidecar starts."""


def open_store(settings: Settings) -> EventStore:
    """The event store that the settings name."""
    if settings.elasticsearch:
        return _elastic(settings)
    from sidecar.events.store.sqlite import EmbeddedStore

    return EmbeddedStore(settings.data / "events.db", vault=open_vault(settings))


def _elastic(settings: Settings, timeout: float = 10.0) -> ElasticStore:
    from sidecar.events.store.elasticsearch import ElasticStore

    if settings.elasticsearch_api_key and settings.elasticsearch_credentials:
        raise SettingError(
            f"{PREFIX}ELASTICSEARCH_CREDENTIALS: expected one of it and {PREFIX}ELASTICSEARCH_API_KEY; found both"
        )
    return ElasticStore(
        *(settings.elasticsearch or ()),
        api_key=settings.elasticsearch_api_key,
        basic_auth=settings.elasticsearch_credentials,
        prefix=settings.elasticsearch_prefix,
        retention=settings.retention,
        body_retention=settings.body_retention,
        timeout=timeout,
        vault=open_vault(settings),
    )


def refuse_other_products(settings: Settings) -> None:
    """Raises SettingError where ELASTICSEARCH is another product by its own word. Who does not answer within a moment
    may well be Elasticsearch: users are served without it."""
    if not settings.elasticsearch:
        return
    store = _elastic(settings, LOOK)
    try:
        store.require_elasticsearch()
    except OtherProduct as error:
        raise SettingError(f"{PREFIX}ELASTICSEARCH: {error}") from None
    except StoreUnavailable as error:
        log.info("the event store does not answer yet: %s", error)
    finally:
        store.close()


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
