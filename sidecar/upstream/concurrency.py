"""The node's places at the upstream, shared by all processes: never more calls in flight than the setting says.

A table in a shared file, one row a place: who took it, for which endpoint, and when. Taking a place is done under a
file lock, which the kernel releases when its holder dies. Nobody waits for that lock: its holder may be a process that
has stood back, and gets no CPU time before those who would wait; whoever finds it held looks again soon. The upstream
does not notice that a caller was killed and works on, so nobody's death frees a place at once: it is free when it is
given back; when its taker is dead, the call has had as long as the slowest of its kind took of late (a second file, of
all processes, says how long), and none was seen to take longer (a third says which were); or when no call can last that
long. The files outlive restarts for the same reason.

A process that is busy keeps a place between two calls (`rest`), which then needs no lock; while it rests it counts as
taken for others, and it is free at once when its process is dead.

Where nodes share a database they share the places too: a node uses no more than its share of them (a fourth file says
how many; `background/sharing.py` keeps it up to date), and all of them where nobody has said so for a while, as when
the database is away.

What is not urgent leaves places free for users: as many as they had of late (a fifth file says how many), at least a
quarter (`few`) and at most half. Whoever comes finds one; and at night, when nobody comes, the outbox drains faster.

An endpoint may hold at most twice what it leaves free (dynamic thresholds, Choudhury and Hahne 1998), and the last
place goes only to one that has none: however many calls of one or two endpoints hang, others find places. While three
endpoints or more have calls there and none of these takes longer than such calls did of late, the last place is not
kept: should two of them hang, what the third has comes back, and is then the last.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar.storage.shared_map import shared_map

ALPHA: Final = 2
ENDPOINTS: Final = 4096
"""Endpoints of which it is kept how long their calls take; of others nobody knows."""
MANY: Final = 3
"""Endpoints with calls under way of which two may hang."""
TOLD: Final = 3_000_000_000
"""Nanoseconds for which a share holds after it was last told: less than others wait for a node that says nothing."""
OF_LATE: Final = 10_000_000_000
"""Nanoseconds for which places are left free for as many users as were there at once."""
FADES: Final = 0.99
"""What is left of the slowest call's time with each further one."""
LOOK: Final = 100_000_000
"""Nanoseconds after which it is looked at again whether the takers of places still live."""
_PLACE: Final = struct.Struct("<IIQ")
"""The taker's pid, the endpoint's number, and when: nanoseconds of the machine's monotonic clock."""
_ROW: Final = _PLACE.size
_RESTS: Final = 0xFFFFFFFF
"""Stands for the endpoint of a place that its process keeps for its next call."""
_FREE: Final = b"\0" * _ROW
_SHARE, _TOLD, _WANTED = range(3)
"""Numbers of the share's file: places, when they were told, and how many were wanted since."""
_MOST, _WHEN = range(2)
"""Numbers of the users' file: how many were there at once, and when they last were."""


_Asked = tuple[tuple[int, ...], int]
"""The endpoints, and the places that were to stay free."""


@dataclass(frozen=True, slots=True)
class _Vain:
    """What was asked for in vain of a table, until one of its places is free because its time is over."""

    table: bytes
    until: int
    asked: frozenset[_Asked]

    def stands(self, table: bytes) -> bool:
        """Whether it would be in vain again."""
        return table == self.table and time.monotonic_ns() < self.until


