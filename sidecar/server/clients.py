"""All clients of a worker: for how long each is waited for, and who makes room when there is no more.

Who waits for the same is kept in the order in which it is due, so that a look costs what is due and no more, also with
ten thousand idle connections.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Final, Protocol

HEAD_TIMEOUT: Final = 10.0
"""Seconds within which the head of a request must be there, from its first byte; a new connection's from its begin."""
KEEPALIVE: Final = 75.0
"""Seconds in which a connection's next request may begin."""
LINGER_CLOSE: Final = 2.0
"""Seconds in which a client may close its side after we have closed ours."""
MOST_HELD: Final = 64 * 1024 * 1024
"""Bytes of all that arrives in a worker; beyond it, who has waited longest makes room."""
MOST_OWED: Final = 256 * 1024 * 1024
"""Bytes of answers that wait for their clients in a worker."""
MOMENT: Final = 1.0
"""Seconds in which a head may be on its way, and a body next to nothing, before its client makes room for others."""
LEAST_RATE: Final = 500
"""Bytes a second of a body, less than which is too slow (Apache's least, too)."""
_MAKES_ROOM: Final = ("closing", "idle", "head", "body")
"""What whoever makes room first waits for."""


class Client(Protocol):
    """One connection (server/http1.py)."""

    phase: str | None
    """What is waited for; None: nothing."""
    due: float
    """Until when, of time.monotonic()."""
    noted: int
    """What of `held` was noted last."""
    owed: int
    """Bytes that it had yet to take, when that was last looked at."""

    @property
    def held(self) -> int:
        """Bytes in memory of what it has sent."""

    @property
    def come(self) -> int:
        """Bytes of its body since it is waited for."""

    @property
    def to_take(self) -> int:
        """Bytes of answers that it has yet to take."""

    def is_late(self) -> None:
        """What is waited for has not come in its time."""

    def abort(self) -> None:
        """Ends it at once."""


class Clients:
    """Of one worker; all on its loop. `most`: connections."""

    def __init__(self, body_timeout: float, write_timeout: float, most: int) -> None:
        self._times = {"head": HEAD_TIMEOUT, "body": body_timeout, "idle": KEEPALIVE, "closing": LINGER_CLOSE}
        self._waiting: dict[str, dict[Client, None]] = {phase: {} for phase in self._times}
        self._owing: dict[Client, float] = {}
        """Those who do not take their answers, and when they are given up, unless they take some."""
        self._write_timeout = write_timeout
        self._most = most
        self._all: set[Client] = set()
        self._held = 0
        """Bytes of all that has been noted."""
        self.ending = False
        """The worker ends: each connection with its next answer."""
        self.date = ""
        self.tell_time()

    def __len__(self) -> int:
        return len(self._all)

    def add(self, client: Client) -> None:
        """One more. Whoever takes them without asking first whether they `have_room` holds too many no longer than
        somebody can be spared."""
        self._all.add(client)
        if len(self._all) > self._most:
            self.make_room()

    def remove(self, client: Client) -> None:
        """It is gone."""
        self._all.discard(client)
        self._owing.pop(client, None)
        self._held -= client.noted
        client.noted = 0
        self.leave(client)

    def wait(self, phase: str, client: Client) -> None:
        """From now on it is waited for."""
        self.leave(client)
        client.phase = phase
        client.due = time.monotonic() + self._times[phase]
        self._waiting[phase][client] = None

    def leave(self, client: Client) -> None:
        """It is waited for no longer."""
        if client.phase is not None:
            self._waiting[client.phase].pop(client, None)
            client.phase = None

    def owe(self, client: Client) -> None:
        """It does not take its answer at once."""
        if client not in self._owing:
            client.owed = client.to_take
            self._owing[client] = time.monotonic() + self._write_timeout
            if len(self._owing) > 1:
                self._bound_owed()

    def settle(self, client: Client) -> None:
        """It has taken enough of it to go on with."""
        self._owing.pop(client, None)

    def look(self) -> None:
        """Several times a second: ends the wait for those that had their time."""
        now = time.monotonic()
        for waiting in self._waiting.values():
            while waiting and (client := next(iter(waiting))).due <= now:
                client.is_late()
                if client in waiting and client.due <= now:
                    self.leave(client)
        for client, until in list(self._owing.items()):
            if now < until:
                continue
            left = client.to_take
            if left < client.owed:
                client.owed = left
                self._owing[client] = now + self._write_timeout
            else:
                self._owing.pop(client)
                client.abort()

    def tell_time(self) -> None:
        """Once a second: the date of answers."""
        self.date = formatdate(time.time(), usegmt=True)

    def have_room(self) -> bool:
        """For one more: where there is none, who can best be spared makes some."""
        return len(self._all) < self._most or self.make_room()

    def make_room(self) -> bool:
        """Drops one that is all but closed, else the one that has been idle longest, else who is slow: never who has
        only just come, nor who is being answered. False: nobody can be spared."""
        now = time.monotonic()
        for phase in _MAKES_ROOM:
            for client in self._waiting[phase]:
                if self._can_be_spared(client, now):
                    self._drop(client)
                    return True
        return False

    def _can_be_spared(self, client: Client, now: float) -> bool:
        if client.phase not in ("head", "body"):
            return True
        waited = now - (client.due - self._times[client.phase])
        return waited >= MOMENT and client.come < LEAST_RATE * waited

    def note_held(self, client: Client) -> None:
        """What it has sent and is not whole yet has changed: who has waited longest makes room, where that is too much
        of all."""
        self._held += client.held - client.noted
        client.noted = client.held
        for phase in ("head", "body"):
            while self._held > MOST_HELD and self._waiting[phase]:
                self._drop(next(iter(self._waiting[phase])))

    def end(self, idle: float) -> None:
        """The worker ends: who has said nothing yet is given `idle` seconds, and each connection ends with its next
        answer."""
        self.ending = True
        due = time.monotonic() + idle
        for phase in ("head", "idle"):
            for client in self._waiting[phase]:
                client.due = min(client.due, due)

    def cut(self) -> None:
        """Closes all that is left."""
        for client in list(self._all):
            client.abort()

    def _drop(self, client: Client) -> None:
        self.remove(client)
        client.abort()

    def _bound_owed(self) -> None:
        """Where all owe too much, those are cut who take least of it, and of these who have owed longest."""
        left = {client: client.to_take for client in self._owing}
        owed = sum(left.values())
        if owed <= MOST_OWED:
            return
        for client in sorted(left, key=lambda client: client.owed - left[client]):
            if owed <= MOST_OWED:
                return
            owed -= left[client]
            self._owing.pop(client)
            client.abort()
