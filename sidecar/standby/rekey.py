"""Once, before anything starts: what the standby keeps is brought under the present key.

What cannot be opened any more and the upstream can tell again is unknown from then on: records are in doubt, remembered
replies forgotten. What nobody can tell again (writes that are not settled, records that the standby owns) is not given
up: the sidecar then refuses to start.
"""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import Engine, Table, select

from sidecar.settings import PREFIX, SettingError
from sidecar.standby.literals import literals
from sidecar.standby.outbox.entries import UNSETTLED, State, outbox
from sidecar.standby.tables import DOUBT, calls, owners, records, replies
from sidecar.storage.encrypted_columns import give_up, rekey
from sidecar.storage.encryption import Vault

log = logging.getLogger(__name__)


def lock_up(engine: Engine, vault: Vault) -> None:
    """Raises SettingError for what must not be lost."""
    lost = rekey(engine, vault, (records, replies, calls, literals, outbox))
    if not lost:
        return
    with engine.begin() as connection:
        owned = set(connection.scalars(select(owners.c.type)))
        unsettled = set(connection.scalars(select(outbox.c.seq).where(outbox.c.state.in_((*UNSETTLED, State.OWNED)))))
        dear = [row for table, row in lost if _is_dear(table, row, owned, unsettled)]
        if dear:
            raise SettingError(
                f"{PREFIX}ENCRYPTION_KEYS: {len(dear)} records that the standby owns, or writes that are not settled,"
                " cannot be opened with the keys given"
            )
        for table, row in lost:
            give_up(connection, table, row, _instead(table))
    fields = {"event.action": "key_missing", "rows": len(lost)}
    log.warning("what no key opens is unknown from now on", extra={"fields": fields})


def _is_dear(table: Table, row: Any, owned: set[str], unsettled: set[int]) -> bool:
    if table is records:
        return row.type in owned
    return table is outbox and row.seq in unsettled


def _instead(table: Table) -> dict[str, Any] | None:
    """What takes the place of values that cannot be opened; None: the row goes."""
    if table is records:
        return {"state": DOUBT, "body": None}
    return {"fields": "{}", "body": None, "base": None, "theirs": None, "proposal": None} if table is outbox else None
