"""`understudy rebuild --from-events`: what was recorded is learned again, when DATA and the upstream are gone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import click

from sidecar.settings import Settings
from sidecar.timeunits import DAY, SECOND, to_rfc3339

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from sidecar.events.recorded import Recorded

ACTIONS: Final = ("list", "read", "create", "update", "delete")
PURPOSES: Final = ("user", "replay", "backfill", "parity", "copy")
NEVER_RECORDED: Final = (
    "passwords: nobody is known before the upstream has accepted them again",
    "what was proven of the upstream: until it is proven anew, the standby derives nothing (unless UNPROVEN=serve)",
    "pages, and answers to calls such as screenings",
)
"""What no event says, and what is therefore lacking after every rebuild."""


@click.command()
@click.option("--from-events", is_flag=True, required=True, help="From what the event store holds.")
@click.option("--check", "only_check", is_flag=True, help="Only say what would be known; change nothing.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.pass_obj
def rebuild(settings: Settings, from_events: bool, only_check: bool, form: str) -> None:
    """Learn again what was recorded, into an empty database: for when DATA and the upstream are both gone.

    All of it is unverified. Say what is whole, and what is lacking."""
    from sidecar.events.store import StoreUnavailable

    try:
        told = _rebuild(settings, only_check)
    except StoreUnavailable as error:
        raise click.ClickException(f"the event store does not answer, and nothing was changed: {error}") from None
    click.echo(json.dumps(told, indent=2) if form == "json" else "\n".join(_lines(told)))


def _rebuild(settings: Settings, only_check: bool) -> dict[str, Any]:
    from sidecar.contract import Contract
    from sidecar.events.recorded import in_store
    from sidecar.standby.outbox.missing import missing, reached
    from sidecar.standby.rebuild.moments import moments
    from sidecar.standby.rebuild.relearning import NotEmpty, Relearning, refuse_known, state_of
    from sidecar.storage.database import create_all, open_engine, or_away

    contract = Contract.load(settings.contract)
    since = time.time_ns() - int(settings.retention * SECOND)
    target = _target(settings) if not only_check else None
    try:
        if target is not None:
            with or_away(settings), target.begin() as connection:
                refuse_known(connection)
        with TemporaryDirectory(prefix="rebuild-", dir=settings.data if settings.data.exists() else None) as folder:
            scratch = open_engine(replace(settings, data=Path(folder), database=None))
            create_all(scratch)
            relearning = Relearning(contract, scratch, settings)
            late = int((settings.upstream_timeout + settings.late_effect) * SECOND)
            for moment in moments(_days(settings, since), late):
                relearning.apply(moment)
            wrote = list(
                in_store(settings, since, event__action=list(ACTIONS[2:]), understudy__purpose=["user", "replay"])
            )
            lost = relearning.finish(missing(wrote, contract, ()), reached(wrote, contract))
            revoked = _revoked(settings, since)
            told: dict[str, Any] = {
                "resources": state_of(scratch, contract),
                "learned": relearning.learned,
                "passed_over": {str(lack): count for lack, count in sorted(relearning.lacks.items())},
                "outside_contract": relearning.strangers,
                "ids": len(relearning.aliases),
                "writes": [each.line() for each in lost],
                "revoked": revoked,
                "kept": not only_check,
            }
            if target is not None:
                relearning.into(target)
                _revoke(target, revoked)
            scratch.dispose()
    except NotEmpty as error:
        raise click.ClickException(f"{error}; nothing was changed") from None
    finally:
        if target is not None:
            target.dispose()
    return told


def _target(settings: Settings) -> Engine:
    from sidecar.storage.database import create_all, open_engine, or_away

    engine = open_engine(settings)
    with or_away(settings):
        create_all(engine)
    return engine


def _days(settings: Settings, since: int) -> Iterator[tuple[int, Sequence[Recorded]]]:
    """What was recorded, day by day, the oldest first."""
    from sidecar.events.recorded import in_store

    for day in range(since // DAY, time.time_ns() // DAY + 1):
        until = (day + 1) * DAY
        found = list(
            in_store(settings, day * DAY, until, event__action=list(ACTIONS), understudy__purpose=list(PURPOSES))
        )
        if found:
            click.echo(f"{to_rfc3339(day * DAY)[:10]}: {len(found)} exchanges", err=True)
            yield until, found


def _revoked(settings: Settings, since: int) -> list[str]:
    """Whose credentials were revoked, and not restored since."""
    from sidecar.events.recorded import in_store

    said = in_store(settings, since, event__action=["revoke", "restore"], understudy__purpose=["audit"])
    gone: dict[str, None] = {}
    for event, _ in reversed(list(said)):
        user = str(event["understudy"]["deed"]["user"])
        if event["event"]["action"] == "revoke":
            gone[user] = None
        else:
            gone.pop(user, None)
    return list(gone)


def _revoke(engine: Engine, users: Sequence[str]) -> None:
    from sidecar.standby.known_callers import Callers

    callers = Callers(engine)
    for user in users:
        callers.revoke(user)


def _lines(told: dict[str, Any]) -> Iterator[str]:
    yield f"learned again from {told['learned']} exchanges" + ("" if told["kept"] else "; nothing was changed")
    for name, row in told["resources"].items():
        said = "whole" if row["whole"] else "not whole: some may be lacking"
        since = f", the oldest as of {to_rfc3339(row['oldest'])[:19]}Z" if row["oldest"] is not None else ""
        yield f"{name}: {row['known']} known{since}, {row['in_doubt']} in doubt; {said}"
    for lack, count in told["passed_over"].items():
        yield f"nothing learned from {count} answers: {lack}"
    if told["outside_contract"]:
        yield f"nothing learned from {told['outside_contract']} exchanges that the contract does not know"
    yield from told["writes"]
    yield f"{len(told['writes'])} acknowledged writes were never seen to reach the upstream"
    yield f"{told['ids']} provisional ids mean their records again; {len(told['revoked'])} people stay revoked"
    for lack in NEVER_RECORDED:
        yield f"lacking: {lack}"
