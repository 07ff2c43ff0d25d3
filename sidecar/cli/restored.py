"""`understudy restore --check`: what a database that was put back lacks, by the mark and by what was recorded."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sidecar.settings import Settings

if TYPE_CHECKING:
    from sidecar.events.recorded import Recorded


def check(settings: Settings, journals: Sequence[Path]) -> None:
    """Says it, and changes nothing. `journals`: folders of segments beside the node's own."""
    from sidecar.events.store import StoreUnavailable
    from sidecar.standby import high_water
    from sidecar.standby.outbox.watermark import Mark
    from sidecar.storage.database import open_engine

    engine, mark = open_engine(settings), high_water.kept(settings)
    try:
        mark = mark.above(high_water.in_store(settings))
    except StoreUnavailable as error:
        click.echo(f"the event store does not answer, so that other nodes' mark is not known: {error}", err=True)
    with engine.execution_options(writes=False).connect() as connection, connection.begin():
        found = high_water.compare(connection, mark)
    engine.dispose()
    if mark == Mark():
        raise click.ClickException(
            f"{settings.high_water_mark_file} is not there: nobody can say what the database lacks"
        )
    if found is None:
        click.echo("the database is not behind the mark")
    else:
        click.echo(f"{found.changes} changes of the outbox and {found.ids} provisional ids are not in the database")
        click.echo(f"{len(found.entries)} pending entries will be looked up before they are sent")
        for ident in found.entries:
            click.echo(ident)
    _list(settings, journals)


def _list(settings: Settings, journals: Sequence[Path]) -> None:
    """The acknowledged writes that the database has no entry for."""
    from sqlalchemy import select

    from sidecar.contract import Contract
    from sidecar.events.recorded import in_journals
    from sidecar.standby.outbox.entries import KEPT, outbox
    from sidecar.standby.outbox.missing import missing
    from sidecar.storage.database import open_engine

    since = time.time_ns() - KEPT  # what is older may have been pruned
    engine = open_engine(settings)
    with engine.execution_options(writes=False).connect() as connection, connection.begin():
        known = {(row.request_id, row.endpoint) for row in connection.execute(select(outbox))}
    engine.dispose()
    recorded = chain(in_journals([settings.data / "journal", *journals], since), _from_store(settings, since))
    found = missing(recorded, Contract.load(settings.contract), known)
    for each in found:
        click.echo(each.line())
    count = {fate: sum(each.fate == fate for each in found) for fate in ("lost", "unclear", "reached")}
    click.echo(
        f"acknowledged writes without an entry: {count['lost']} lost, {count['unclear']} unclear, "
        f"{count['reached']} reached the upstream"
    )


def _from_store(settings: Settings, since: int) -> Iterator[Recorded]:
    from sidecar.events.recorded import in_store
    from sidecar.events.store import StoreUnavailable

    try:
        yield from in_store(
            settings, since, event__action=["create", "update", "delete"], understudy__purpose=["user", "replay"]
        )
    except StoreUnavailable as error:
        click.echo(f"the event store does not answer: what only it has is not listed ({error})", err=True)
