"""Groups of alerts in PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import delete

from alerts.lifecycle.tables import alerts, deliveries, messages, open_alerts
from sidecar.settings import Settings
from tests.support.postgres import cluster
from tests.unit.alerts.delivery.test_delivery import test_an_outage_is_one_message as keeps_groups
from tests.unit.alerts.delivery.test_delivery import (
    test_what_was_told_long_ago_is_forgotten_and_what_waits_never as forgets,
)


@pytest.mark.postgresql
def test_postgresql_keeps_groups_as_the_file_does(tmp_path: Path) -> None:
    with cluster() as url:
        engine = open_alerts(Settings(data=tmp_path, database=url))
        keeps_groups(engine)
        for table in (alerts, deliveries, messages):
            with engine.begin() as connection:
                connection.execute(delete(table))
        forgets(engine)
        engine.dispose()
