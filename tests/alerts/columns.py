"""The three ways in which each play is played: users are well; it breaks, then they fail; they fail, then it breaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sidecar.timeunits import SECOND
from tests.alerts.heard import BURN
from tests.alerts.judging import OVER, SOON, Cell, Stage, deployment, ended, paged, pages
from tests.alerts.plays import Play
from tests.alerts.simulated_sidecar import WELL
from tests.alerts.world import World

STUCK: Final = 400
"""Seconds after which a channel that takes nothing is known as such, and some."""


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


def while_well(play: Play, stage: Stage, lengths: Lengths) -> Cell:
    """Users are well: only the trouble itself is told."""
    cell = Cell()
    with deployment(stage, **play.world) as world:
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
    with deployment(stage, **play.world) as world:
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
    with deployment(stage, **play.world) as world:
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
