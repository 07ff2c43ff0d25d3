"""A deployment by a stepped clock: users, sidecars, an event store, `understudy alerts`, and receivers that are told.

The parts of alerting are the real ones (evaluator, counts, state, queue, channels over HTTP); so are a sidecar's events
and metrics, made of exchanges as the gateway makes them. Only time is not: an hour takes seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

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
from sidecar.settings import Settings
from sidecar.timeunits import MINUTE, SECOND
from tests.alerts.heard import Heard, Listening
from tests.alerts.shelves import Shelf
from tests.alerts.simulated_sidecar import ASKED, BY_NAME, CONTRACT, FAILING, WELL, Clock, Sidecar
from tests.contracts.event_store import NOON
from tests.support.alerts.receivers import heart

TICK: Final = 15
"""Seconds between looks at the queue, and at the journal, where nothing else is said."""


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
