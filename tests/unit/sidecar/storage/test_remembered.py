"""What is remembered is what would be told again, whatever was written between, and by whom."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, delete, event, insert, select, text, update

from sidecar.standby import literals, queries
from sidecar.standby.numbers import bump
from sidecar.standby.tables import KNOWN, collections, meta, owners, records, writes
from sidecar.storage.database import open_file, open_memory
from sidecar.storage.remembered import MOST, recalling, remembers, writing
from tests.support.tables import lay

KINDS, NUMBERS = ("notes", "patients"), range(3)
ASKED = [
    (queries.number, ["a"]), (queries.number, ["verified_since"]), (queries.since, ["notes"]),
    (queries.last_writes, []), (queries.any_unclear, []), (queries.owned_types, []),
    *((queries.touched, [kind]) for kind in ("notes", None)), *((queries.written_after, [at]) for at in (1, 5)),
    *((queries.collection, [kind]) for kind in KINDS),
    *((queries.record, [kind, str(number)]) for kind in KINDS for number in NUMBERS),
    *((queries.written_since, [kind, record, at, but])
      for kind in KINDS for record in ("1", None) for at in (1, 5) for but in ("", "w1")),
]  # fmt: skip
"""Some of the questions that learning asks, with what is asked."""


def put_record(connection: Connection, kind: str, number: int, value: int) -> None:
    found = connection.execute(
        update(records).where(records.c.type == kind, records.c.id == str(number)).values(stamp=value)
    )
    if not found.rowcount:
        row = {"type": kind, "id": str(number), "state": KNOWN, "body": None, "stamp": value, "observed": 0}
        connection.execute(insert(records).values(**row))


def put_collection(connection: Connection, kind: str, number: int, value: int) -> None:
    connection.execute(delete(collections).where(collections.c.type == kind))
    row = {"type": kind, "complete": bool(number), "stamp": value, "observed": 0, "private": False}
    connection.execute(insert(collections).values(**row))


def put_write(connection: Connection, kind: str, number: int, value: int) -> None:
    connection.execute(delete(writes).where(writes.c.id == f"w{number}"))
    row = {"id": f"w{number}", "type": kind, "record": "1" if number else None, "endpoint": "e", "process": "p"}
    row |= {"accepted_at": 0, "started": 0, "ended": value or None, "outcome": "unknown" if value else "open"}
    connection.execute(insert(writes).values(**row))


def put_number(connection: Connection, kind: str, number: int, value: int) -> None:
    bump(connection, ("a", f"touched:{kind}", f"wrote:{kind}")[number], value)


def put_owner(connection: Connection, kind: str, number: int, value: int) -> None:
    connection.execute(delete(owners).where(owners.c.type == kind))
    if number:
        connection.execute(insert(owners).values(type=kind, since=value, by="b", reason="r"))


def in_words(connection: Connection, kind: str, number: int, value: int) -> None:
    connection.execute(text("UPDATE records SET stamp = :value WHERE type = :kind"), {"value": value, "kind": kind})


CHANGES = [put_record, put_collection, put_write, put_number, put_owner, in_words]
CHANGED = st.tuples(
    st.sampled_from(CHANGES), st.sampled_from(KINDS), st.sampled_from(NUMBERS), st.integers(0, 9)
)  # fmt: skip
STEPS = st.lists(
    st.one_of(st.tuples(st.just("ask"), st.sampled_from(ASKED)), st.tuples(st.just("change"), CHANGED)), max_size=40
)


@pytest.fixture(scope="module")
def connection() -> Iterator[Connection]:
    engine = open_memory()
    lay(engine)
    with engine.connect() as connection:
        yield connection


def anew(connection: Connection) -> Connection:
    """What other tests have asked it is forgotten."""
    connection.info.clear()
    return recalling(connection)


@given(steps=STEPS)
def test_what_is_remembered_is_what_would_be_told_again(connection: Connection, steps: list[Any]) -> None:
    with connection.begin() as transaction:
        remembers_it = recalling(connection)
        for step, about in steps:
            if step == "ask":
                question, asked = about
                assert question(remembers_it, *asked) == question(connection, *asked)
            else:
                change, *how = about
                change(remembers_it, *how)
        transaction.rollback()


def test_the_same_is_asked_once_until_its_table_is_written_to(connection: Connection) -> None:
    sent: list[str] = []
    with connection.begin() as transaction:
        remembers_it = anew(connection)
        event.listen(connection, "before_cursor_execute", lambda *told: sent.append(told[2]))
        for _ in range(3):
            queries.collection(remembers_it, "notes")
            queries.record(remembers_it, "notes", "1")
        assert len(sent) == 2
        put_record(remembers_it, "notes", 1, 7)
        del sent[:]
        assert queries.record(remembers_it, "notes", "1").stamp == 7
        queries.collection(remembers_it, "notes")
        assert len(sent) == 1
        transaction.rollback()


def test_what_a_write_tells_nothing_of_is_remembered_despite_it(connection: Connection) -> None:
    about = {"selected": "", "vary": "[]", "status": 200, "headers": "[]", "body": b"", "stamp": 1, "observed": 1}
    sent: list[str] = []
    with connection.begin() as transaction:
        remembers_it = anew(connection)
        event.listen(connection, "before_cursor_execute", lambda *told: sent.append(told[2]))
        for number in range(3):
            assert remembers_it.scalar(literals._ANY_REFUSED) is None
            remembers_it.execute(literals._ADD, {"question": f"q{number}", "endpoint": "notes.read", **about})
        assert sum(each.startswith("SELECT") for each in sent) == 1
        refused = {"question": "r", "endpoint": literals.REFUSED, **about}
        remembers_it.execute(insert(literals.literals).values(**refused))
        assert remembers_it.scalar(literals._ANY_REFUSED) == "r"
        transaction.rollback()


def test_a_statement_in_words_ends_all_that_is_remembered(connection: Connection) -> None:
    with connection.begin() as transaction:
        remembers_it = recalling(connection)
        put_record(remembers_it, "notes", 1, 7)
        assert queries.record(remembers_it, "notes", "1").stamp == 7
        in_words(remembers_it, "notes", 1, 8)
        assert queries.record(remembers_it, "notes", "1").stamp == 8
        transaction.rollback()


def test_what_its_author_did_not_mark_is_asked_each_time(connection: Connection) -> None:
    with connection.begin() as transaction:
        remembers_it = recalling(connection)
        assert remembers(remembers_it)
        assert not remembers(connection)
        every = select(meta.c.name)
        before = remembers_it.scalars(every).all()
        bump(remembers_it, "new", 1)
        assert {*remembers_it.scalars(every)} == {*before, "new"}
        transaction.rollback()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_file(tmp_path_factory.mktemp("remembered") / "standby.sqlite")
    lay(engine)
    yield engine
    engine.dispose()


WAYS = ("another", "itself", "itself, rolled back", "remembered", "remembered, rolled back", "not committed",
        "recalling")  # fmt: skip
"""Who writes: another connection, or the one that recalls; whether it remembers it."""


@given(changes=st.lists(st.tuples(st.sampled_from(WAYS), CHANGED, st.booleans()), max_size=8))
def test_what_a_later_transaction_recalls_is_what_it_would_be_told(file: Engine, changes: list[Any]) -> None:
    with file.connect() as another:
        for way, (change, *how), asks in changes:
            with suppress(ZeroDivisionError), _of(file, another, way) as connection:
                if asks:
                    assert [ask(connection, *of) for ask, of in ASKED]
                change(connection, *how)
                if asks:
                    assert [ask(connection, *of) for ask, of in ASKED]
                if "rolled back" in way:
                    raise ZeroDivisionError
            with file.connect() as one, one.begin():
                recalled = recalling(one)
                assert [ask(recalled, *of) for ask, of in ASKED] == [ask(one, *of) for ask, of in ASKED]


def _fails(_connection: Connection) -> None:
    raise ZeroDivisionError


@contextmanager
def _of(file: Engine, another: Connection, way: str) -> Iterator[Connection]:
    """A transaction of the connection that recalls (the pool gives the one that was given back last), or of another."""
    if way == "another":
        with another.begin():
            yield another
    elif way == "not committed":
        event.listen(file, "commit", _fails)
        try:
            with writing(file) as connection:
                yield connection
        finally:
            event.remove(file, "commit", _fails)
    elif way.startswith("remembered"):
        with writing(file) as connection:
            yield connection
    else:
        with file.begin() as connection:
            yield recalling(connection) if way == "recalling" else connection


def test_what_was_told_is_not_asked_again_until_somebody_writes(file: Engine) -> None:
    sent: list[str] = []
    with file.connect() as one, file.connect() as another:
        event.listen(one, "before_cursor_execute", lambda *told: sent.append(told[2]))

        def asked() -> int:
            del sent[:]
            with one.begin():
                queries.collection(recalling(one), "notes")
            return sum(each.startswith("SELECT") for each in sent)

        asked()
        assert [asked(), asked()] == [0, 0]
        with another.begin():
            put_collection(another, "patients", 1, 5)
        assert [asked(), asked()] == [1, 0]
        with one.begin():
            put_collection(one, "patients", 1, 6)
        assert [asked(), asked()] == [1, 0]


def test_it_does_not_recall_without_bound(file: Engine) -> None:
    with file.connect() as one:
        for number in range(2 * MOST):
            with one.begin():
                queries.record(recalling(one), "notes", str(number))
        kept = [told.by_question for told in one.info.values() if hasattr(told, "by_question")]
        assert 0 < sum(map(len, kept)) <= MOST + 1


def test_what_a_transaction_has_written_is_remembered_by_the_next(file: Engine) -> None:
    sent: list[str] = []
    event.listen(file, "before_cursor_execute", lambda *told: sent.append(told[2]))
    for number in range(3):
        del sent[:]
        with writing(file) as connection:
            queries.collection(connection, "notes")
            queries.record(connection, "notes", "1")
            put_record(connection, "notes", 1, number)
        asked = [each for each in sent if each.startswith("SELECT")]
        assert len(asked) == (2 if number == 0 else 1), "what it does not write itself is known"
