"""Background work, in one process beside the workers: shipping the journal, retention, and backfill when it is due.

It never stands in users' way: its calls upstream take the places that users leave (see `slots`), and when it dies,
users notice nothing.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from sidecar.app import new_upstream, via
from sidecar.contract import Contract
from sidecar.database import open_engine
from sidecar.record.shipper import Shipper
from sidecar.record.stores import EventStore
from sidecar.settings import Settings
from sidecar.standby.backfill import Backfill
from sidecar.standby.standby import Standby
from sidecar.telemetry import setup_sentry

log = logging.getLogger(__name__)
DAY: Final = 86_400 * 10**9


def open_store(settings: Settings) -> EventStore:
    """The event store that the settings name."""
    if settings.elasticsearch:
        from sidecar.record.stores.elastic import ElasticStore

        return ElasticStore(settings.elasticsearch, api_key=settings.elasticsearch_api_key)
    from sidecar.record.stores.embedded import EmbeddedStore

    return EmbeddedStore(settings.data / "events.db")
