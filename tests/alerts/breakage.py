"""`make breakage`: alerts while things break, and users fail or do not: no false end, no silence, no page for nothing.

Each play (tests/alerts/plays.py) is played three times by a stepped clock: while users are well; it breaks, then users
fail; users fail, then it breaks. Then outages as on-call knows them, on every channel; the plays of the event store by
a real Elasticsearch; and Prometheus by our rules, where a label clashes. Prints a table; exits non-zero where a promise
is broken.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

from alerts.lifecycle.store import Alerts
from compose.elasticsearch.node import VERSIONS, Node, prepare
from sidecar.timeunits import SECOND
from tests.alerts import label_clash
from tests.alerts.heard import BURN, Heard
from tests.alerts.plays import ALWAYS, PLAYS, STORE, Play
from tests.alerts.shelves import ElasticShelf, Shelf
from tests.alerts.world import COVERED, FAILING, WELL, Given, World
from tests.bench.readme import put

SOON: Final = 60
"""Seconds within which people must know that users fail."""
STUCK: Final = 400
"""Seconds after which a channel that takes nothing is known as such, and some."""
OVER: Final = 1800 + 300 + 30
"""Seconds within which an end is told: the longest short window of a page, ALERT_KEEP, and half a minute."""
EVERY: Final = ("webhook", "email", "slack", "pagerduty", "sentry", "alertmanager")
Stage = Callable[[Path], Shelf]


@dataclass(frozen=True)
class Lengths:
    """Seconds: before it breaks, while it is broken and users are well, until they fail, while both last."""

    before: int = 60
    well: int = 720
    until: int = 180
    failing: int = 600
    after: int = 300
    """Once it is mended."""
    ends: bool = True
    """Whether the end is waited for."""


SHORT: Final = Lengths(30, 390, 60, 330, 60, ends=False)


@dataclass
class Cell:
    """What became of one play: what is printed, and what is wrong."""

    said: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def demand(self, holds: bool, wrong: str) -> None:
        if not holds:
            self.wrong.append(wrong)

    def __str__(self) -> str:
        return "; ".join([*self.said, *(f"**{each}**" for each in self.wrong)])


@contextmanager
def _deployment(stage: Stage, **given: Any) -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="breakage-") as name:
        folder = Path(name)
        with World(folder, stage(folder), **given) as world:
            yield world


def while_well(play: Play, stage: Stage, lengths: Lengths) -> Cell:
    """Users are well: only the trouble itself is told."""
    cell = Cell()
    with _deployment(stage, **play.world) as world:
        world.run(lengths.before)
        play.breaks(world)
        world.run(play.hours * 3600, 300) if play.hours else world.run(lengths.well)
        told = {said.alert: said.severity for said in world.heard}
        cell.said.append(", ".join(f"{severity} {name}" for name, severity in sorted(told.items())) or "nothing")
        _heart(cell, play, world)
        cell.demand(play.blind or play.tells <= told.keys(), f"not told: {', '.join(play.tells - told.keys())}")
        play.mends(world)
        world.run(lengths.after)
        _no_page(cell, play, world)
        cell.demand(world.beating(), "the heart stands still")
    return cell


def breaks_first(play: Play, stage: Stage, lengths: Lengths) -> Cell:
    """It breaks, then users fail: everybody who can hear has one page, soon."""
    cell = Cell()
    with _deployment(stage, **play.world) as world:
        world.run(lengths.before)
        play.breaks(world)
        world.run(lengths.until)
        _no_page(cell, play, world)
        world.fail()
        failed, hearing = world.clock.steady, set(world.listening) - play.deaf
        instead = {said.channel for said in world.heard if said.kind == "page" and said.alert in play.instead}
        if hearing and not play.blind:
            world.run(300, until=lambda: instead | paged(world) >= hearing)
            took = max((said.at - failed for said in pages(world) if said.channel in hearing), default=0) // SECOND
            lacks = hearing - paged(world) - instead
            if not lacks:
                cell.said.append(f"page after {took} s" if took else f"page {', '.join(sorted(play.instead))}")
            elif play.full and not world.beating():
                cell.said.append("the heart stops")
            else:
                cell.demand(False, f"no page on {', '.join(sorted(lacks))}")
            cell.demand(took <= SOON, "late")
        else:
            world.run(120 if play.blind else STUCK)
        _heart(cell, play, world, not hearing)
        play.mends(world)
        mended = world.clock.steady
        if not world.run(400, until=lambda: paged(world) == set(world.listening)):
            cell.demand(False, f"never told: {', '.join(sorted(set(world.listening) - paged(world)))}")
        elif play.deaf or play.blind or play.instead or play.full:
            took = max(said.at - mended for said in pages(world)) // SECOND
            cell.said.append(f"mended: page {'at once' if took <= SOON else f'after {took} s'}")
        _once(cell, world)
    return cell


def fails_first(play: Play, stage: Stage, lengths: Lengths) -> Cell:
    """Users fail, then it breaks: nothing is over before they are well; then it is, soon."""
    cell = Cell()
    with _deployment(stage, **play.world) as world:
        world.run(lengths.before)
        world.fail()
        cell.demand(world.run(90, until=lambda: paged(world) == set(world.listening)), "no page")
        play.breaks(world)
        world.run(lengths.failing)
        _heart(cell, play, world)
        play.mends(world)
        world.run(120)
        early = [said for said in world.heard if said.kind != "page" and (said.alert, said.severity) == (BURN, "page")]
        cell.demand(not early, f"told as over while users fail: {', '.join(sorted({each.channel for each in early}))}")
        cell.said.append("goes on")
        if lengths.ends:
            world.users = WELL
            since = world.clock.steady
            over = lambda: ended(world) == set(world.listening)  # noqa: E731
            took = world.run(1740, 60, until=over) or world.run(OVER - 1740 + 60, until=over)
            at = max((said.at for said in world.heard if said.kind == "end"), default=since) - since
            cell.said.append(f"over {at // SECOND // 60} min after users were well")
            cell.demand(took, f"not told as over: {', '.join(sorted(set(world.listening) - ended(world)))}")
            cell.demand(world.beating(), "the heart stands still")
        _once(cell, world)
    return cell


def pages(world: World) -> list[Heard]:
    """That users fail."""
    return [said for said in world.heard if (said.kind, said.alert) == ("page", BURN)]


def paged(world: World) -> set[str]:
    return {said.channel for said in pages(world)}


def ended(world: World) -> set[str]:
    return {said.channel for said in world.heard if (said.kind, said.alert, said.severity) == ("end", BURN, "page")}


def _heart(cell: Cell, play: Play, world: World, mute: bool = False) -> None:
    """It beats as long as somebody evaluates, and can tell what there is to tell: its silence is another's page."""
    if play.full:
        return
    if play.blind or play.stops or mute:
        cell.demand(not world.beating(), "the heart beats")
        cell.said += ["the heart stops"] if play.blind or mute else []
    else:
        cell.demand(world.beating(), "the heart stands still")


