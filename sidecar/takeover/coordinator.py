"""The state that all workers share: who answers for each endpoint, and the tallies that move the circuits.

Promises: `decide` and `observe` touch memory only. `tick`, called every quarter of a second in every process, pushes
what was observed, reads what others observed, and moves circuits by compare-and-set on the epoch, so that exactly one
process makes (and logs, and counts) a transition and all agree within a second. State survives restarts. When the
database fails, each process goes on with what it knows and says so once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from sidecar.contract import Contract
from sidecar.storage.upsert import dialect_insert
from sidecar.takeover import circuit as circuits
from sidecar.takeover.circuit import Circuit, State, Tally
from sidecar.takeover.routing import UPSTREAM, Decision, EndpointState, Mode, Who, decide
from sidecar.takeover.store import (
    STATES,
    TALLIES,
    Transition,
    compare_and_set,
    row_of,
    state_of,
    state_row,
    upsert_tallies,
)
from sidecar.takeover.tables import endpoint_states, tallies, transitions
from sidecar.telemetry.metrics import Metrics
from sidecar.timeunits import SECOND

log = logging.getLogger(__name__)

REREAD: Final = 10
"""Seconds of tallies read anew at every tick; others were final long before."""
KEPT: Final = 3600
"""Seconds that tallies are kept in the database; rarely used endpoints gather their probes slowly."""
PROBE_EXPIRES: Final = 35
"""Seconds after which a probe whose end was never reported no longer holds up the next."""

Key = tuple[str, str, int, int]
"""process, endpoint, epoch, second"""


class UnknownEndpoint(LookupError):
    """The contract has no endpoint of that id."""


class Switchboard:
    """One per process. `endpoints` are the contract's ids; `on_transition` hears of those that this process made."""

    def __init__(
        self,
        engine: Engine,
        endpoints: Collection[str],
        process: str,
        *,
        on_transition: Callable[[Transition], None] = lambda _: None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._engine, self._process, self._clock, self._on_transition = engine, process, clock, on_transition
        self._reader = engine.execution_options(writes=False)
        self._endpoints = frozenset(endpoints)
        self._states = {endpoint: EndpointState() for endpoint in endpoints}
        self._probes: dict[str, int] = {}
        self._mine: dict[Key, list[int]] = {}
        self._dirty: set[Key] = set()
        self._seen: dict[Key, Tally] = {}
        self._lock = threading.Lock()
        self._ticking = threading.Lock()
        self._prepared = False
        self._read_all = True
        self._loaded = 0
        self._pruned = 0
        self._degraded = False

    # Memory only: the request path.

    def state(self, endpoint: str) -> EndpointState:
        return self._states.get(endpoint) or EndpointState()

    def states(self) -> dict[str, EndpointState]:
        return dict(self._states)

    def decide(self, endpoint: str, caller: str, is_write: bool) -> Decision:
        """Who answers. After PROBE, call `observe` or `release`: until then this process lets no other probe through.

        What is outside the contract always goes upstream.
        """
        state = self._states.get(endpoint)
        if state is None:
            return UPSTREAM
        if state.circuit.state is not State.HALF_OPEN:
            return decide(endpoint, state, caller, is_write, may_probe=False)
        with self._lock:
            now = self._clock()
            free = not 0 <= now - self._probes.get(endpoint, -PROBE_EXPIRES * SECOND) < PROBE_EXPIRES * SECOND
            decision = decide(endpoint, state, caller, is_write, may_probe=free)
            if decision.who is Who.PROBE:
                self._probes[endpoint] = now
        return decision

    def observe(self, endpoint: str, ok: bool, refused: bool = False, now: int | None = None) -> None:
        """One upstream attempt ended: `ok` below 500 and whole; `refused` when nothing listened. `now` in wall ns."""
        state = self._states.get(endpoint)
        if state is None:
            return
        second = (self._clock() if now is None else now) // SECOND
        key = (self._process, endpoint, state.circuit.epoch, second)
        with self._lock:
            self._probes.pop(endpoint, None)
            counts = self._mine.setdefault(key, [0, 0, 0])
            counts[0 if ok else 1] += 1
            counts[2] += refused and not ok
            self._dirty.add(key)

    def release(self, endpoint: str) -> None:
        """A probe came to nothing (never sent): the next may go."""
        with self._lock:
            self._probes.pop(endpoint, None)

    def probes_due(self) -> list[str]:
        """Half-open endpoints that no probe of this process is under way for; begin one with `decide`."""
        half_open = [name for name, state in self._states.items() if state.circuit.state is State.HALF_OPEN]
        with self._lock:
            return [name for name in half_open if name not in self._probes]

    # The background thread.

    def tick(self, look: bool = True) -> None:
        """Pushes, reads, evaluates. Never raises for a database that fails. `look`: whether what others know may have
        changed since the last call."""
        with self._ticking:
            try:
                self._shared_tick(look or self._degraded)
            except SQLAlchemyError as error:
                self._local_tick(error)
            else:
                if self._degraded:
                    log.warning("takeover state is shared again")
                self._degraded = False

    def _shared_tick(self, look: bool) -> None:
        self._prepare()
        now = self._clock()
        look = self._push(now) or look
        if look:
            with self._reader.connect() as connection, connection.begin():
                self._load(connection, now)
        changes = self._evaluate(now)
        if not changes:
            return
        made = []
        with self._engine.begin() as connection:
            for endpoint, before, after in changes:
                transition = _circuit_transition(endpoint, before, after, self._process)
                if compare_and_set(connection, endpoint, before, after):
                    connection.execute(insert(transitions).values(row_of(transition)))
                    made.append(transition)
            self._load_states(connection)
        self._announce(made)

    def _local_tick(self, error: SQLAlchemyError) -> None:
        if not self._degraded:
            log.error("takeover state is not shared, going on with this process's own: %s", type(error).__name__)
        self._degraded, self._read_all = True, True
        now = self._clock()
        with self._lock:
            self._seen.update({key: Tally(key[3], *counts) for key, counts in self._mine.items()})
        made = []
        for endpoint, before, after in self._evaluate(now):
            self._states[endpoint] = replace(self._states[endpoint], circuit=after)
            made.append(_circuit_transition(endpoint, before, after, self._process))
        self._forget(now)
        self._announce(made)

    def _prepare(self) -> None:
        """Rows to compare and set, once."""
        if self._prepared:
            return
        with self._engine.begin() as connection:
            rows = [state_row(EndpointState()) | {"endpoint": endpoint} for endpoint in sorted(self._endpoints)]
            if rows:
                statement = dialect_insert(connection.dialect.name, endpoint_states)
                connection.execute(statement.on_conflict_do_nothing(), rows)
        self._prepared = True

    def _push(self, now: int) -> bool:
        """Whether there was anything to push."""
        with self._lock:
            sent = {key: tuple(self._mine[key]) for key in sorted(self._dirty)}
        names = ("process", "endpoint", "epoch", "second", "good", "bad", "refused")
        rows = [dict(zip(names, (*key, *counts), strict=True)) for key, counts in sent.items()]
        stale = now // SECOND - KEPT
        prune = self._pruned < now // SECOND - 60
        if not rows and not prune:
            return False
        with self._engine.begin() as connection:
            if rows:
                connection.execute(upsert_tallies(connection.dialect.name), rows)
            if prune:
                connection.execute(delete(tallies).where(tallies.c.second < stale))
        if prune:
            self._pruned = now // SECOND
        with self._lock:
            self._dirty -= {key for key, counts in sent.items() if tuple(self._mine[key]) == counts}
        return bool(rows)

    def _load(self, connection: Connection, now: int) -> None:
        since = KEPT if self._read_all else REREAD + max(0, now // SECOND - self._loaded)
        since, self._loaded = now // SECOND - min(since, KEPT), now // SECOND
        for row in connection.execute(TALLIES, {"since": since}):
            key = (row.process, row.endpoint, row.epoch, row.second)
            self._seen[key] = Tally(row.second, row.good, row.bad, row.refused)
        self._load_states(connection)
        self._read_all = False
        self._forget(now)

    def _load_states(self, connection: Connection) -> None:
        for row in connection.execute(STATES):
            if row.endpoint in self._endpoints:
                self._states[row.endpoint] = state_of(row)

    def _forget(self, now: int) -> None:
        """Keeps the current epochs' tallies, and of closed circuits only as far back as a run may reach."""
        second = now // SECOND

        def wanted(key: Key) -> bool:
            circuit = self.state(key[1]).circuit
            reach = circuits.RUN_WINDOW if circuit.state is State.CLOSED else KEPT
            return key[2] == circuit.epoch and key[3] > second - reach

        self._seen = {key: tally for key, tally in self._seen.items() if wanted(key)}
        with self._lock:
            # A second's own counts must stay whole while more may come: they are pushed as totals.
            self._mine = {k: v for k, v in self._mine.items() if k in self._dirty or k[3] > second - REREAD}
            if self._degraded:
                self._mine = {k: v for k, v in self._mine.items() if k[3] > second - KEPT}
                self._dirty &= self._mine.keys()

    def _evaluate(self, now: int) -> list[tuple[str, Circuit, Circuit]]:
        current: dict[str, list[Tally]] = {}
        for key, tally in self._seen.items():
            if key[2] == self.state(key[1]).circuit.epoch:
                current.setdefault(key[1], []).append(tally)
        changes = []
        for endpoint, state in self._states.items():
            after = circuits.evaluate(state.circuit, current.get(endpoint, ()), now)
            if after is not state.circuit:
                changes.append((endpoint, state.circuit, after))
        return changes

    def _announce(self, made: Iterable[Transition]) -> None:
        for transition in made:
            log.warning(
                "%s: %s to %s", transition.endpoint, transition.before, transition.after,
                extra={"fields": {"event.action": "transition", "understudy.endpoint": transition.endpoint,
                                  "understudy.reason": transition.reason, "understudy.by": transition.by}},
            )  # fmt: skip
            self._on_transition(transition)

    # People's actions: these reach the database at once, and raise when it fails.

    def takeover(self, endpoint: str, by: str, reason: str = "") -> EndpointState:
        """The standby answers from now on, until `handback`."""
        return self._act(endpoint, by, reason, mode=Mode.STANDBY, percent=100.0)

    def handback(self, endpoint: str, by: str, reason: str = "") -> EndpointState:
        """Whoever is well answers: ends a takeover or a percentage, and probes an open circuit at once."""
        return self._act(endpoint, by, reason, mode=Mode.AUTO, percent=0.0)

    def route(self, endpoint: str, percent: float, by: str, reason: str = "") -> EndpointState:
        """The standby answers `percent` (0 to 100) of callers' reads."""
        if not 0 <= percent <= 100:
            raise ValueError("a percentage from 0 to 100")
        return self._act(endpoint, by, reason, mode=Mode.PERCENT if percent else Mode.AUTO, percent=float(percent))

    def _act(self, endpoint: str, by: str, reason: str, *, mode: Mode, percent: float) -> EndpointState:
        if endpoint not in self._endpoints:
            raise UnknownEndpoint(endpoint)
        with self._ticking:
            self._prepare()
            now = self._clock()
            with self._engine.begin() as connection:
                query = select(endpoint_states).where(endpoint_states.c.endpoint == endpoint).with_for_update()
                before = state_of(connection.execute(query).one())
                circuit = circuits.probe_now(before.circuit, now) if mode is Mode.AUTO else before.circuit
                after = EndpointState(mode, percent, circuit, reason, now, by)
                mine = update(endpoint_states).where(endpoint_states.c.endpoint == endpoint)
                connection.execute(mine.values(state_row(after)))
                transition = Transition(now, endpoint, before.mode, mode, reason, by)
                changed = (before.mode, before.percent) != (mode, percent)
                if changed:
                    connection.execute(insert(transitions).values(row_of(transition)))
            self._states[endpoint] = after
        self._announce([transition] if changed else [])
        return after

    def history(self, limit: int = 100) -> list[Transition]:
        """The newest transitions first."""
        query = select(transitions).order_by(transitions.c.id.desc()).limit(limit)
        with self._reader.connect() as connection:
            rows = connection.execute(query).all()
        return [Transition(row.at, row.endpoint, row.before, row.after, row.reason, row.by) for row in rows]


def counted(contract: Contract, metrics: Metrics) -> Callable[[Transition], None]:
    """Counts takeovers, whichever process makes them: who is not counted here is counted nowhere."""
    for endpoint in contract.endpoints.values():
        metrics.takeover(endpoint.name, times=0)

    def count(made: Transition) -> None:
        if made.takeover:
            metrics.takeover(contract.endpoints[made.endpoint].name)

    return count


def _circuit_transition(endpoint: str, before: Circuit, after: Circuit, by: str) -> Transition:
    return Transition(after.since, endpoint, before.state, after.state, after.reason, by)
