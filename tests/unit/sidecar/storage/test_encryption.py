"""Encryption at rest: nothing of a body is in the clear, keys are rotated, and what cannot be opened is unknown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.settings import SettingError, Settings
from sidecar.standby.rekey import lock_up
from sidecar.standby.tables import DOUBT, KNOWN, calls, owners, records
from sidecar.storage.database import create_all, open_engine
from sidecar.storage.encryption import Locked, Vault, open_vault

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
