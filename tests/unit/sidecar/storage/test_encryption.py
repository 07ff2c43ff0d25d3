"""Encryption at rest: nothing of a body is in the clear, keys are rotated, and what cannot be opened is unknown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from sidecar.events.store import Filter
from sidecar.events.store.factory import open_store
from sidecar.settings import SettingError, Settings
from sidecar.standby.rekey import lock_up
from sidecar.standby.tables import DOUBT, KNOWN, calls, owners, records
from sidecar.storage.database import create_all, open_engine
from sidecar.storage.encryption import Locked, Vault, open_vault
from tests.support.postgres import cluster
from tests.support.stack import Sidecar, until
from tests.support.upstream import HOLT, Upstream

OLD, NEW = b"1" * 32, b"2" * 32
SECRET = "Limps-since-Tuesday"


@given(st.text(), st.text())
def test_what_was_closed_opens_only_for_what_it_is_about(said: str, about: str) -> None:
    vault = Vault([NEW])
    closed = vault.close(said, about)
    assert closed.startswith(str(vault.head))
    assert vault.open(closed, about) == said
    with pytest.raises(Locked):
        vault.open(closed, about + "x")


def test_old_keys_open_and_the_first_closes() -> None:
    closed = Vault([OLD]).close("x", "a")
    both = Vault([NEW, OLD])
    assert (both.open(closed, "a"), both.open("in the clear", "a")) == ("x", "in the clear")
    assert both.head == Vault([NEW]).head
    with pytest.raises(Locked, match="there is no key"):
        Vault([NEW]).open(closed, "a")
    with pytest.raises(Locked, match="altered"):
        both.open(closed[:-4] + "AAAA", "a")
    assert Vault([OLD], closes=False).close("x", "a") == "x"


@pytest.mark.parametrize("content", ["", "short", "none", f"{OLD.hex()} {OLD.hex()[:-1]}"])
def test_keys_that_are_none_are_told_without_repeating_them(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys").write_text(content)
    with pytest.raises(SettingError, match="ENCRYPTION_KEYS: .*expected lines of 64 hexadecimal digits") as told:
        open_vault(Settings(encryption_keys=tmp_path / "keys"))
    assert OLD.hex()[:-1] not in str(told.value)


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


def keys(path: Path, *lines: str, database: str | None = None) -> Settings:
    path.write_text("\n".join(lines))
    return Settings(data=path.parent / "data", encryption_keys=path, database=database)


def put(settings: Settings) -> None:
    engine = open_engine(settings)
    create_all(engine)
    lock_up(engine, open_vault(settings))
    with engine.begin() as connection:
        row = {"type": "notes", "id": "1", "state": KNOWN, "body": f'{{"title":"{SECRET}"}}', "stamp": 1, "observed": 1}
        connection.execute(records.insert().values(row))
        call = {"endpoint": "e", "input": "i", "status": 200, "content_type": "", "body": b"\xff\x00" + SECRET.encode()}
        connection.execute(calls.insert().values({**call, "observed": 1}))
    engine.dispose()


def held(settings: Settings) -> tuple[str | None, str | None, list[bytes]]:
    """After a start with these settings: the record's state and body, and the replies remembered."""
    engine = open_engine(settings)
    lock_up(engine, open_vault(settings))
    with engine.begin() as connection:
        row = connection.execute(records.select()).one()
        replies = [row.body for row in connection.execute(calls.select())]
    engine.dispose()
    return row.state, row.body, replies


def test_the_standby_is_brought_under_each_new_key(tmp_path: Path) -> None:
    whole = (KNOWN, f'{{"title":"{SECRET}"}}', [b"\xff\x00" + SECRET.encode()])
    clear = Settings(data=tmp_path / "data")
    put(clear)
    for number, lines in enumerate(([OLD.hex()], [NEW.hex(), OLD.hex()], [NEW.hex()], ["none", NEW.hex()])):
        assert held(keys(tmp_path / f"keys{number}", *lines)) == whole
        raw = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("understudy.db*"))
        assert lines[0] == "none" or b"enc1:" in raw
    assert held(clear) == whole


@pytest.mark.postgresql
def test_in_postgresql_too(tmp_path: Path) -> None:
    whole = (KNOWN, f'{{"title":"{SECRET}"}}', [b"\xff\x00" + SECRET.encode()])
    with cluster() as url:
        put(Settings(data=tmp_path / "data", database=url))
        for number, lines in enumerate(([OLD.hex()], [NEW.hex(), OLD.hex()], ["none", NEW.hex()])):
            assert held(keys(tmp_path / f"keys{number}", *lines, database=url)) == whole
            engine = create_engine(url)
            with engine.connect() as connection:
                raw = f"{connection.scalar(text('SELECT body FROM records'))}"
            engine.dispose()
            assert raw.startswith("enc1:") == (lines[0] != "none")


def test_what_no_key_opens_is_unknown_and_what_only_we_have_is_not_given_up(tmp_path: Path) -> None:
    put(keys(tmp_path / "keys", OLD.hex()))
    without = keys(tmp_path / "others", NEW.hex())
    engine = open_engine(without)
    with engine.begin() as connection:
        connection.execute(owners.insert().values(type="notes", since=1, by="", reason=""))
    with pytest.raises(SettingError, match="1 records that the standby owns"):
        lock_up(engine, open_vault(without))
    with engine.begin() as connection:
        connection.execute(owners.delete())
    engine.dispose()
    assert held(without) == (DOUBT, None, [])


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
        assert sidecar.cli("audit", "verify").returncode == 0
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
