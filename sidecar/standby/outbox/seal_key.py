"""Which key pending writes are sealed with: its fingerprint stands in the database, and another key is refused.

Without this a lost key was made anew in silence, and the writes that the old one had sealed could be sent no more.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, select

from sidecar.clock import stamp
from sidecar.settings import PREFIX, SettingError
from sidecar.standby import queries
from sidecar.standby.numbers import bump
from sidecar.standby.outbox.entries import outbox
from sidecar.standby.outbox.sealing import Seal, SealError
from sidecar.standby.tables import meta
from sidecar.storage.lease import leases

FINGERPRINT: Final = "seal_key"
"""The number in `meta`."""
REPLAY: Final = "replay"
"""The lease that one of the sidecars on a database always holds, as <node>/replay/<pid>."""


def fingerprint(key: bytes) -> int:
    """63 bits that tell one key from another, and nothing of either."""
    return int.from_bytes(sha256(b"understudy seal key\0" + key).digest()[:8], "big") >> 1


def shown(number: int) -> str:
    return f"{number:016x}"


def read(path: Path) -> int | None:
    """The fingerprint of the key in a file; None: there is no file. Raises OSError."""
    try:
        return fingerprint(path.read_bytes())
    except FileNotFoundError:
        return None


def refuse_another(connection: Connection, path: Path, node: str) -> None:
    """Raises SettingError, saying which key to put back, where the key in the file is not the one that this database's
    entries are sealed with. A key may be replaced where nothing is sealed and no other node is alive. Makes nothing."""
    if not inspect(connection).has_table(meta.name):
        return
    wanted, found = queries.number(connection, FINGERPRINT), read(path)
    if wanted and wanted == found:
        return
    has = "which is not there" if found is None else f"which has fingerprint {shown(found)}"
    sealed = connection.execute(
        select(outbox.c.id, outbox.c.sealed).where(outbox.c.sealed.is_not(None)).limit(1)
    ).one_or_none()
    if sealed is not None and (wanted or not _opens(path, found, sealed.id, sealed.sealed)):
        which = f"the key of fingerprint {shown(wanted)}" if wanted else f"the key that opens entry {sealed.id}"
        raise SettingError(
            f"{PREFIX}SEAL_KEY: pending writes are sealed with another key than that of {path}, {has}: put back {which}"
        )
    if wanted and (other := _alive(connection, node)):
        raise SettingError(
            f"{PREFIX}SEAL_KEY: {other} shares this database and seals with the key of fingerprint {shown(wanted)}, not"
            f" with that of {path}, {has}: give this node the same"
        )


def remember(connection: Connection, path: Path) -> None:
    """The key in the file is the database's from now on; after `refuse_another`."""
    found = read(path)
    if found is not None and found != queries.number(connection, FINGERPRINT):
        bump(connection, FINGERPRINT, found)


def _opens(path: Path, found: int | None, ident: str, sealed: bytes) -> bool:
    """Of an entry of before there were fingerprints."""
    if found is None:
        return False
    try:
        Seal(path).open(ident, sealed)
    except SealError:
        return False
    return True


def _alive(connection: Connection, node: str) -> str | None:
    """Another node that works on this database."""
    holder = connection.scalar(select(leases.c.holder).where(leases.c.name == REPLAY, leases.c.until > stamp()))
    name = None if holder is None else str(holder).partition("/")[0]
    return None if name == node else name
