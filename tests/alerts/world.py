"""A deployment by a stepped clock: users, sidecars, an event store, `understudy alerts`, and receivers that are told.

The parts of alerting are the real ones (evaluator, counts, state, queue, channels over HTTP); so are a sidecar's events
and metrics, made of exchanges as the gateway makes them. Only time is not: an hour takes seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import event, update

from alerts import channels
from alerts.channels import Channel
from alerts.channels.deliverer import Deliverer
from alerts.delivery.queue import Queue
from alerts.evaluator import Evaluator
from alerts.evaluator_cli import pace
from alerts.lifecycle.store import Alerts
from alerts.lifecycle.tables import leases, open_alerts
from alerts.message import at
from alerts.objectives.openslo import load
from alerts.rules import conditions
from alerts.rules.burn_rules import Rule
from alerts.rules.cycle import Objectives, Watch
from alerts.rules.evaluation import Evaluation, levels
from sidecar.contract import Action, Contract
from sidecar.control.client import ControlError
from sidecar.events.document import to_event
from sidecar.events.store import Event, StoreUnavailable
from sidecar.exchange import AnsweredBy, Attempt, Exchange, Outcome
from sidecar.http.messages import Request, Response
from sidecar.settings import Settings
from sidecar.telemetry.metrics import Metrics, SharedState
from sidecar.timeunits import MILLISECOND, MINUTE, SECOND
from tests.alerts.heard import Heard, Listening
from tests.alerts.shelves import Shelf
from tests.contracts.event_store import NOON, name
from tests.support.alerts.receivers import heart

ASKED: Final = {"GET /notes": "/notes", "GET /patients/{id}": "/patients/7", "POST /notes": "/notes"}
"""Endpoints that users ask in turn, with their paths."""
TICK: Final = 15
"""Seconds between looks at the queue, and at the journal, where nothing else is said."""
CONTRACT: Final = Contract.load("hosp")
BY_NAME: Final = {endpoint.name: endpoint for endpoint in CONTRACT.endpoints.values()}


class Clock:
    """`steady` never steps; the time of day is off it by `off`. In ns."""

    def __init__(self, start: int) -> None:
        self.steady, self.off = 10**6 * SECOND, start - 10**6 * SECOND

    def wall(self) -> int:
        return self.steady + self.off

    def now(self) -> int:
        """The time of day in Unix seconds."""
        return self.wall() // SECOND


@dataclass
class Given:
    """What users get: what the upstream gives, who answers, and whether that is good."""

    outcome: Outcome
    answered_by: AnsweredBy
    upstream: Outcome
    status: int


WELL: Final = Given(Outcome.SUCCESS, AnsweredBy.UPSTREAM, Outcome.SUCCESS, 200)
FAILING: Final = Given(Outcome.FAILURE, AnsweredBy.UNDERSTUDY, Outcome.FAILURE, 503)
COVERED: Final = Given(Outcome.SUCCESS, AnsweredBy.STANDBY, Outcome.FAILURE, 200)


@dataclass
class Journalled:
    """A journal's running totals."""

    syncs: int = 0
    failures: int = 0


