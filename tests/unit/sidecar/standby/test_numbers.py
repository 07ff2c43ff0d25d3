"""A number is set, counted and raised by one statement each, whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from sqlalchemy import Connection, Engine

from sidecar.standby import queries
from sidecar.standby.numbers import bump, raise_to
from sidecar.storage.database import open_memory
from sidecar.storage.remembered import writing
from tests.support.tables import lay

Begin = Callable[[Engine], AbstractContextManager[Connection]]


@pytest.mark.parametrize("begin", [Engine.begin, writing], ids=["plain", "remembering"])
def test_a_number_is_set_counted_and_raised(begin: Begin) -> None:
    engine = open_memory()
    lay(engine)
    with begin(engine) as connection:
        assert queries.number(connection, "a") == 0
        assert [bump(connection, "a"), bump(connection, "a"), bump(connection, "b", 7)] == [1, 2, 7]
        assert queries.number(connection, "a") == 2
        assert bump(connection, "b", 3) == 3, "set, though it is less"
        raise_to(connection, {"a": 1, "b": 9, "c": 0})
        assert [queries.number(connection, name) for name in "abc"] == [2, 9, 0]
        raise_to(connection, {"c": 4, "a": 5})
    with begin(engine) as connection:
        assert [queries.number(connection, name) for name in "abc"] == [5, 9, 4]
        assert bump(connection, "b") == 10
