"""Databases of every release are brought to what this program knows; a later one's is left alone.

`schemas/first` is what the first release left on disk, with a write that still waits for the upstream: SQLite and
PostgreSQL. A release that changes tables adds a folder beside it.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, MetaData, inspect, text

import sidecar.app  # noqa: F401 - declares every table
from alerts.lifecycle import tables as alerts
from dashboard.data import tables as dashboard
from sidecar.settings import Settings
from sidecar.storage import database
from sidecar.storage.migrate import Schema, SchemaError
from tests.support.postgres import cluster, programs
from tests.support.stack import Sidecar, until
from tests.support.upstream import HOLT, Upstream

SCHEMAS = Path(__file__).parent / "schemas"
RELEASES = sorted(folder.name for folder in SCHEMAS.iterdir())
PACKAGES = {
    "sidecar": (database.SCHEMA, database.metadata),
    "alerts": (alerts.SCHEMA, alerts.metadata),
    "dashboard": (dashboard.SCHEMA, dashboard.metadata),
}
STORES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]


@pytest.fixture(params=STORES)
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings of an empty database."""
    if request.param == "sqlite":
        yield Settings(data=tmp_path)
    else:
        with cluster() as url:
            yield Settings(data=tmp_path, database=url)


def differences(engine: Engine, metadata: MetaData) -> list[object]:
    with engine.connect() as connection:
        options = {"include_name": lambda name, kind, _: kind != "table" or name in metadata.tables}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def rows(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        names = inspect(connection).get_table_names()
        return {name: connection.scalar(text(f'SELECT count(*) FROM "{name}"')) or 0 for name in names}


def test_migrations_lead_to_the_tables_that_are_declared(fresh: Settings) -> None:
    engine = database.open_engine(fresh)
    for schema, metadata in PACKAGES.values():
        schema.upgrade(engine)
        assert differences(engine, metadata) == [], (
            f'python -m sidecar.storage.migrations.new {schema.name} "what changes"'
        )
    engine.dispose()


@pytest.mark.parametrize("release", RELEASES)
def test_what_a_release_left_in_sqlite_is_carried_on(release: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("understudy", "alerts"):
        with sqlite3.connect(data / f"{name}.db") as file:
            file.executescript((SCHEMAS / release / f"{name}.sqlite.sql").read_text())
        file.close()
    shutil.copy(SCHEMAS / release / "seal-key", tmp_path / "seal-key")
    settings = Settings(data=data)
    for engine, packages in (
        (database.open_engine(settings), ("sidecar", "dashboard")),
        (database.open_file(data / "alerts.db"), ("alerts",)),
    ):
        carried_on(engine, packages)
    the_write_that_waited_is_sent(data)


@pytest.mark.postgresql
@pytest.mark.parametrize("release", RELEASES)
def test_what_a_release_left_in_postgresql_is_carried_on(release: str, tmp_path: Path) -> None:
    shutil.copy(SCHEMAS / release / "seal-key", tmp_path / "seal-key")
    where = programs()
    with cluster() as url:
        assert where is not None
        psql = [str(where / "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-f", str(SCHEMAS / release / "postgresql.sql")]
        subprocess.run([*psql, url.replace("+psycopg", "")], check=True, capture_output=True, timeout=60)
        carried_on(database.open_engine(Settings(data=tmp_path, database=url)), tuple(PACKAGES))
        the_write_that_waited_is_sent(tmp_path / "data", database=url)


def carried_on(engine: Engine, packages: tuple[str, ...]) -> None:
    before = rows(engine)
    assert sum(before.values()) > 0
    for name in packages:
        schema, metadata = PACKAGES[name]
        schema.upgrade(engine)
        assert differences(engine, metadata) == []
    after = rows(engine)
    assert {name: after[name] for name in before} == before
    engine.dispose()


def the_write_that_waited_is_sent(data: Path, **settings: str) -> None:
    with Upstream() as upstream:
        upstream.state.patients[17] = {"id": 17, "name": "Rex"}
        key = str(data.parent / "seal-key")
        with Sidecar(upstream.url, data, workers="1", seal_key=key, late_effect="1s", **settings) as one:
            until(lambda: not one.plane("GET", "/outbox").json()["entries"], 30, "the outbox is empty")
            assert one.ask("GET", "/notes/2000000000", HOLT).json()["title"] == "Waiting"
        assert [row["title"] for row in upstream.state.notes.values()] == ["Waiting"]


def test_of_several_that_start_at_once_one_migrates(fresh: Settings) -> None:
    code = (
        "import sys; from pathlib import Path; from sidecar import app; from sidecar.storage.database import *\n"
        "from sidecar.settings import Settings\n"
        "create_all(open_engine(Settings(data=Path(sys.argv[1]), database=sys.argv[2] or None)))"
    )
    command = [sys.executable, "-c", code, str(fresh.data), fresh.database or ""]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [(process.communicate(timeout=60)[1], process.returncode) for process in running] == [("", 0)] * 4
    engine = database.open_engine(fresh)
    assert rows(engine)[database.SCHEMA.table] == 1
    assert differences(engine, database.metadata) == []
    engine.dispose()


def test_nobody_waits_for_what_a_migration_has_to_read(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sqlalchemy import event\n"
        "from sidecar.storage.database import SCHEMA, open_file\n"
        "engine = open_file(Path(sys.argv[1]))\n"
        "def begins(connection):\n"
        "    if connection.get_execution_options().get('writes', True):\n"
        "        print('alembic.script' in sys.modules)\n"
        "event.listen(engine, 'begin', begins)\n"
        "SCHEMA.upgrade(engine)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "it.db")], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "True\n", done.stderr


MIGRATION = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, readable_from = {this!r}, {before!r}, {readable!r}
def upgrade():
    op.create_table({table!r}, sa.Column("id", sa.Integer, primary_key=True))
    {then}
"""


def test_a_migration_that_breaks_leaves_everything_as_it_was(fresh: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    schema = Schema("probe", folder)
    (folder / "0001_one.py").write_text(
        MIGRATION.format(this="0001", before=None, table="first", then="", readable="0001")
    )
    engine = database.open_engine(fresh)
    schema.upgrade(engine)
    broken = folder / "0002_two.py"
    two = {"this": "0002", "before": "0001", "table": "second", "readable": "0002"}
    broken.write_text(MIGRATION.format(then="raise RuntimeError('no')", **two))
    with pytest.raises(RuntimeError, match="no"):
        schema.upgrade(engine)
    assert rows(engine) == {"first": 0, "probe_schema": 1}
    broken.write_text(MIGRATION.format(then="", **two))
    schema.upgrade(engine)
    assert rows(engine) == {"first": 0, "second": 0, "probe_schema": 1}
    broken.unlink()  # a program of before
    with pytest.raises(SchemaError, match="version 0002, made by a later Understudy.* up to 0001"):
        schema.upgrade(engine)
    engine.dispose()


def test_a_program_of_before_starts_where_every_later_step_says_that_it_can(fresh: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    engine = database.open_engine(fresh)
    program = Schema("probe", folder)

    def step(this: str, before: str | None, readable_from: str) -> Path:
        path = folder / f"{this}_{this}.py"
        path.write_text(MIGRATION.format(this=this, before=before, table=f"t{this}", then="", readable=readable_from))
        return path

    step("0001", None, "0001")
    program.upgrade(engine)
    later = step("0002", "0001", "0001")
    program.upgrade(engine)
    later.rename(tmp_path / later.name)
    program.upgrade(engine)  # the one of before, again
    program.refuse_later(engine)
    assert "probe_schema" in rows(engine)
    with engine.connect() as connection:
        assert program.version(connection) == "0002", "it leaves the tables as they are"
    (tmp_path / later.name).rename(later)
    for number, readable in ((3, "0003"), (4, "0001")):
        latest = step(f"000{number}", f"000{number - 1}", readable)
    program.upgrade(engine)
    latest.rename(tmp_path / latest.name)
    program.upgrade(engine)  # 0003 knows what 0004 left
    (folder / "0003_0003.py").rename(tmp_path / "0003_0003.py")
    with pytest.raises(SchemaError, match="version 0004, made by a later Understudy.* up to 0002"):
        program.upgrade(engine)
    engine.dispose()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_step_says_which_programs_can_work_with_it(package: str) -> None:
    schema, _metadata = PACKAGES[package]
    for version in schema.known():
        assert schema.readable_from(version) <= version


@pytest.mark.parametrize("words", [("sidecar",), ("sidecar", "--check"), ("dashboard",), ("alerts", "list")])
def test_a_later_schema_is_refused_in_one_line(words: tuple[str, ...], tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    for name, file in (("sidecar", "understudy"), ("dashboard", "understudy"), ("alerts", "alerts")):
        engine = database.open_file(settings.data / f"{file}.db")
        PACKAGES[name][0].upgrade(engine)
        with engine.begin() as connection:
            connection.execute(
                text(f"UPDATE {PACKAGES[name][0].table} SET version_num = '9999', readable_from = '9999'")
            )
        engine.dispose()
    environ = {"UNDERSTUDY_DATA": str(tmp_path), "UNDERSTUDY_UPSTREAM": "http://127.0.0.1:1", "PATH": "/usr/bin"}
    environ |= {"UNDERSTUDY_LISTEN": "127.0.0.1:0", "UNDERSTUDY_CONTROL_LISTEN": "127.0.0.1:0"}
    command = [sys.executable, "-m", "sidecar", *words]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stdout == ""
    package = words[0]
    line = f"understudy: UNDERSTUDY_DATABASE: the {package}'s tables are of version 9999, made by a later Understudy"
    assert [found for found in done.stderr.splitlines() if found.startswith(line)] == [done.stderr.splitlines()[-1]]
