"""What breaks, how it is mended, and what alerts owe people meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from alerts.rules import conditions
from sidecar.timeunits import DAY, HOUR
from tests.alerts.heard import BURN
from tests.alerts.shelves import TODAY
from tests.alerts.world import World
from tests.support.alerts.receivers import CLOSED

Act = Callable[[World], object]
ALWAYS: Final = 10_000
"""More answers than anybody asks for."""


@dataclass(frozen=True, kw_only=True)
class Play:
    """`tells`: alerts that it must be told by while users are well. `pages`: pages that are right whatever users get,
    for it is trouble of its own. `instead`: pages that stand for that of users, where what they get cannot be known.
    `deaf`: channels that can hear nothing. `blind`: nobody can be told anything, so the heart must stop."""

    name: str
    breaks: Act = lambda _: None
    mends: Act = lambda _: None
    tells: frozenset[str] = frozenset()
    pages: frozenset[str] = frozenset()
    instead: frozenset[str] = frozenset()
    deaf: frozenset[str] = frozenset()
    blind: bool = False
    full: bool = False
    """People can be told of nothing new: where there is something, the heart must stop."""
    stops: bool = False
    """The heart stops, though people can be told."""
    hours: int = 0
    """For so long while users are well; 0: as long as the others."""
    world: Mapping[str, Any] = field(default_factory=dict)
    """How the deployment is."""


def setting(**values: Any) -> Act:
    """Sets attributes of the first sidecar."""

    def act(world: World) -> None:
        for name, value in values.items():
            setattr(world.sidecars[0], name, value)

    return act


def answering(channel: str, *answers: int | str, wait: str = "") -> tuple[Act, Act]:
    """A receiver answers so from now on; and is well again."""

    def breaks(world: World) -> None:
        world.listening[channel].answer(*answers, again=ALWAYS)
        world.listening[channel].receiver.retry_after = wait  # type: ignore[union-attr]

    return breaks, lambda world: world.listening[channel].answer()


def _both(channel: str, *answers: int | str, wait: str = "", **given: Any) -> dict[str, Any]:
    breaks, mends = answering(channel, *answers, wait=wait)
    told = {"pages": frozenset({"ChannelStuck"}), "deaf": frozenset({channel})}
    return {"breaks": breaks, "mends": mends, **told, **given}


def steps(by: int) -> Act:
    def act(world: World) -> None:
        world.clock.off += by

    return act


def _restarts(world: World) -> None:
    world.kill()
    world.start()


def _sidecar_restarts(world: World) -> None:
    world.sidecars[0].begin()


def _second_goes(world: World) -> None:
    two = world.sidecars[1]
    two.gone, two.silent_since = True, world.clock.steady


def _second_comes(world: World) -> None:
    two = world.sidecars[1]
    two.gone, two.silent_since = False, None


def _disk(full: bool) -> Act:
    def act(world: World) -> None:
        world.disk_full = full

    return act


def _beats(taken: bool) -> Act:
    def act(world: World) -> None:
        world.beats_taken = taken

    return act


def _deafened(world: World) -> None:
    for channel in world.listening.values():
        channel.answer(503, again=ALWAYS)


def _heard_again(world: World) -> None:
    for channel in world.listening.values():
        channel.answer()


def _nonsense(world: World) -> None:
    world.shelf.nonsense = True


def _wrong_rule(world: World) -> None:
    """As a rule that was checked at load and fails all the same."""
    broken = [replace(rule, said="{value:%Q}", above=-1.0, below=None) if rule.alert == "OutboxOld" else rule
              for rule in world.rules]  # fmt: skip
    told = [replace(rule, metric="understudy_database_up") if rule.alert == "OutboxOld" else rule for rule in broken]
    world.rules = tuple(told)
    _restarts(world)


def _right_rules(world: World) -> None:
    world.rules = conditions.load()
    _restarts(world)


def _damaged(world: World) -> None:
    """The file of counts, while nobody runs."""
    world.kill()
    (world.folder / "rollups.db").write_bytes(b"not a database" * 100)
    world.start()


MENDS: Final[Act] = lambda world: world.shelf.mends()  # noqa: E731
NO_DATA: Final = frozenset({"NoData"})
UNREACHABLE: Final = frozenset({"SidecarUnreachable"})
FULL: Final = frozenset({"RecordingGap", "DiskFilling"})
THREE: Final = frozenset({"webhook", "slack", "pagerduty"})

STORE: Final = (
    Play(name="the event store is away", breaks=lambda w: w.shelf.goes(), mends=MENDS, tells=NO_DATA, stops=True),
    Play(name="the event store is read-only (flood stage)", breaks=lambda w: w.shelf.blocks(), mends=MENDS,
         tells=NO_DATA),
    Play(name="today's index is closed", breaks=lambda w: w.shelf.closes(TODAY), mends=MENDS, tells=NO_DATA,
         stops=True),
    Play(name="yesterday's index is closed", breaks=lambda w: w.shelf.closes(TODAY - DAY), mends=MENDS,
         tells=NO_DATA),
    Play(name="today's index has a stranger's mapping", breaks=lambda w: w.shelf.estranges(TODAY), mends=MENDS,
         tells=NO_DATA, stops=True),
)  # fmt: skip
"""Played with a real Elasticsearch too."""
PLAYS: Final = (
    *STORE,
    Play(name="the event store answers nonsense", breaks=_nonsense, mends=MENDS,
         tells=frozenset({"EvaluationFailed"}), stops=True),
    Play(name="the file of counts is damaged", breaks=_damaged),
    Play(name="the disk under a sidecar is full", breaks=setting(disk_full=True), mends=setting(disk_full=False),
         tells=FULL, pages=FULL),
    Play(name="the disk under the alerts is full", breaks=_disk(True), mends=_disk(False), full=True),
    Play(name="the clock steps an hour ahead", breaks=steps(HOUR)),
    Play(name="the clock steps an hour back", breaks=steps(-HOUR), tells=NO_DATA),
    Play(name="a channel answers 400", **_both("webhook", 400)),
    Play(name="a channel answers 410", **_both("slack", 410)),
    Play(name="a channel answers 401", **_both("pagerduty", 401)),
    Play(name="a channel answers 429, Retry-After: 120", **_both("slack", 429, wait="120")),
    Play(name="a channel breaks off", **_both("webhook", CLOSED)),
    Play(name="a channel hangs", breaks=lambda w: w.listening["pagerduty"].hang(True),
         mends=lambda w: w.listening["pagerduty"].hang(False), pages=frozenset({"ChannelStuck"}),
         deaf=frozenset({"pagerduty"})),
    Play(name="every channel is away", breaks=_deafened, mends=_heard_again, deaf=THREE),
    Play(name="the dead man's switch answers 404", breaks=_beats(False), mends=_beats(True),
         tells=frozenset({"HeartbeatFailing"}), stops=True),
    Play(name="the evaluator is killed", breaks=lambda w: w.kill(), mends=lambda w: w.start(), blind=True),
    Play(name="the evaluator is killed, and another takes over", breaks=_restarts),
    Play(name="a sidecar is gone", breaks=setting(gone=True), mends=setting(gone=False), tells=UNREACHABLE,
         pages=UNREACHABLE, instead=UNREACHABLE, stops=True),
    Play(name="a sidecar restarts", breaks=_sidecar_restarts),
    Play(name="one of two sidecars is gone", breaks=_second_goes, mends=_second_comes,
         tells=frozenset({"NodeSilent"}), world={"nodes": 2}),
    Play(name="a sidecar does not say how far it has shipped",
         breaks=setting(lacks=frozenset({"understudy_journal_behind_seconds"})), mends=setting(lacks=frozenset()),
         tells=NO_DATA, stops=True),
    Play(name="a sidecar answers nonsense", breaks=setting(nonsense=True), mends=setting(nonsense=False),
         tells=UNREACHABLE, pages=UNREACHABLE, instead=UNREACHABLE, stops=True),
    Play(name="a rule fails", breaks=_wrong_rule, mends=_right_rules,
         tells=frozenset({"EvaluationFailed"}), stops=True),
    Play(name="first start: nobody has asked yet", hours=3, world={"history": 0, "idle": True}),
    Play(name="a quiet night", hours=8, world={"begins": TODAY + 22 * HOUR, "idle": True}),
    Play(name="nobody asks any more, by day", hours=2, tells=frozenset({"NoTraffic"}), world={"idle": True}),
)  # fmt: skip

__all__ = ["ALWAYS", "BURN", "PLAYS", "STORE", "Play"]
