"""The highest id of a resource is kept as records are added, not found by reading them all."""

from __future__ import annotations

from sqlalchemy import delete

from sidecar.contract import Contract
from sidecar.standby import knowledge
from sidecar.standby.observations import ListSeen, RecordSeen
from sidecar.standby.tables import records
from sidecar.storage.database import open_memory
from sidecar.storage.encryption import VAULT, Vault
from tests.support.tables import lay


def test_the_highest_id_is_kept_and_never_falls() -> None:
    engine = open_memory()
    setattr(engine.dialect, VAULT, Vault())
    lay(engine)
    with engine.begin() as connection:
        for ident in ("7", "120", "8", "abc"):
            knowledge.put_record(connection, RecordSeen("notes", ident, "{}"), 1)
        assert knowledge.highest(connection) == {"notes": 120} == knowledge.count_highest(connection)
        connection.execute(delete(records))
        assert knowledge.highest(connection) == {"notes": 120}
    engine.dispose()


def test_an_id_that_was_asked_for_in_vain_is_none_until_a_record_has_it() -> None:
    """Somebody mistypes an address: what is made after that is still told from what was there."""
    engine = open_memory()
    setattr(engine.dialect, VAULT, Vault())
    lay(engine)
    with engine.begin() as connection:
        knowledge.put_record(connection, RecordSeen("notes", "7", "{}"), 1)
        knowledge.drop_record(connection, "notes", "99999", 2)
        assert knowledge.highest(connection) == {"notes": 7} == knowledge.count_highest(connection)
        knowledge.put_record(connection, RecordSeen("notes", "99999", "{}"), 3)
        assert knowledge.highest(connection) == {"notes": 99999} == knowledge.count_highest(connection)
        knowledge.drop_record(connection, "notes", "99999", 4)
        assert knowledge.highest(connection) == {"notes": 99999}
    engine.dispose()


def test_a_list_tells_it_too_also_of_an_id_that_was_asked_for_in_vain() -> None:
    engine = open_memory()
    setattr(engine.dialect, VAULT, Vault())
    lay(engine)
    with engine.begin() as connection:
        knowledge.drop_record(connection, "notes", "500", 1)
        seen = [RecordSeen("notes", ident, "{}") for ident in ("7", "500")]
        knowledge.see_list(connection, Contract.load("hosp"), ListSeen("notes", "", seen), "Ann", 2)
        assert knowledge.highest(connection) == {"notes": 500} == knowledge.count_highest(connection)
    engine.dispose()
