"""The metrics of all sidecars are one look: told apart, and rising only where something has happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from alerts.objectives import openslo
from alerts.rules.conditions import load, over_nodes
from alerts.rules.conditions.memory import Memory
from alerts.rules.counters import REQUESTS, Counters
from alerts.rules.doubt import BEHIND, LOST, Doubt
from alerts.rules.sidecars import Sidecars
from sidecar.contract import Contract
from sidecar.control.client import ControlError

TAKEOVERS = "understudy_takeovers_total"
OLDEST = "understudy_outbox_oldest_seconds"
FREE = "understudy_data_free_ratio"
WANTED = (TAKEOVERS, OLDEST, FREE)
FAILED = (LOST, REQUESTS, BEHIND)
ENDPOINTS = [endpoint.name for endpoint in Contract.load("hosp").endpoints.values()]
FAILURE = 'client="user",endpoint="GET /notes",outcome="failure",answered_by="upstream",code="500"'


@dataclass
class Plane:
    """A control plane: what it tells, or nothing at all."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    takeovers: int = 0
    free: float = 0.5
    failures: int = 0
    down: bool = False
    nameless: bool = False
    others: dict[str, Any] = field(default_factory=dict)

    def at(self, address: str) -> Any:
        return self.others[address]

    def get(self, path: str) -> Any:
        self._ask()
        if path == "/nodes" and self.nameless:
            raise ControlError("the database is away")
        return {"/endpoints": [{"id": "notes.list"}], "/nodes": self.rows}[path]

    def text(self, path: str) -> str:
        self._ask()
        lines = [f'{TAKEOVERS}{{endpoint="GET /notes"}} {self.takeovers}', f"{OLDEST} 2000", f"{FREE} {self.free}"]
        lines += [f'{LOST}{{stage="write"}} {self.failures}', f"{REQUESTS}{{{FAILURE}}} {self.failures}", f"{BEHIND} 0"]
        return "\n".join(lines) + "\n"

    def _ask(self) -> None:
        if self.down:
            raise ControlError("it does not answer")


def row(node: str, **told: Any) -> dict[str, Any]:
    return {"node": node, "state": "live", "control": f"{node}:8081", "self": False, **told}


@pytest.fixture
def pair() -> tuple[Plane, Plane, Sidecars]:
    two = Plane()
    one = Plane(rows=[row("one", self=True), row("two")], others={"two:8081": two})
    return one, two, Sidecars(one)


def rule(alert: str) -> Any:
    return next(each for each in load() if each.alert == alert)


def test_a_single_one_is_told_as_it_is() -> None:
    endpoints, metrics = Sidecars(Plane(takeovers=3)).look(WANTED, ())
    assert endpoints == [{"id": "notes.list"}]
    assert metrics == {TAKEOVERS: {(("endpoint", "GET /notes"),): 3.0}, OLDEST: {(): 2000.0}, FREE: {(): 0.5}}


def test_flapping_over_two_nodes_is_flapping_and_one_outbox_is_one_alert(pair: tuple[Plane, Plane, Sidecars]) -> None:
    one, two, sidecars = pair
    memory = Memory(1800)
    for now in range(0, 3600, 600):
        one.takeovers += 1
        two.takeovers += 1
        _, metrics = sidecars.look(WANTED, ())
        assert metrics is not None
        memory.add(now, metrics)
    risen, _ = memory.increases(TAKEOVERS, 1800, 3000)
    assert over_nodes(rule("CircuitFlapping"), risen) == {(("endpoint", "GET /notes"),): 6.0}
    assert over_nodes(rule("OutboxOld"), metrics[OLDEST]) == {(): 2000.0}
    assert len(over_nodes(rule("DiskFilling"), metrics[FREE])) == 2


