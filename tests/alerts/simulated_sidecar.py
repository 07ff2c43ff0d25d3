"""A sidecar by a stepped clock: its events and metrics are made of exchanges, as the gateway makes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest

from sidecar.contract import Action, Contract
from sidecar.control.client import ControlError
from sidecar.events.document import to_event
from sidecar.events.store import Event, StoreUnavailable
from sidecar.exchange import AnsweredBy, Attempt, Exchange, Outcome
from sidecar.http.messages import Request, Response
from sidecar.telemetry.metrics import Metrics, SharedState
from sidecar.timeunits import MILLISECOND, SECOND
from tests.alerts.shelves import Shelf
from tests.contracts.event_store import name

ASKED: Final = {"GET /notes": "/notes", "GET /patients/{id}": "/patients/7", "POST /notes": "/notes"}
"""Endpoints that users ask in turn, with their paths."""
CONTRACT: Final = Contract.load("hosp")
BY_NAME: Final = {endpoint.name: endpoint for endpoint in CONTRACT.endpoints.values()}
COVERABLE: Final = [each.name for each in CONTRACT.endpoints.values() if each.action is not Action.CALL]


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
    upstream: Outcome | None
    """None: it was not asked."""
    status: int


WELL: Final = Given(Outcome.SUCCESS, AnsweredBy.UPSTREAM, Outcome.SUCCESS, 200)
FAILING: Final = Given(Outcome.FAILURE, AnsweredBy.UNDERSTUDY, Outcome.FAILURE, 503)
COVERED: Final = Given(Outcome.SUCCESS, AnsweredBy.STANDBY, Outcome.FAILURE, 200)
TAKEN_OVER: Final = Given(Outcome.SUCCESS, AnsweredBy.STANDBY, None, 200)


@dataclass
class Journalled:
    """A journal's running totals."""

    syncs: int = 0
    failures: int = 0


class Sidecar:
    """One sidecar: counts, journals, ships, and tells. `others`: by the address of their control planes."""

    def __init__(self, clock: Clock, shelf: Shelf, node: str = "one") -> None:
        self.node, self._clock, self._shelf = node, clock, shelf
        self.gone = self.disk_full = self.unready = self.nonsense = self.took_over = False
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
            attempts=[] if given.upstream is None else [
                Attempt(at, 4 * MILLISECOND, given.upstream, 200 if given.upstream == "success" else 503)
            ],
            response=Response(given.status), outcome=given.outcome, answered_by=given.answered_by,
            ended=at + 5 * MILLISECOND,
        )  # fmt: skip
        self._metrics.request(exchange)
        self._metrics.flush()
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
        rows = [{"name": each, "ready": not self.unready, "ready_reason": "", "owned": False,
                 "answered_by": "standby" if self.took_over else "upstream"} for each in COVERABLE]  # fmt: skip
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