def _no_page(cell: Cell, play: Play, world: World) -> None:
    strange = {said.alert for said in world.heard if said.kind == "page"} - play.pages
    cell.demand(not strange, f"a page for nothing: {', '.join(sorted(strange))}")


def _once(cell: Cell, world: World) -> None:
    """One outage is one page."""
    for channel in world.listening:
        many = sum(said.channel == channel for said in pages(world))
        cell.demand(many <= 1, f"{many} pages of one outage on {channel}")


COLUMNS: Final = (while_well, breaks_first, fails_first)


def row(play: Play, stage: Stage, lengths: Lengths) -> list[Cell]:
    idle = play.world.get("idle")
    return [Cell(["–"]) if idle and column is fails_first else column(play, stage, lengths) for column in COLUMNS]


def outage(users: Given, kind: str, deaf: str = "", minutes: int = 20) -> dict[str, Cell]:
    """So many minutes of it, and its end, by channel: one message of this kind, and one of its end. `deaf`: a channel
    that is away all the while, and comes back when all is over."""
    with _deployment(embedded, names=EVERY) as world:
        world.run(60)
        if deaf:
            world.listening[deaf].answer(503, again=ALWAYS)
        world.users = users
        world.run(minutes * 60)
        world.users = WELL
        world.run(OVER + 60, 30)
        if deaf:
            world.listening[deaf].answer()
            world.run(60)
        heard = world.heard
    cells = {}
    for channel in EVERY:
        told = [said.kind for said in heard if said.channel == channel and said.alert != "ChannelStuck"]
        cells[channel] = cell = Cell([", ".join(f"one {said}" for said in told) or "nothing"])
        # Alertmanager is told of what is over too, and tells nobody of it.
        wanted = ["past"] if channel == deaf else [kind, "end"]
        cell.demand(told == wanted, f"expected {', '.join(wanted)}")
    return cells


