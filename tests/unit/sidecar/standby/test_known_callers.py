"""Who is known: the newest accepted credential of a person alone, and whatever comes, a bounded amount of work."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

from sidecar.clock import stamp
from sidecar.standby import known_callers
from sidecar.standby.known_callers import Callers, Standing
from sidecar.standby.tables import credentials
from sidecar.storage.database import open_file
from tests.support.tables import lay

ANN = "Dr Ann"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_file(tmp_path / "understudy.db")
    lay(engine)
    yield engine
    engine.dispose()


def learn(callers: Callers, user: str, password: str, began: int | None = None) -> None:
    if callers.is_new(user, password, began):
        callers.remember(user, password)


def see_others(callers: Callers, engine: Engine) -> None:
    with engine.connect() as connection:
        callers.refresh(connection)


def test_the_newest_accepted_credential_retires_the_others_in_every_process(engine: Engine) -> None:
    here, there = Callers(engine), Callers(engine)
    learn(here, ANN, "old")
    assert there.check(ANN, "old") is Standing.KNOWN
    learn(here, ANN, "new")
    assert here.check(ANN, "old") is Standing.WRONG
    see_others(there, engine)
    assert there.check(ANN, "old") is Standing.WRONG
    assert there.check(ANN, "new") is Standing.KNOWN


def test_an_older_acceptance_that_comes_late_replaces_nothing(engine: Engine) -> None:
    callers, before = Callers(engine), stamp()
    learn(callers, ANN, "new")
    with engine.begin() as connection:
        callers.forget(connection, ANN)
    learn(callers, ANN, "old", before)
    other = Callers(engine)
    assert other.is_new(ANN, "old", before)  # it has not heard yet
    other.remember(ANN, "old")
    assert callers.check(ANN, "old") is Standing.UNKNOWN
    assert other.check(ANN, "old") is Standing.UNKNOWN


def test_two_good_credentials_of_one_person_do_not_replace_one_another_at_each_request(engine: Engine) -> None:
    callers = Callers(engine)
    learn(callers, ANN, "one")
    learn(callers, ANN, "two")
    assert not callers.is_new(ANN, "one")
    other = Callers(engine)
    learn(other, ANN, "one")
    assert other.check(ANN, "one") is Standing.WRONG
    assert other.check(ANN, "two") is Standing.KNOWN


@pytest.mark.parametrize("spelling", ["DR ANN", " dr ann", "Dr  Ann ", "Dr\tAnn"])
def test_a_revocation_holds_whatever_the_spelling(engine: Engine, spelling: str) -> None:
    callers = Callers(engine)
    learn(callers, spelling, "pw")
    callers.revoke(ANN)
    assert callers.check(spelling, "pw") is Standing.REVOKED
    assert not callers.is_known(spelling, "pw")
    see_others(callers, engine)
    assert callers.is_revoked(spelling)
    callers.restore(spelling)
    see_others(callers, engine)
    assert not callers.is_revoked(ANN)


def test_who_was_not_seen_for_long_is_unknown(engine: Engine) -> None:
    learn(Callers(engine), ANN, "pw")
    long_ago = time.time_ns() - 31 * 86400 * 10**9
    with engine.begin() as connection:
        connection.execute(update(credentials).values(accepted_at=long_ago, seen_at=long_ago))
    assert Callers(engine).check(ANN, "pw") is Standing.UNKNOWN
    Callers(engine).expire()
    with engine.connect() as connection:
        assert connection.execute(select(credentials)).all() == []


def test_what_could_not_be_remembered_is_tried_again(engine: Engine) -> None:
    callers = Callers(engine)
    assert callers.is_new(ANN, "pw")
    assert not callers.is_new(ANN, "pw")
    callers.put_off(ANN, "pw")
    assert callers.is_new(ANN, "pw")


def test_a_refused_guess_takes_nothing_from_who_is_known(engine: Engine) -> None:
    callers = Callers(engine)
    learn(callers, ANN, "pw")
    callers.reject(ANN, "guess")
    assert callers.is_known(ANN, "pw")
    callers.reject(ANN, "pw")
    assert callers.check(ANN, "pw") is Standing.UNKNOWN


def test_guesses_are_looked_at_one_at_a_time_and_a_wrong_one_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn(Callers(engine), ANN, "pw")
    learn(Callers(engine), "Ben", "pw")
    callers, at_once, most, calls = Callers(engine), 0, 0, 0
    lock, real = threading.Lock(), known_callers.check_password_hash

    def watched(stored: str, password: str) -> bool:
        nonlocal at_once, most, calls
        with lock:
            at_once, calls = at_once + 1, calls + 1
            most = max(most, at_once)
        try:
            return real(stored, password)
        finally:
            with lock:
                at_once -= 1

    monkeypatch.setattr(known_callers, "check_password_hash", watched)
    guesses = [threading.Thread(target=callers.check, args=(ANN, f"guess {number % 8}")) for number in range(64)]
    for thread in guesses:
        thread.start()
    assert callers.check("Ben", "pw") is Standing.KNOWN  # an honest one waits for no guess at another's
    for thread in guesses:
        thread.join()
    assert most <= known_callers.AT_ONCE
    assert calls <= 8 + 1


def test_the_memory_of_guesses_is_bounded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_callers, "REMEMBERED", 3)
    callers = Callers(engine)
    for number in range(9):
        callers.is_new(f"u{number}", "pw")
    assert len(callers._accepted) == 3
    assert callers.is_known("u8", "pw")
