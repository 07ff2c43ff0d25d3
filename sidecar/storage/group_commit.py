"""Changes that several threads want to make at the same time are made in one transaction.

A transaction costs a turn at the file, a write to the disk, and what is asked at its beginning, however much is done in
it. Whoever comes while one is under way is in the next, with all who have come by then; nobody waits for more to come.

With PostgreSQL each has a transaction of its own: there they run side by side, the server itself writes them to the
disk together, and several changes in one would take their rows' locks in another order than requests do (a deadlock).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

B = TypeVar("B")
R = TypeVar("R")


class GroupCommit(Generic[B]):
    """One per process and purpose.

    `begin` is asked once at the beginning of each transaction, and what it says is given to every change in it; `after`
    is called after each commit, and before anybody's `run` returns.
    """

    def __init__(self, engine: Engine, begin: Callable[[Connection], B], after: Callable[[], None]) -> None:
        self._engine = engine
        self._begin = begin
        self._after = after
        self._alone = engine.dialect.name != "sqlite"
        self._lock = threading.Lock()
        self._line: deque[_Wanted] = deque()
        """All that are not done; the first of them makes the changes of those that are there when it begins."""

    def run(self, change: Callable[[Connection, B], R]) -> R:
        """Makes the change, and returns what it returns, once it is committed. Raises what it raises; then nothing of
        it was done. It may be called again, in another transaction, where a change beside it has failed."""
        mine = _Wanted(change)
        if self._alone:
            self._make((mine,))
        else:
            self._await(mine)
        if mine.error is not None:
            raise mine.error
        return cast(R, mine.value)

    def _await(self, mine: _Wanted) -> None:
        """Makes it with others': theirs too, where it is the first in line."""
        with self._lock:
            self._line.append(mine)
            leads = self._line[0] is mine
        if not leads:
            mine.woken.wait()
        if not mine.done:
            self._lead()

    def _lead(self) -> None:
        with self._lock:
            batch = tuple(self._line)
        try:
            self._make(batch)
        except BaseException as error:
            for each in batch:
                each.error = error
            raise
        finally:
            with self._lock:
                for each in batch:
                    self._line.popleft()
                    each.done = True
                following = tuple(self._line)[:1]
            for each in (*batch, *following):
                each.woken.set()

    def _make(self, batch: Sequence[_Wanted]) -> None:
        """Together; each alone where that fails, unless the database is why."""
        try:
            self._transact(batch)
        except OperationalError as error:
            for each in batch:
                each.error = error
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
            else:
                for each in batch:
                    self._make((each,))
        else:
            self._after()

    def _transact(self, batch: Sequence[_Wanted]) -> None:
        with self._engine.begin() as connection:
            begun = self._begin(connection)
            for each in batch:
                each.value = each.change(connection, begun)


class _Wanted:
    """A change, and what became of it."""

    def __init__(self, change: Callable[[Connection, Any], Any]) -> None:
        self.change = change
        self.woken = threading.Event()
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None
