"""Outages as on-call knows them, on every channel: one message each, soon, and one of its end."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from alerts.lifecycle.store import Alerts
from sidecar.timeunits import SECOND
from tests.alerts.judging import OVER, SOON, Cell, deployment, embedded, paged, pages
from tests.alerts.plays import ALWAYS
from tests.alerts.simulated_sidecar import COVERED, FAILING, TAKEN_OVER, WELL, Given

TICKET_OVER: Final = 21600 + 1800
"""The longest short window of a ticket, and some."""
EVERY: Final = ("webhook", "email", "slack", "pagerduty", "sentry", "alertmanager")


def outage(users: Given, kind: str, deaf: str = "", minutes: int = 20, hours: int = 0, **given: Any) -> dict[str, Cell]:
    """So many minutes of it, and its end, by channel: one message of this kind, and one of its end. `deaf`: a channel
    that is away all the while, and comes back when all is over. `hours`: for so long after those minutes the upstream
    is down still and is not asked. `given`: of the World."""
    # A ticket ends hours after; that it goes on is not told again meanwhile.
    with deployment(embedded, names=EVERY, alert_repeat=86400.0, **given) as world:
        world.run(60)
        if deaf:
            world.listening[deaf].answer(503, again=ALWAYS)
        world.users = users
        world.run(minutes * 60)
        if hours:
            world.users, world.sidecars[0].took_over = TAKEN_OVER, True
            world.run(hours * 3600, 300)
        early = {said.channel for said in world.heard if said.kind == "end"}
        world.users, world.sidecars[0].took_over = WELL, False
        world.run(*((OVER + 60, 30) if kind == "page" else (TICKET_OVER, 300)))
        if deaf:
            world.listening[deaf].answer()
            world.run(60)
        heard = world.heard
    cells = {}
    for channel in EVERY:
        told = [said.kind for said in heard if said.channel == channel and said.alert != "ChannelStuck"]
        stuck = [said.kind for said in heard if said.channel == channel and said.alert == "ChannelStuck"]
        cells[channel] = cell = Cell([", ".join(f"one {said}" for said in told) or "nothing"])
        # Alertmanager is told of what is over too, and tells nobody of it.
        past = [] if channel == "alertmanager" else ["past"]
        wanted = past if channel == deaf else [kind, "end"]
        cell.demand(channel not in early, "told as over while it lasts")
        cell.demand(told == wanted, f"expected {', '.join(wanted) or 'nothing'}")
        others = ["page"] if deaf and channel != deaf else []
        cell.demand(stuck == others, f"of ChannelStuck: {', '.join(stuck) or 'nothing'}")
    return cells


OUTAGES: Final = {
    "HOSP is down, the standby covers": partial(outage, COVERED, "ticket"),
    "HOSP is down for eight hours, the standby took over": partial(outage, COVERED, "ticket", hours=8),
    "HOSP is down, users get errors": partial(outage, FAILING, "page"),
    "the same, and Slack is away all the while": partial(outage, FAILING, "page", "slack"),
    "the same, and Alertmanager is away all the while": partial(outage, FAILING, "page", "alertmanager"),
}


def busy(rate: int = 50, history: int = 3600) -> tuple[Cell, int]:
    """A total outage at 50 requests a second that begins just after a look: after how many seconds each channel has the
    page, and by the 99.99% objective."""
    cell = Cell()
    with deployment(embedded, names=EVERY, rate=rate, history=history) as world:
        world.run(60)
        world.users, failed = FAILING, world.clock.steady
        world.run(2 * SOON, 1, until=lambda: paged(world) == set(EVERY))
        took = max((said.at - failed for said in pages(world)), default=0) // SECOND
        fired = [alert for alert in Alerts(world.engine).all() if alert.labels.get("slo") == "in-time"]
    cell.said.append(f"{took} s")
    cell.demand({said.channel for said in pages(world)} == set(EVERY), "not on each channel")
    cell.demand(any(alert.severity == "page" for alert in fired), "not by the 99.99% objective")
    cell.demand(took <= SOON, "late")
    return cell, took