class Slots:
    """`limit` places for calls that last `longest` seconds at most. `path` is made on first use."""

    def __init__(self, path: Path, limit: int, longest: float) -> None:
        self.limit, self.longest = limit, longest
        self._longest = int(longest * 1e9)
        self._mine: dict[int, bytes] = {}
        self._resting: list[int] = []
        self._table = shared_map(path, limit * _ROW)
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._slowest = _numbers(path.with_name(f"{path.name}-slowest"), ENDPOINTS)
        self._late = _numbers(path.with_name(f"{path.name}-late"), limit)
        self._share = _numbers(path.with_name(f"{path.name}-share"), 3)
        self._users = _numbers(path.with_name(f"{path.name}-users"), 2)
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._vain = _Vain(b"", 0, frozenset())

    def take(self, wanted: Sequence[int], reserve: int = 0) -> tuple[int, int] | None:
        """A place for the first of the endpoints (numbers from 1) in `wanted` that may have one → (place, index).

        `reserve` places stay free: what is not urgent leaves room for users. None also while another process takes one.
        """
        if self._resting and not reserve:
            place = self._resting[-1]
            index = self.pass_on(place, wanted)
            if index is not None:
                return place, index
        asked = (tuple(wanted), reserve)
        vain = self._vain
        if asked in vain.asked and vain.stands(self._table[:]):
            return None  # without the lock: nobody is disturbed by those who wait
        with self._lock:
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            try:
                taken = self._take(wanted, reserve)
                if taken is None:
                    self._note(asked)
                return taken
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)

    def give(self, place: int) -> None:
        """Frees a place taken by this process, unless it took so long that another has it now."""
        row = slice(place * _ROW, (place + 1) * _ROW)
        mine = self._mine.pop(place, None)
        if place in self._resting:
            self._resting.remove(place)
        elif mine is not None:
            self._note_duration(mine)
        if self._table[row] == mine:
            self._table[row] = _FREE

    def rest(self, place: int) -> None:
        """Ends the call in a place taken by this process, and keeps the place for its next one: for a moment, then
        `give` it."""
        mine, start = self._mine.get(place), place * _ROW
        if mine is None or self._table[start : start + _ROW] != mine:
            self.give(place)
            return
        if self.share < self.limit and self.taken() > self.share:
            self.give(place)
            return
        self._note_duration(mine)
        row = _PLACE.pack(self._pid, _RESTS, time.monotonic_ns())
        self._table[start : start + _ROW] = self._mine[place] = row
        self._resting.append(place)

    def give_resting(self) -> None:
        """All that rest."""
        while self._resting:
            self.give(self._resting[-1])

    def pass_on(self, place: int, wanted: Sequence[int]) -> int | None:
        """Gives a place of this process to the first of the endpoints in `wanted` that may have one → its index; None:
        none may. Nobody else can have it in between, so that no lock is needed."""
        mine, start = self._mine.get(place), place * _ROW
        if mine is None or self._table[start : start + _ROW] != mine:
            return None  # it took so long that another has it
        held, prompt = self._held_now()
        held[place] = None
        free = self._free(held)
        if free <= 0:
            self._want(self.limit - held.count(None) + 1)
            return None  # it is another node's now
        for index, endpoint in enumerate(wanted):
            if _may_have(endpoint, held, free, prompt):
                if place in self._resting:
                    self._resting.remove(place)
                else:
                    self._note_duration(mine)
                row = _PLACE.pack(self._pid, endpoint, time.monotonic_ns())
                self._table[start : start + _ROW] = self._mine[place] = row
                return index
        return None

    def _note_duration(self, row: bytes) -> None:
        """Two processes at once may lose one of their notes, and no more."""
        _pid, endpoint, taken = _PLACE.unpack(row)
        if endpoint < ENDPOINTS:
            self._slowest[endpoint] = max(time.monotonic_ns() - taken, int(FADES * self._slowest[endpoint]))

    @property
    def share(self) -> int:
        """Places that this node may use now."""
        age = time.monotonic_ns() - self._share[_TOLD]
        return min(self.limit, self._share[_SHARE]) if 0 <= age < TOLD else self.limit

    def tell_share(self, places: int) -> None:
        """So many are this node's, for the next moments."""
        self._share[_SHARE] = places
        self._share[_TOLD] = time.monotonic_ns()

    def note_users(self, count: int) -> None:
        """So many calls of users are under way or wait. Of several processes the most is kept, not the sum."""
        now = time.monotonic_ns()
        if count >= self._users[_MOST] or not 0 <= now - self._users[_WHEN] < OF_LATE:
            self._users[_MOST], self._users[_WHEN] = count, now

    @property
    def few(self) -> int:
        """A quarter of the node's places, one at least."""
        return max(1, self.share // 4)

    def reserve(self) -> int:
        """Places that stay free for users when others take one."""
        of_late = self._users[_MOST] if 0 <= time.monotonic_ns() - self._users[_WHEN] < OF_LATE else 0
        return min(self.share // 2, max(self.few, of_late))

    def wanted(self) -> int:
        """The most places that the node could have used since this was last asked."""
        most = max(self._share[_WANTED], self.taken())
        self._share[_WANTED] = 0
        return most

    def taken(self) -> int:
        """Places that nobody else may have now, resting ones too."""
        return self.limit - self._held().count(None)

    def in_flight(self) -> int:
        """Places taken now, by any process."""
        return sum(1 for held in self._held() if held not in (None, _RESTS))

    def close(self) -> None:
        self._table.close()
        for numbers in (self._slowest, self._late, self._share, self._users):
            numbers.release()
        os.close(self._file)

    def _take(self, wanted: Sequence[int], reserve: int) -> tuple[int, int] | None:
        held, prompt = self._held_now()
        free = self._free(held)
        self._want(self.limit - held.count(None) + 1)
        if free <= reserve:
            return None
        for index, endpoint in enumerate(wanted):
            if _may_have(endpoint, held, free, prompt):
                place = held.index(None)
                row = _PLACE.pack(self._pid, endpoint, time.monotonic_ns())
                self._table[place * _ROW : (place + 1) * _ROW] = self._mine[place] = row
                if place in self._resting:
                    self._resting.remove(place)
                return place, index
        return None

    def _free(self, held: Sequence[int | None]) -> int:
        """Places that are free, and ours."""
        free = held.count(None)
        return min(free, self.share - (self.limit - free))

    def _want(self, places: int) -> None:
        """Two processes at once may lose one of their notes, and no more."""
        if places > self._share[_WANTED]:
            self._share[_WANTED] = places

    def _note(self, asked: _Asked) -> None:
        table = self._table[:]
        before = self._vain.asked if self._vain.stands(table) else frozenset()
        now = time.monotonic_ns()
        ends = [taken + self._longest for _pid, endpoint, taken in _PLACE.iter_unpack(table) if endpoint]
        until = min((end for end in ends if end > now), default=now)
        until = min(until, now + LOOK)  # a taker may have died
        self._vain = _Vain(table, until, before | {asked})

    def _held(self) -> list[int | None]:
        """The endpoint that each place is for, or None where it is free."""
        return self._held_now()[0]

    def _held_now(self) -> tuple[list[int | None], bool]:
        """`_held`, and whether each call has taken no longer yet than the slowest of its kind did of late."""
        table, now, slowest = self._table[: self.limit * _ROW], time.monotonic_ns(), self._slowest
        held: list[int | None] = []
        lost, unusual, prompt = [], set(), True
        for place, (pid, endpoint, taken) in enumerate(_PLACE.iter_unpack(table)):
            age = now - taken
            if not endpoint or not 0 <= age < self._longest:  # a time to come is of before the machine's last start
                held.append(None)
                continue
            if endpoint == _RESTS:
                lives = pid != self._pid and (age < LOOK or Path(f"/proc/{pid}").exists())
                held.append(_RESTS if lives else None)
                continue
            held.append(endpoint)
            prompt = prompt and endpoint < ENDPOINTS and age <= slowest[endpoint]
            if endpoint < ENDPOINTS and age > slowest[endpoint] > 0:
                if pid == self._pid or Path(f"/proc/{pid}").exists():
                    unusual.add(endpoint)
                    self._late[place] = taken
                elif self._late[place] == taken:
                    unusual.add(endpoint)
                else:
                    lost.append(place)
        for place in lost:  # nobody is left who would give it back, and it has had as long as such calls take
            if held[place] not in unusual:
                held[place] = None
        return held, prompt


def _may_have(endpoint: int, held: Sequence[int | None], free: int, prompt: bool) -> bool:
    """Whether an endpoint may have another of the places that are free. `prompt`: no call takes unusually long."""
    count = held.count(endpoint)
    if count == 0:
        return True
    if free > 1:
        return count < ALPHA * free
    return prompt and len({*held} - {None, _RESTS}) >= MANY


def _numbers(path: Path, count: int) -> memoryview[int]:
    """So many numbers of 64 bits that processes share; the map goes with its last view."""
    return memoryview(shared_map(path, count * 8)).cast("Q")
