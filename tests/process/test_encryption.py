"""A sidecar with a key: nothing of a body is in the clear, and keys are rotated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.events.store import Filter, StoreUnavailable
from sidecar.events.store.factory import open_store
from sidecar.settings import SettingError, Settings
from sidecar.storage.encryption import open_vault
from tests.support.stack import Sidecar, until
from tests.support.upstream import HOLT, Upstream
from tests.unit.sidecar.storage.test_encryption import NEW, OLD, SECRET


def test_keys_come_from_a_file_that_is_made_or_from_a_command(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    vault = open_vault(Settings(encryption_keys=path))
    assert path.stat().st_mode & 0o777 == 0o600
    printed = open_vault(Settings(encryption_key_command=f"cat {path}"))
    assert printed.open(vault.close("x", "a"), "a") == "x"
    with pytest.raises(SettingError, match="ENCRYPTION_KEY_COMMAND"):
        open_vault(Settings(encryption_key_command="false"))
    with pytest.raises(SettingError, match="found both"):
        open_vault(Settings(encryption_keys=path, encryption_key_command="true"))


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        server.state.patients[17] = {"id": 17, "name": "Rex"}
        yield server


def written(sidecar: Sidecar) -> bytes:
    return b"".join(path.read_bytes() for path in sidecar.data.rglob("*") if path.is_file())


def bodies(settings: Settings) -> str:
    store = open_store(settings)
    try:
        ids = [event["event"]["id"] for event in store.search(Filter(), 500).events]
        return json.dumps(list(store.bodies(ids).values()))
    except StoreUnavailable:  # the sidecar is about to make it
        return ""
    finally:
        store.close()


def test_a_sidecar_with_a_key_writes_no_body_in_the_clear(upstream: Upstream, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    with Sidecar(upstream.url, tmp_path / "data", workers="1", encryption_keys=str(path), bypass_after="1h") as sidecar:
        settings = Settings(data=sidecar.data, encryption_keys=path)
        assert sidecar.ask("POST", "/notes", HOLT, {"title": SECRET, "patient_id": 17}).status == 201
        assert sidecar.ask("GET", "/notes", HOLT).status == 200
        upstream.stop()  # from here on it is answered, and written, by the standby
        until(lambda: SECRET.encode() in sidecar.ask("GET", "/notes/1", HOLT).body, what="the standby knows it")
        assert sidecar.ask("PATCH", "/notes/1", HOLT, {"body": f"{SECRET}, worse"}).status == 200
        until(lambda: "worse" in bodies(settings), what="shipped, and opened with the key")
        assert SECRET.encode() not in written(sidecar)
        done = sidecar.cli("audit", "affected", "--user", "Dr Holt", "--since", "1h")
        assert SECRET in done.stdout
        until(
            lambda: sidecar.cli("audit", "verify").returncode == 0, 30, "the journal is signed, and as it was written"
        )
        first = path.read_text()
        sidecar.stop()
        path.write_text(f"{NEW.hex()}\n{first}")  # rotation: the new key on top
        sidecar.start()
        assert SECRET.encode() in sidecar.ask("GET", "/notes/1", HOLT).body
        assert SECRET.encode() not in written(sidecar)
        lost = tmp_path / "lost"
        lost.write_text(OLD.hex())
        assert "there is no key" in bodies(Settings(data=sidecar.data, encryption_keys=lost))
        environ = {**sidecar.environ, "UNDERSTUDY_ENCRYPTION_KEYS": str(lost)}
        sidecar.environ = environ
        assert "before: unknown" in sidecar.cli("audit", "affected", "--user", "Dr Holt", "--since", "1h").stdout
