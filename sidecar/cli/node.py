"""`understudy node`: the sidecars that share one database, and what people do about one that is gone."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from sidecar.control import client
from sidecar.settings import Settings
from sidecar.storage.instance import known_instance

_COLUMNS = (("node", 20), ("state", 10), ("silent_seconds", 15), ("version", 10), ("contract", 10),
            ("skew_seconds", 13), ("unshipped", 10), ("control", 24))  # fmt: skip


@click.group(invoke_without_command=True)
@click.pass_context
def node(context: click.Context) -> None:
    """The sidecars that share this one's database. Without a command: list."""
    if context.invoked_subcommand is None:
        context.invoke(list_nodes)


@node.command("list")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@click.pass_obj
def list_nodes(settings: Settings, form: str = "table") -> None:
    """Every node: when it was last heard of, what it runs, its clock, and what it has not shipped."""
    rows = client.get(settings, "/nodes")
    if form == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    click.echo("".join(name.ljust(width) for name, width in _COLUMNS).rstrip())
    for row in rows:
        cells = [str("-" if row[name] is None else row[name])[: width - 1].ljust(width) for name, width in _COLUMNS]
        click.echo("".join(cells).rstrip())


@node.command("drain")
@click.argument("name")
@click.option("--reason", default="", help="Why, for the log.")
@click.pass_obj
def drain(settings: Settings, name: str, reason: str) -> None:
    """Have the health check of node NAME send users elsewhere, until it is started or reloaded."""
    client.post(settings, f"/nodes/{client.segment(name)}/drain", {"reason": reason})
    click.echo(f"{name}: users are sent elsewhere; stop it when it is idle")


@node.command("remove")
@click.argument("name")
@click.option("--lost", is_flag=True, help="What it has not shipped is lost, and nobody will bring its DATA.")
@click.option("--reason", default="", help="Why, for the log.")
@click.pass_obj
def remove(settings: Settings, name: str, lost: bool, reason: str) -> None:
    """No longer expect node NAME, which is stopped: it is no alert any more."""
    client.post(settings, f"/nodes/{client.segment(name)}/remove", {"lost": lost, "reason": reason})
    click.echo(f"{name}: removed")


@node.command("adopt")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--timeout", default=600.0, show_default=True, help="Seconds to wait for the event store.")
@click.pass_obj
def adopt(settings: Settings, data: Path, timeout: float) -> None:
    """Ship what the journal in DATA, of a node that is gone, has left; then remove that node.

    DATA is the dead node's folder, or a copy of it. Nothing in it but its shipping progress is changed, and shipping it
    twice changes nothing: keep it for `audit verify` as long as you keep events.
    """
    if not settings.elasticsearch:
        raise click.ClickException("there is no shared event store (ELASTICSEARCH): the events of DATA are in DATA")
    if not data.is_dir():
        raise click.ClickException(f"{data}: there is no such folder")
    instance = known_instance(data)
    found = [row for row in client.get(settings, "/nodes") if row["instance"] == instance]
    with _alone(data):
        click.echo(f"{_ship(settings, data, timeout)} events shipped")
    for row in found:
        client.post(settings, f"/nodes/{client.segment(row['node'])}/remove", {"lost": True, "reason": "adopted"})
        click.echo(f"{row['node']}: removed")
    if not found:
        click.echo("no node that is known has this DATA: none is removed")


def _ship(settings: Settings, data: Path, timeout: float) -> int:
    """How many events were shipped. Raises ClickException where the store does not take them all in time."""
    from sidecar.events.shipper import Shipper
    from sidecar.events.store.factory import open_store

    store, until = open_store(settings), time.monotonic() + timeout
    try:
        shipper = Shipper(
            data / "journal", store, data / "shipped.json", data / "dead-letter", may_drop=lambda: False
        )  # fmt: skip
        while True:
            wait = shipper.step(time.time())
            if shipper.trouble is None and shipper.lag(time.time()).events == 0:
                return shipper.shipped
            if time.monotonic() > until:
                raise click.ClickException(f"not all of it is shipped: {shipper.trouble or 'time is up'}")
            time.sleep(min(wait, 1.0))
    finally:
        store.close()


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Raises ClickException where a sidecar runs on this DATA."""
    lock = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise click.ClickException(f"{data} is in use by a sidecar: it ships by itself") from None
    finally:
        os.close(lock)