def test_what_a_node_counted_before_it_was_asked_has_not_risen(pair: tuple[Plane, Plane, Sidecars]) -> None:
    one, two, sidecars = pair
    two.takeovers, two.down = 900, True
    memory = Memory(1800)
    for now, down in ((0, True), (15, False), (30, True), (45, False)):
        two.down = down
        _, metrics = sidecars.look(WANTED, ())
        assert metrics is not None
        memory.add(now, metrics)
    risen, _ = memory.increases(TAKEOVERS, 60, 45)
    assert sum(risen.values()) == 0
    two.takeovers = 2  # it was started anew
    _, metrics = sidecars.look(WANTED, ())
    assert metrics is not None
    memory.add(60, metrics)
    assert sum(memory.increases(TAKEOVERS, 60, 60)[0].values()) == 2


def test_a_node_that_comes_or_goes_has_no_counter_of_another_rise(pair: tuple[Plane, Plane, Sidecars]) -> None:
    """With one node its values are told without its name, with two by their names."""
    one, two, sidecars = pair
    one.takeovers, two.takeovers = 700, 900
    alone, both = one.rows[:1], one.rows
    memory = Memory(1800)
    for now, rows in enumerate((alone, alone, both, both, alone, alone, both)):
        one.rows = rows
        _, metrics = sidecars.look(WANTED, ())
        assert metrics is not None
        memory.add(15 * now, metrics)
        assert sum(memory.increases(TAKEOVERS, 1800, 15 * now)[0].values()) == 0
    one.takeovers += 2
    two.takeovers += 1
    _, metrics = sidecars.look(WANTED, ())
    assert metrics is not None
    memory.add(150, metrics)
    assert sum(memory.increases(TAKEOVERS, 1800, 150)[0].values()) == 3


def test_one_that_does_not_say_who_there_is_is_who_it_was(pair: tuple[Plane, Plane, Sidecars]) -> None:
    one, _, sidecars = pair
    one.rows = one.rows[:1]
    for nameless in (False, True, True, False):
        one.nameless = nameless
        _, metrics = sidecars.look(WANTED, ())
        assert metrics is not None
        assert metrics[FREE] == {(): 0.5}, "it is one, by whatever name"


@pytest.mark.parametrize("joins", [True, False], ids=["a second joins", "the second goes"])
@pytest.mark.parametrize("fails", [0, 4])
def test_what_rose_while_a_node_came_or_went_has_risen_and_nothing_else(
    pair: tuple[Plane, Plane, Sidecars], joins: bool, fails: int
) -> None:
    """By all that look at counters: rules, what burns without the event store, and what is doubted of it."""
    one, two, sidecars = pair
    one.failures, two.failures = 700, 900
    alone, both = one.rows[:1], one.rows
    answered = next(each for each in openslo.load("hosp", ENDPOINTS) if each.objective.slo == "answered")
    memory, counters, doubt = Memory(1800), Counters(3600), Doubt(60, 3600)
    reason = None
    for number, several in enumerate((not joins, not joins, joins, joins)):
        one.rows = both if several else alone
        one.failures += fails if number == 2 else 0
        _, metrics = sidecars.look((*WANTED, *FAILED), ())
        assert metrics is not None
        now = 15 * number
        memory.add(now, metrics)
        counters.add(now, metrics)
        reason = doubt.seen(metrics, now, now)
    assert sum(memory.increases(LOST, 1800, 45)[0].values()) == fails
    assert counters.counts(answered, 3600, 45) == (fails, fails)
    assert (reason is not None and "could not be recorded" in reason) == bool(fails)


def test_the_others_are_asked_when_the_first_does_not_answer(pair: tuple[Plane, Plane, Sidecars]) -> None:
    one, two, sidecars = pair
    sidecars.look(WANTED, ())
    one.down, two.free = True, 0.01
    endpoints, metrics = sidecars.look(WANTED, ())
    assert endpoints == [{"id": "notes.list"}]
    assert metrics is not None
    assert metrics[FREE][(("instance", "two"),)] == 0.01
    two.down = True
    assert sidecars.look(WANTED, ()) == (None, None)


def test_a_node_that_tells_our_own_address_is_not_asked(pair: tuple[Plane, Plane, Sidecars]) -> None:
    one, _, sidecars = pair
    one.rows = [row("one", self=True, control="127.0.0.1:8081"), row("two", control="127.0.0.1:8081")]
    _, metrics = sidecars.look(WANTED, ())
    assert metrics is not None
    assert metrics[OLDEST] == {(): 2000.0}
