"""Brings a database's tables to what this program knows, forward only, whoever comes first.

Promises. Each package's tables have a version of their own, kept beside them; a database of before there were versions
is adopted as it is. All steps are one transaction under the database's writers' lock: of several processes that start
at once, one migrates and the others find it done; one that dies half way leaves the database as it was. Migrations only
add, and each says from which version on a program works with what it leaves (`readable_from`); that is kept beside the
version. So a program of the release before goes on working beside a new one while they are rolled out, may be started
again meanwhile, and may be gone back to. A database that a later program made unreadable to this one is refused, in one
line, and not touched.

`migrations/new.py` writes the next migration from the tables as they are declared now.
"""

from __future__ import annotations

import logging
import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from sidecar.settings import PREFIX, SettingError

if TYPE_CHECKING:
    from alembic.config import Config

log = logging.getLogger(__name__)
MIGRATIONS: Final = Path(__file__).parent / "migrations"
READABLE: Final = "readable_from"
"""The column beside a version: the oldest whose programs work with it."""
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_NAMED: Final = re.compile(r"(\d{4})_\w+\.py")


class SchemaError(SettingError):
    """The database cannot be used by this program as it is."""


class DatabaseAway(SchemaError):
    """The database's server cannot be reached now: it may be a moment later."""


@dataclass(frozen=True)
class Schema:
    """A package's tables: the name of their version's table is made from `name`; `folder` has the migrations."""

    name: str
    folder: Path

    @property
    def table(self) -> str:
        return f"{self.name}_schema"

    def known(self) -> list[str]:
        """The versions that this program knows, in order."""
        return sorted(found[1] for path in self.folder.iterdir() if (found := _NAMED.fullmatch(path.name)))

    def version(self, connection: Connection) -> str | None:
        """The database's version; None where it has none yet. Raises SchemaError for a later one than is known, unless
        that one says that this program can work with it."""
        if not inspect(connection).has_table(self.table):
            return None
        readable_from = READABLE if self._has_readable(connection) else "NULL"
        row = connection.execute(text(f"SELECT version_num, {readable_from} FROM {self.table}")).first()
        if row is None:
            return None
        version, readable = str(row[0]), row[1]
        known = self.known()
        if version not in known and (readable is None or readable > known[-1]):
            raise SchemaError(
                f"{PREFIX}DATABASE: the {self.name}'s tables are of version {version}, made by a later Understudy: this"
                f" one knows versions up to {known[-1]} and leaves them alone"
            )
        return version

    def refuse_later(self, engine: Engine) -> None:
        """Raises SchemaError for a database of a later program, or one that does not answer; changes nothing."""
        try:
            with engine.execution_options(writes=False).connect() as connection, connection.begin():
                self.version(connection)
        except SQLAlchemyError as error:
            refuse_damaged(error, engine.url.database)
            raise SchemaError(f"{PREFIX}DATABASE: it does not answer ({type(error).__name__})") from None

    def upgrade(self, engine: Engine) -> None:
        """Brings the tables to the latest known version. Raises SchemaError, SQLAlchemyError."""
        with engine.execution_options(writes=False).connect() as connection, connection.begin():
            version = self.version(connection)
            if self._is_enough(version):
                if version not in self.known():
                    said, fields = "used as they are", {"event.action": "later_schema", "version": version}
                    log.warning("the %s's tables are of a later version: %s", self.name, said, extra={"fields": fields})
                return
        self.readable_from(self.known()[-1])  # alembic and all steps are loaded before others wait for the lock
        with engine.begin() as connection:
            if not self._is_enough(self.version(connection)):  # another may have been quicker
                self.steps(connection, self.known()[-1])

    def _is_enough(self, version: str | None) -> bool:
        return version is not None and version >= self.known()[-1]

    def steps(self, connection: Connection, target: str) -> None:
        """Runs the migrations up to `target` in the connection's transaction."""
        from alembic import command

        logging.getLogger("alembic").setLevel(logging.WARNING)
        log.info("the %s's tables are brought to version %s", self.name, target)
        command.upgrade(self.config(connection), target)
        if not self._has_readable(connection):
            connection.execute(text(f"ALTER TABLE {self.table} ADD COLUMN {READABLE} VARCHAR(32)"))
        connection.execute(text(f"UPDATE {self.table} SET {READABLE} = :it"), {"it": self.readable_from(target)})

    def _has_readable(self, connection: Connection) -> bool:
        """Whether the version's table has that column: those of before have not."""
        return any(column["name"] == READABLE for column in inspect(connection).get_columns(self.table))

    def readable_from(self, version: str) -> str:
        """The oldest version whose programs work with the tables as this one, and all before it, leave them."""
        from alembic.script import ScriptDirectory

        steps = ScriptDirectory.from_config(self.config()).iterate_revisions(version, "base")
        return max(str(step.module.readable_from) for step in steps)

    def config(self, connection: Connection | None = None) -> Config:
        """alembic's, without a file."""
        from alembic.config import Config

        config = Config(attributes={"connection": connection, "table": self.table})
        config.set_main_option("script_location", str(MIGRATIONS))
        config.set_main_option("version_locations", str(self.folder))
        config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
        config.set_main_option("path_separator", "newline")
        return config


def refuse_damaged(error: SQLAlchemyError, path: str | None = "understudy.db") -> None:
    """Raises SettingError where the error says that an SQLite file is not whole."""
    if isinstance(error, DBAPIError) and getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
        raise SettingError(
            f"{path} is damaged ({error.orig}): put it aside, or restore a backup of it; writes that were accepted and"
            " not yet sent are in it"
        ) from None
