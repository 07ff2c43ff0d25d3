"""The command line changes who may sign in only where that can be noted, and never makes the key that signs notes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from dashboard.auth.access_log import Trail, trail_of
from dashboard.auth.users import Users
from dashboard.cli import dashboard
from dashboard.data import tables
from sidecar.settings import Settings
from sidecar.storage.database import open_engine
from tests.support.tables import lay

PASSWORD = "correct horse battery\n"


class Place:
    """A DATA, in whose database the trail is."""

    def __init__(self, data: Path) -> None:
        self.settings = Settings(data=data)
        self.key = data / "export.key"
        self.engine: Engine = open_engine(self.settings)
        lay(self.engine, tables.SCHEMA)

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(dashboard, words, input=PASSWORD, obj=self.settings)

    def add(self, name: str) -> Result:
        return self.run("user", "add", name, "--password-stdin")

    @property
    def trail(self) -> Trail:
        return trail_of(self.settings, self.engine)

    @property
    def names(self) -> list[str]:
        return [each.name for each in Users(self.engine).all()]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.engine.dispose()


def test_before_the_first_start_a_person_is_added_and_the_key_is_left_to_the_server(place: Place) -> None:
    assert place.add("Ms Pell").exit_code == 0
    assert place.names == ["Ms Pell"]
    assert not place.key.exists()
    place.trail.note("Ms Pell", "10.0.0.1", "sign-in")
    said = place.run("verify-trail")
    assert said.exit_code == 0
    assert "1 older ones were not signed" in said.output
    assert [entry.action for entry in place.trail.latest()] == ["sign-in", "user-add"]


def test_beside_the_servers_key_what_is_done_is_signed(place: Place) -> None:
    place.trail.note("Ms Pell", "10.0.0.1", "sign-in")
    assert place.add("Sam").exit_code == 0
    verdict = place.trail.verify(())
    assert (verdict.ok, verdict.entries, verdict.older) == (True, 2, 0)


@pytest.mark.parametrize("words", [("user", "add", "Sam", "--password-stdin"), ("verify-trail",)])
def test_with_another_data_than_the_servers_nothing_is_done_or_made(place: Place, words: tuple[str, ...]) -> None:
    place.trail.note("Ms Pell", "10.0.0.1", "sign-in")
    place.key.unlink()
    said = place.run(*words)
    assert (said.exit_code, said.output.count("\n")) == (1, 1)
    assert "has no export.key: start the dashboard first, or run this as its user, with its DATA" in said.output
    assert place.names == []
    assert not place.key.exists()


def test_as_somebody_who_may_not_read_the_key_nothing_is_done(place: Place) -> None:
    place.key.mkdir()  # what cannot be read as a file, by root either
    said = place.add("Sam")
    assert (said.exit_code, said.output.count("\n")) == (1, 1)
    assert "run this as the dashboard's user" in said.output
    assert place.names == []


def test_that_the_server_cannot_read_its_key_is_in_its_log(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.key.mkdir()
    with pytest.raises(OSError, match="directory"):
        place.trail.note("Ms Pell", "10.0.0.1", "sign-in")
    assert "nobody can sign in" in caplog.text