class Sidecar:
    """One sidecar: counts, journals, ships, and tells. `others`: by the address of their control planes."""

    def __init__(self, clock: Clock, shelf: Shelf, node: str = "one") -> None:
        self.node, self._clock, self._shelf = node, clock, shelf
        self.gone = self.disk_full = self.unready = self.nonsense = False
        self.lacks: frozenset[str] = frozenset()
        """Metrics that it does not tell."""
        self.others: dict[str, Sidecar] = {}
        self.silent_since: int | None = None
        self._pending: list[tuple[int, Event]] = []
        self._journal = Journalled()
        self.begin()

    def begin(self) -> None:
        """As after a restart: all counters at 0."""
        registry = CollectorRegistry()
        self._metrics, self._journal = Metrics(registry), Journalled()
        registry.register(SharedState(self._readings()))  # type: ignore[arg-type]
        self._registry = registry
        self._metrics.journal(self._journal)
        for endpoint in ASKED:
            self._metrics._child("takeovers", endpoint)

    def serve(self, number: int, at: int, endpoint: str, given: Given) -> None:
        """One user's request at `at` (ns)."""
        method = endpoint.partition(" ")[0]
        declared = BY_NAME[endpoint]
        exchange = Exchange(
            id=name(number), started=at, request=Request(method, ASKED.get(endpoint, "/"), [], remote="192.0.2.7"),
            request_id=f"r-{number}", traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            endpoint_id=declared.id, endpoint=endpoint, action=declared.action.value, user="Dr Holt",
            attempts=[Attempt(at, 4 * MILLISECOND, given.upstream, 200 if given.upstream == "success" else 503)],
            response=Response(given.status), outcome=given.outcome, answered_by=given.answered_by,
            ended=at + 5 * MILLISECOND,
        )  # fmt: skip
        self._metrics.request(exchange)
        if self.disk_full:
            self._journal.failures += 1
            return
        made, _ = to_event(exchange, node=self.node, contract_secrets=frozenset(), body_cap=0)
        self._pending.append((self._clock.steady, made))

    def ship(self) -> None:
        """What is journalled goes to the store, as far as that takes it."""
        self._metrics.journal(self._journal)
        ready = [made for _, made in self._pending]
        if not ready:
            return
        try:
            appended = self._shelf.append(ready)
        except StoreUnavailable:
            return
        kept = {each["event"]["id"] for each in appended.retry}
        self._pending = [each for each in self._pending if each[1]["event"]["id"] in kept]

    def at(self, address: str) -> Sidecar:
        return self.others[address]

    def get(self, path: str) -> Any:
        self._answer()
        if self.nonsense:
            return {"detail": "what is that?"}
        rows = [{"name": each, "ready": not self.unready, "ready_reason": "", "answered_by": "upstream"}
                for each in COVERABLE]  # fmt: skip
        every = [(self, ""), *((other, address) for address, other in self.others.items())]
        nodes = [{"node": each.node, "control": address, "self": each is self, "state": each.state}
                 for each, address in every]  # fmt: skip
        return {"/endpoints": rows, "/nodes": nodes if self.others else [], "/transitions": [], "/marks": []}[path]

    def text(self, path: str) -> str:
        self._answer()
        if self.nonsense:
            return "<html>502</html>"
        lines = generate_latest(self._registry).decode().splitlines()
        return "\n".join(line for line in lines if line.partition("{")[0].split(" ")[0] not in self.lacks) + "\n"

    @property
    def state(self) -> str:
        return "silent" if self.silent_since is not None and self._silence() > 30 else "live"

    def _answer(self) -> None:
        if self.gone:
            raise ControlError("it does not answer")

    def _silence(self) -> float:
        return 0.0 if self.silent_since is None else (self._clock.steady - self.silent_since) / SECOND

    def _behind(self) -> float:
        own = (self._clock.steady - self._pending[0][0]) / SECOND if self._pending else 0.0
        return max(own, *(other._silence() for other in self.others.values() if other._pending), 0.0)

    def _readings(self) -> dict[str, Callable[[], Any]]:
        return {
            "database_up": lambda: 1, "outbox_pending": lambda: 0, "outbox_oldest_seconds": lambda: None,
            "outbox_parked": lambda: 0, "build_info": lambda: {"1": 1.0}, "background_up": lambda: 1.0,
            "journal_unshipped_events": lambda: len(self._pending), "journal_behind_seconds": self._behind,
            "data_free_ratio": lambda: 0.001 if self.disk_full else 0.5, "journal_verified": lambda: 1.0,
            "standby_ready": lambda: dict.fromkeys(COVERABLE, float(not self.unready)),
            "node_silent_seconds": lambda: {each.node: each._silence() for each in self.others.values()},
        }  # fmt: skip


COVERABLE: Final = [each.name for each in CONTRACT.endpoints.values() if each.action is not Action.CALL]


