"""All nodes are asked: what one does not answer another tells, nothing is done twice, and who is silent is named."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from dashboard.data.nodes import AVOIDED, GLANCE, KNOWN, Nodes, differing
from sidecar.control.client import TIMEOUT, ControlError
from sidecar.settings import Settings
from sidecar.storage.nodes import SILENT, Node
from tests.support.dashboard.plane import Plane


class Named(Plane):
    """It tells whose word it is, whatever it is asked."""

    def tells(self, path: str) -> Any:
        return {"of": self.name}

    def node(self, **told: Any) -> Node:
        made = Node(
            name=self.name, instance=self.name, state="live", version="1", contract="", silent=0, skew=0, unshipped=0,
            control=f"{self.place[0]}:{self.place[1]}", head=None,
        )  # fmt: skip
        return replace(made, **told)


class Pair:
    """Two nodes, a clock, and the registry that knows them; the settings name the first."""

    def __init__(self) -> None:
        self.a, self.b = Named("a"), Named("b")
        self.rows = [self.a.node(), self.b.node()]
        self.now, self.lost = 0.0, False
        settings = Settings(control_listen=self.a.place, control_token="a token of sixteen", node="a")
        self.nodes = Nodes(settings, self.registry, lambda: self.now)

    def registry(self) -> list[Node]:
        if self.lost:
            raise OperationalError("SELECT", {}, Exception("away"))
        return self.rows


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    for plane in (made.a, made.b):
        plane.close()


def test_the_node_that_the_settings_name_is_asked_first_and_another_where_it_does_not_answer(pair: Pair) -> None:
    assert pair.nodes.plane().get("/endpoints") == {"of": "a"}
    pair.a.close()
    assert pair.nodes.plane().get("/endpoints") == {"of": "b"}
    assert pair.nodes.places() == [pair.b.place, pair.a.place], "it is asked last for a while"
    pair.now += AVOIDED
    assert pair.nodes.places() == [pair.a.place, pair.b.place]


def test_where_its_database_is_away_another_tells(pair: Pair) -> None:
    pair.a.status = 503
    assert pair.nodes.plane().get("/outbox") == {"of": "b"}
    pair.b.status = 503
    with pytest.raises(ControlError, match="a is unwell"):
        pair.nodes.plane().get("/outbox")


def test_a_node_that_hangs_is_waited_for_only_where_no_other_can_tell(pair: Pair) -> None:
    pair.a.hang = threading.Event()
    began = time.monotonic()
    assert pair.nodes.plane().get("/endpoints") == {"of": "b"}
    assert time.monotonic() - began < TIMEOUT / 2
    assert pair.nodes.places() == [pair.b.place, pair.a.place]


@contextmanager
def slow(plane: Plane, seconds: float) -> Iterator[None]:
    """Who asks it meanwhile is told no sooner than that."""
    plane.hang = threading.Event()
    timer = threading.Timer(seconds, plane.hang.set)
    timer.start()
    yield
    timer.join()


def test_a_slow_node_tells_where_no_other_can(pair: Pair) -> None:
    pair.b.close()
    with slow(pair.a, GLANCE + 0.5):
        assert pair.nodes.plane().get("/endpoints") == {"of": "a"}


@pytest.mark.parametrize(("tells", "seconds"), [("a", GLANCE + 0.5), ("b", 2 * GLANCE + 0.5)])
def test_a_slow_node_tells_beside_one_that_hangs(pair: Pair, tells: str, seconds: float) -> None:
    telling, hanging = (pair.a, pair.b) if tells == "a" else (pair.b, pair.a)
    hanging.hang = threading.Event()
    with slow(telling, seconds):
        assert pair.nodes.plane().get("/endpoints") == {"of": tells}


def test_what_the_first_one_said_is_told_where_none_can(pair: Pair) -> None:
    pair.a.status, pair.b.status = 503, 503
    with slow(pair.a, GLANCE + 0.5), pytest.raises(ControlError, match="a is unwell"):
        pair.nodes.plane().get("/outbox")


def test_a_silent_node_is_not_asked(pair: Pair) -> None:
    pair.rows = [pair.a.node(), pair.b.node(silent=SILENT)]
    assert pair.nodes.each("/endpoints") == {"a": {"of": "a"}}


def test_one_that_does_not_answer_when_it_is_asked_how_it_is_is_asked_last(pair: Pair) -> None:
    pair.a.close()
    assert pair.nodes.health()[0].trouble == "its control plane does not answer"
    assert pair.nodes.places() == [pair.b.place, pair.a.place]


def test_our_own_node_is_asked_last_while_it_is_silent(pair: Pair) -> None:
    pair.rows = [pair.a.node(silent=SILENT), pair.b.node()]
    assert pair.nodes.places() == [pair.b.place, pair.a.place]


def test_what_surely_was_not_sent_is_done_by_another_and_once(pair: Pair) -> None:
    pair.a.close()
    assert pair.nodes.plane("Sam").post("/endpoints/notes.list/takeover", {}) == {"answered_by": "standby"}
    assert (pair.a.done, pair.b.done) == ([], ["/endpoints/notes.list/takeover"])


@pytest.mark.parametrize("status", [409, 503])
def test_what_a_node_has_refused_no_other_is_asked_to_do(pair: Pair, status: int) -> None:
    pair.a.status = status
    with pytest.raises(ControlError, match="a is unwell"):
        pair.nodes.plane("Sam").post("/resources/notes/promote", {})
    assert pair.b.done == []


def test_what_may_have_been_done_is_not_done_again(pair: Pair) -> None:
    pair.a.broken = True
    with pytest.raises(ControlError) as told:
        pair.nodes.plane("Sam").post("/outbox/1/retry", {})
    assert told.value.unknown
    assert (len(pair.a.done), pair.b.done) == (1, [])


def test_who_is_silent_or_unwell_is_named(pair: Pair) -> None:
    gone, mute = pair.b.node(name="gone", silent=SILENT), pair.b.node(name="mute", control="")
    pair.rows = [*pair.rows, gone, mute]
    pair.b.status = 503
    assert [(each.node.name, each.silent, each.trouble) for each in pair.nodes.health()] == [
        ("a", False, None),
        ("b", False, "b is unwell"),
        ("gone", True, "it is silent: no heartbeat comes"),
        ("mute", False, UNTOLD),
    ]
    pair.now += KNOWN
    pair.b.close()
    assert pair.nodes.health()[1].trouble == "its control plane does not answer"


UNTOLD = "it does not tell where it can be asked (CONTROL_ADVERTISE)"


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "[::]", "[::1]", "localhost", "127.0.0.2"])
def test_another_node_that_tells_our_own_address_is_not_asked_for_we_would_ask_ourselves(pair: Pair, host: str) -> None:
    pair.rows = [pair.a.node(), pair.b.node(control=f"{host}:{pair.a.place[1]}")]
    assert [each.trouble for each in pair.nodes.health()] == [None, UNTOLD]
    assert (pair.nodes.places(), pair.nodes.each("/endpoints")) == ([pair.a.place], {"a": {"of": "a"}})


def test_of_two_others_that_tell_one_address_of_this_machine_neither_is_asked(pair: Pair) -> None:
    pair.rows = [pair.a.node(), pair.b.node(), pair.b.node(name="c", control=f"0.0.0.0:{pair.b.place[1]}")]
    assert [each.trouble for each in pair.nodes.health()] == [None, UNTOLD, UNTOLD]


def test_a_dashboard_that_is_on_no_nodes_machine_asks_none_at_its_own(pair: Pair) -> None:
    settings = Settings(control_listen=("sidecar.invalid", pair.a.place[1]), node="a")
    nodes = Nodes(settings, lambda: [pair.a.node(), pair.b.node()], lambda: 0.0)
    assert nodes.places() == [settings.control_listen]
    assert nodes.health()[1].trouble == UNTOLD


def test_while_the_registry_cannot_be_read_who_was_there_counts(pair: Pair) -> None:
    assert len(pair.nodes.known()) == 2
    pair.lost, pair.now = True, KNOWN + 1
    assert len(pair.nodes.known()) == 2
    assert pair.nodes.plane().get("/endpoints") == {"of": "a"}


def test_without_a_registry_there_is_one_node(pair: Pair) -> None:
    pair.rows = []
    assert pair.nodes.places() == [pair.a.place]
    assert (pair.nodes.health(), pair.nodes.each("/endpoints")) == ([], {})


def test_a_node_that_says_that_another_answers_is_told() -> None:
    shown = [{"id": "notes.list", "answered_by": "upstream"}, {"id": "notes.read", "answered_by": "standby"}]
    other = [{"id": "notes.list", "answered_by": "standby"}, {"id": "notes.read", "answered_by": "standby"}]
    assert differing({"a": shown, "b": other, "c": None}, shown) == {"notes.list": {"b": "standby"}}
