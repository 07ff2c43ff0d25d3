"""Another seal key than the one that entries are sealed with is refused, and the refusal says which to put back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, insert

from sidecar.settings import SettingError
from sidecar.standby.outbox import entries as box
from sidecar.standby.outbox.seal_key import fingerprint, refuse_another, remember, shown
from sidecar.standby.outbox.sealing import Seal
from sidecar.storage.database import open_memory
from sidecar.storage.encryption import VAULT, Vault
from tests.support.tables import lay


def seal_entry(connection: Connection, seal: Seal) -> None:
    row = {
        "id": "e1", "endpoint": "notes.create", "type": "notes", "action": "create", "record": "2000000000",
        "user": "Dr Holt", "method": "POST", "target": "/notes", "request_id": "r", "fields": "{}", "whole": False,
        "attempts": 0, "due": 0, "token": 0, "revision": 0, "state": "pending", "sent": False, "accepted_at": 1,
        "sealed": seal.close("e1", [], b"{}"),
    }  # fmt: skip
    connection.execute(insert(box.outbox).values(**row))


@pytest.mark.parametrize("remembered", [True, False])
def test_another_key_is_refused_while_anything_is_sealed(tmp_path: Path, remembered: bool) -> None:
    engine, path = open_memory(), tmp_path / "seal"
    setattr(engine.dialect, VAULT, Vault())
    lay(engine)
    with engine.begin() as connection:
        refuse_another(connection, path, "n1")
        seal_entry(connection, Seal(path))
        if remembered:
            remember(connection, path)
        refuse_another(connection, path, "n1")
        old = path.read_bytes()
        path.unlink()
        with pytest.raises(SettingError, match="put back") as refused:
            refuse_another(connection, path, "n1")
        assert not path.exists()
        assert (shown(fingerprint(old)) in str(refused.value)) is remembered
        path.write_bytes(os.urandom(32))
        with pytest.raises(SettingError, match="another key"):
            refuse_another(connection, path, "n1")
        connection.execute(delete(box.outbox))
        refuse_another(connection, path, "n1")
        remember(connection, path)
        refuse_another(connection, path, "n1")
    engine.dispose()