OUTAGES: Final = {
    "HOSP is down, the standby covers": lambda minutes: outage(COVERED, "ticket", minutes=minutes),
    "HOSP is down, users get errors": lambda minutes: outage(FAILING, "page", minutes=minutes),
    "the same, and Slack is away all the while": lambda minutes: outage(FAILING, "page", "slack", minutes),
}  # fmt: skip


def busy(rate: int = 50, history: int = 3600) -> tuple[Cell, int]:
    """A total outage at 50 requests a second that begins just after a look: after how many seconds each channel has the
    page, and by the 99.99% objective."""
    cell = Cell()
    with _deployment(embedded, names=EVERY, rate=rate, history=history) as world:
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


def embedded(folder: Path) -> Shelf:
    return Shelf.embedded(folder)


def table(headings: Sequence[str], rows: Sequence[tuple[str, Sequence[Cell]]]) -> str:
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(map(str, cells))} |" for name, cells in rows)])


HEADINGS: Final = (
    "what breaks",
    "users are well: what is told",
    "it breaks, then users fail",
    "users fail, then it breaks",
)


def plays(only: str) -> Iterator[tuple[str, list[Cell]]]:
    for play in PLAYS:
        if only in play.name:
            yield play.name, row(play, embedded, Lengths())


def elastic(only: str) -> Iterator[tuple[str, list[Cell]]]:
    """By a real node."""
    prepare(VERSIONS[0])
    with tempfile.TemporaryDirectory(prefix="breakage-") as name:
        node = Node(VERSIONS[0], Path(name))
        node.start()
        try:
            for play in STORE:
                if only in play.name:
                    yield f"Elasticsearch: {play.name}", row(play, lambda _: ElasticShelf(node), Lengths())
        finally:
            node.stop()


def prometheus(only: str) -> Iterator[tuple[str, list[Cell]]]:
    if only in label_clash.NAME:
        well, failing, wrong = label_clash.play()
        yield label_clash.NAME, [Cell([well]), Cell([failing], wrong), Cell(["–"])]


@click.command()
@click.option("--only", default="", help="Plays whose name has this in it.")
@click.option("--docs", type=click.Path(path_type=Path), help="Where the tables are put, between their marks.")
def main(only: str, docs: Path | None) -> None:
    """Break what alerts depend on, and print what people were told."""
    rows: list[tuple[str, list[Cell]]] = []
    for part in (plays, elastic, prometheus):
        for name, cells in part(only):
            rows.append((name, cells))
            click.echo(f"{name}: {' | '.join(map(str, cells))}")
    outages = [(name, list(played(20).values())) for name, played in OUTAGES.items() if only in name]
    took = [busy()[0]] if not only else []
    made = table(HEADINGS, rows)
    told = table(("outage", *EVERY), outages)
    told += "".join(
        f"\n\nA total outage at 50 requests a second is told on every channel after {each}." for each in took
    )
    click.echo(f"{made}\n\n{told}")
    if docs is not None:
        put(docs, "breakage", made)
        put(docs, "outages", told)
    wrong = sum(bool(cell.wrong) for cell in [cell for _, cells in [*rows, *outages] for cell in cells] + took)
    if wrong:
        raise click.ClickException(f"{wrong} plays broke a promise")


if __name__ == "__main__":
    main()
