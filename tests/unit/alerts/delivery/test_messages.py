"""What a message names: of its own group, what its channel takes, with what is told inside; what holds up its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import Engine

from alerts.delivery.grouping import Grouping
from alerts.delivery.queue import Queue, Route, Told
from alerts.lifecycle.lifecycle import Condition
from alerts.lifecycle.store import Alerts
from sidecar.timeunits import HOUR, SECOND
from tests.support.alerts.clock import Clock

TOGETHER = Grouping(by=("alertname",))
"""A page and its ticket in one message."""
LABELS = {"slo": "answered", "objective": "success", "view": "users", "endpoint": "all"}
PAGE = Condition(name="ErrorBudgetBurn", severity="page", source="events", labels=LABELS, notes={"reason": "all"})
TICKET = replace(PAGE, severity="ticket", notes={"reason": "slowly"})
UPSTREAM = replace(PAGE, labels={**LABELS, "view": "hosp"}, notes={"reason": "upstream"})
ENDPOINT = replace(PAGE, labels={**LABELS, "endpoint": "GET /notes"}, notes={"reason": "endpoint"})
DOOR = replace(PAGE, labels={**LABELS, "slo": "front-door"}, notes={"reason": "door"})
DISK = Condition(name="DiskFilling", severity="page", source="sidecar", notes={"reason": "disk"})


class Desk:
    """Channels that take all they are told, by a clock that is set: one is told of everything, one of pages."""

    def __init__(self, engine: Engine, grouping: Grouping) -> None:
        routes = {"all": Route(grouping), "pager": Route(grouping, frozenset({"page"}))}
        self.clock, self.group = Clock(10**6 * SECOND), grouping.key
        self.state, self.queue = Alerts(engine, self.clock), Queue(engine, routes, self.clock)

    def see(self, *holding: Condition) -> None:
        self.state.apply(holding, unknown=set(), repeat=4 * HOUR, enqueue=self.queue.enqueue, group=self.group)

    def told(self, channel: str, after: int = 10) -> list[dict[str, str]]:
        """What it is told so many seconds later: of each message its status, and by their reasons what it names as."""
        self.clock.now += after * SECOND
        messages = []
        for each in self.queue.due(channel):
            named = {alert["notes"]["reason"]: str(alert["kind"]) for alert in each.content["alerts"]}
            messages.append({"": each.content["status"]} | named)
            self.queue.mark(each, Told.DONE, "200")
        return messages


@pytest.fixture
def desk(engine: Engine) -> Callable[[Grouping], Desk]:
    return partial(Desk, engine)


def test_a_channel_for_pages_hears_of_no_ticket_of_the_group_and_waits_for_none(desk: Callable[..., Desk]) -> None:
    mine = desk(TOGETHER)
    mine.see(TICKET)
    assert (mine.told("all"), mine.told("pager", 0)) == ([{"": "firing", "slowly": "firing"}], [])
    mine.see(TICKET, UPSTREAM)
    assert mine.told("all") == [{"": "firing", "upstream": "firing", "slowly": "firing already"}]
    assert mine.told("pager", 0) == [{"": "firing", "upstream": "firing"}]
    mine.see(TICKET)
    assert mine.told("pager") == [{"": "resolved", "upstream": "resolved"}], "all that it was told is over"
    assert mine.told("all") == [], "its group burns on"
    assert mine.told("all", 300) == [{"": "firing", "upstream": "resolved", "slowly": "firing already"}]


def test_a_ticket_inside_a_page_is_named_to_who_takes_tickets(desk: Callable[..., Desk]) -> None:
    mine = desk(Grouping())
    mine.see(PAGE, TICKET)
    assert mine.told("all") == [{"": "firing", "all": "firing", "slowly": "part of it"}]
    assert mine.told("pager", 0) == [{"": "firing", "all": "firing"}]


def test_a_message_is_of_its_own_group_and_ends_with_it(desk: Callable[..., Desk]) -> None:
    mine = desk(Grouping())
    mine.see(DISK)
    assert mine.told("all") == [{"": "firing", "disk": "firing"}]
    mine.see(DISK, PAGE)
    assert mine.told("all") == [{"": "firing", "all": "firing"}]
    mine.see(DISK)
    assert mine.told("all") == [{"": "resolved", "all": "resolved"}]


def test_what_was_told_inside_a_page_of_its_group_holds_up_no_end(desk: Callable[..., Desk]) -> None:
    mine = desk(TOGETHER)
    mine.see(PAGE, TICKET)
    assert mine.told("all") == [{"": "firing", "all": "firing", "slowly": "part of it"}]
    mine.see(TICKET)
    assert mine.told("all") == [{"": "resolved", "all": "resolved"}]


def test_what_is_inside_of_what_fires_already_is_named_again(desk: Callable[..., Desk]) -> None:
    mine = desk(Grouping())
    mine.see(PAGE, TICKET)
    assert mine.told("all") == [{"": "firing", "all": "firing", "slowly": "part of it"}]
    mine.see(PAGE, TICKET, DOOR)
    assert mine.told("all") == [{"": "firing", "door": "firing", "all": "firing already", "slowly": "part of it"}]


def test_a_ticket_that_joins_a_group_waits_for_its_interval(desk: Callable[..., Desk]) -> None:
    mine, door = desk(Grouping()), replace(DOOR, severity="ticket")
    mine.see(TICKET)
    assert len(mine.told("all")) == 1
    mine.see(TICKET, door)
    assert mine.told("all", 299) == []
    assert mine.told("all", 1) == [{"": "firing", "door": "firing", "slowly": "firing already"}]


def test_the_end_of_what_was_named_as_muted_is_told_and_of_what_is_inside_another_is_not(
    desk: Callable[..., Desk],
) -> None:
    mine = desk(Grouping())
    for endpoint, slo in (("all", "front-door"), ("GET /notes", "answered")):
        mine.state.mute({"endpoint": endpoint, "slo": slo}, "Pell", "works", mine.clock.now + 9 * HOUR)
    mine.see(PAGE, DOOR, ENDPOINT)
    assert mine.told("all") == [{"": "firing", "all": "firing", "door": "muted", "endpoint": "muted"}]
    mine.see(PAGE, DOOR)
    assert mine.told("all", 300) == []
    mine.see(PAGE)
    assert mine.told("all", 300) == [{"": "firing", "all": "firing already", "door": "resolved"}]


def test_a_line_stands_for_what_burns_was_told_there_and_is_told_by_itself(desk: Callable[..., Desk]) -> None:
    """Of such a line PagerDuty is told once all of it is acknowledged."""
    mine = desk(TOGETHER)
    mine.state.mute({"alertname": "DiskFilling"}, "Pell", "works", mine.clock.now + 9 * HOUR)
    mine.see(ENDPOINT, TICKET, DISK)
    assert mine.queue.told("pager") == {}, "it waits to be told"
    assert len(mine.told("pager")) == 1

    def standing() -> list[list[str]]:
        return [[alert.notes["reason"] for alert in line] for line in mine.queue.told("pager").values()]

    assert standing() == [["endpoint"]]
    mine.see(ENDPOINT, TICKET, DISK, PAGE)
    assert len(mine.told("pager")) == 1
    assert standing() == [["all"]], "the endpoint's is within it now"


def test_a_group_is_not_over_while_what_was_inside_burns_on_and_somebody_has_it(desk: Callable[..., Desk]) -> None:
    mine = desk(Grouping())
    mine.see(PAGE, ENDPOINT)
    assert mine.told("all") == [{"": "firing", "all": "firing", "endpoint": "part of it"}]
    for alert in mine.state.together(PAGE.key, mine.group):
        mine.state.acknowledge(alert.key, "Pell", "on it")
    mine.see(ENDPOINT)
    assert mine.told("all", 300) == [{"": "firing", "all": "resolved", "endpoint": "firing already"}]
    mine.see()
    assert mine.told("all") == [{"": "resolved", "endpoint": "resolved"}]
