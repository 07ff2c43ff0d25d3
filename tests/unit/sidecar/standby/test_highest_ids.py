"""The highest id of a resource is kept as records are added, not found by reading them all."""

from __future__ import annotations

from sqlalchemy import delete

from sidecar.standby import knowledge
from sidecar.standby.observations import RecordSeen
from sidecar.standby.tables import records
from sidecar.storage.database import create_all, open_memory
from sidecar.storage.encryption import VAULT, Vault


def test_the_highest_id_is_kept_and_never_falls() -> None:
    engine = open_memory()
    setattr(engine.dialect, VAULT, Vault())
    create_all(engine)
    with engine.begin() as connection:
        for ident in ("7", "120", "8", "abc"):
            knowledge.put_record(connection, RecordSeen("notes", ident, "{}"), 1)
        assert knowledge.highest(connection) == {"notes": 120} == knowledge.count_highest(connection)
        connection.execute(delete(records))
        assert knowledge.highest(connection) == {"notes": 120}
    engine.dispose()
