"""Nothing is believed of a database whose server was promoted or replaced, before it was brought forward.

A replica that is promoted may lack the last of what was known: it would say of a record that is there that there is
none, and show how others were. So each transaction of an engine fails until somebody has looked after the outbox in
this life of the server (high_water.py), by which all that is known is unverified. Who does that asks with ANY_LIFE.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Engine, event

from sidecar.standby.outbox.entries import GoneBack, is_another_life
from sidecar.storage import incarnation

ANY_LIFE: Final[dict[str, Any]] = {"any_life": True}
"""Execution options of a transaction that is let through."""


def refuse_other_lives(engine: Engine) -> None:
    """From now on a transaction of the engine raises GoneBack as it begins, where that is so."""
    event.listen(engine, "begin", _Life().check)


class _Life:
    def __init__(self) -> None:
        self._known = 0
        """The life in which the outbox was seen to be looked after: it is asked for once."""

    def check(self, connection: Connection) -> None:
        life = incarnation.of(connection)
        if life == self._known or connection.get_execution_options().get("any_life"):
            return
        if is_another_life(connection):
            raise GoneBack("the database's server was promoted or replaced")
        self._known = life