class World:
    """`rate`: users' requests a second. `names`: the channels that are told, each a receiver on loopback."""

    def __init__(
        self, folder: Path, shelf: Shelf, names: Sequence[str] = ("webhook", "slack", "pagerduty"), rate: int = 2,
        begins: int = NOON, nodes: int = 1, history: int = 3600, idle: bool = False, **given: Any,
    ) -> None:  # fmt: skip
        """`history`: seconds for which users have asked before it begins; `idle`: they no longer do, until they fail.
        `given`: settings."""
        self.clock, self.shelf, self.folder = Clock(begins - history * SECOND), shelf, folder
        self.busy = self.rate = rate
        self.users, self.heart, self.beats_taken = WELL, [0], True
        self.sidecars = [Sidecar(self.clock, shelf, f"node-{n}") for n in range(nodes)]
        self.sidecars[0].others = {f"node-{n}:8081": self.sidecars[n] for n in range(1, nodes)}
        self._closing = ExitStack()
        self.listening = {each: self._closing.enter_context(Listening.to(each, folder)) for each in names}
        addresses: dict[str, Any] = {}
        for each in self.listening.values():
            addresses |= each.settings()
        self.settings = Settings(data=folder, upstream="http://127.0.0.1:9", **addresses, **given)
        self._switch = self._closing.enter_context(heart(self._beat))
        self.engine = open_alerts(self.settings)
        self._number = self._evaluated = 0
        self.rules = conditions.load()
        self.promises = load(self.settings.slos, list(BY_NAME))
        self.disk_full = False
        event.listen(self.engine, "checkout", self._room)
        self.evaluator: Evaluator | None = None
        self._before(history * SECOND)
        self.rate = 0 if idle else rate
        self.start()

    def fail(self) -> None:
        """Users get errors from now on."""
        self.users, self.rate = FAILING, self.busy

    def close(self) -> None:
        self.kill()
        self.engine.dispose()
        self._closing.close()

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """`understudy alerts`, with nothing in its memory."""
        quiet = self.settings.alert_no_traffic
        rule = Rule(silence=quiet.seconds) if quiet else Rule()
        by_period = levels(self.promises)
        evaluation = Evaluation(self.shelf, self.promises, by_period, rule, self.folder / "rollups.db")
        objectives = Objectives(
            promises=self.promises, levels=by_period, evaluation=evaluation, quiet=quiet, zone=self.settings.timezone
        )
        watch = Watch(
            objectives, self.rules, self.shelf, self.sidecars[0], CONTRACT, self.settings.alert_keep,  # type: ignore[arg-type]
            lambda: self.clock.steady / SECOND,
        )  # fmt: skip
        self.channels = channels.configured(self.settings, "https://understudy.example/alerts", self.clock.wall)
        routes = channels.routes(self.settings, self.channels)

        self.evaluator = Evaluator(
            self.engine, watch, self.channels, routes, pace(self.settings, self.rules), self._switch,
            self.clock.wall, lambda: self.clock.steady,
        )  # fmt: skip
        state, queue = Alerts(self.engine, self.clock.wall), Queue(self.engine, routes, self.clock.wall)
        self.deliverer = Deliverer(
            queue, state, self.channels, lambda: True, steady=lambda: self.clock.steady
        )  # fmt: skip
        self._delivering: dict[str, threading.Thread] = {}

    def kill(self) -> None:
        """As kill -9 does: its lease ends by itself, before the next look."""
        if self.evaluator is not None:
            self.evaluator = None
            with self.engine.begin() as connection:
                connection.execute(update(leases).values(until=0))

    def run(self, seconds: int, tick: int = TICK, until: Callable[[], bool] = lambda: False) -> bool:
        """Time goes on for so long, or `until` that is so: whether it is."""
        for _ in range(0, seconds, tick):
            self.clock.steady += tick * SECOND
            self._ask(tick * SECOND)
            for sidecar in self.sidecars:
                if not sidecar.gone:
                    sidecar.ship()
            self._tell()
            if self.evaluator is not None and self.clock.steady - self._evaluated >= self._every:
                self._evaluated = self.clock.steady
                if self.evaluator.lease.hold():
                    self.evaluator.evaluate()
            if until():
                return True
        return until()

    @property
    def heard(self) -> list[Heard]:
        """All that anybody was told, in order."""
        return sorted((said for each in self.listening.values() for said in each.said), key=lambda said: said.at)

    def beating(self) -> bool:
        """Whether the dead man's switch has heard of us within the last two evaluations and a bit."""
        return self.clock.steady - self.heart[-1] <= 3 * self._every

    @property
    def _every(self) -> int:
        return int(self.settings.alert_every * SECOND)

    def _ask(self, span: int) -> None:
        """What users asked within the last `span` ns; those of a sidecar that is gone are recorded by nobody."""
        end = self.clock.wall()
        for moment in range(end - span, end, SECOND // self.rate) if self.rate else ():
            self._number += 1
            sidecar = self.sidecars[self._number % len(self.sidecars)]
            endpoint = list(ASKED)[self._number % len(ASKED)]
            if not sidecar.gone:
                sidecar.serve(self._number, moment, endpoint, self.users)

    def _before(self, span: int) -> None:
        for _ in range(0, span, MINUTE):
            self.clock.steady += MINUTE
            self._ask(MINUTE)
            for sidecar in self.sidecars:
                sidecar.ship()

    def _tell(self) -> None:
        """Each channel by itself: one whose receiver hangs delays no other."""
        if self.evaluator is None:
            return
        for channel in self.channels:
            ear, working = self.listening[channel.name], self._delivering.get(channel.name)
            ear.now, ear.day = self.clock.steady, at(self.clock.wall())
            if working is not None:
                ear.let_go()
                working.join()
                del self._delivering[channel.name]
            if ear.hangs:
                self._delivering[channel.name] = thread = threading.Thread(target=self._step, args=(channel,))
                thread.start()
            else:
                self._step(channel)

    def _step(self, channel: Channel) -> None:
        self.deliverer.look(channel)
        self.listening[channel.name].listen()

    def _beat(self) -> bool:
        if self.beats_taken:
            self.heart.append(self.clock.steady)
        return self.beats_taken

    def _room(self, driver: Any, *_: Any) -> None:
        """A full disk, as SQLite sees it: its file may not grow."""
        cursor = driver.cursor()
        (pages,) = cursor.execute("PRAGMA page_count").fetchone()
        cursor.execute(f"PRAGMA max_page_count = {pages if self.disk_full else 1 << 30}")
        cursor.close()
