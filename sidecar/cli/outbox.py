"""`understudy outbox`, `promote` and `demote`: what people do about writes that the upstream has not confirmed."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from sidecar.control import client
from sidecar.settings import Settings


@click.group(invoke_without_command=True)
@click.pass_context
def outbox(context: click.Context) -> None:
    """Writes accepted from users and not yet confirmed by the upstream. Without a command: list."""
    if context.invoked_subcommand is None:
        context.invoke(list_entries)


@outbox.command("list")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.pass_obj
def list_entries(settings: Settings, form: str = "text") -> None:
    """Every entry that is not settled, the oldest first."""
    told = client.get(settings, "/outbox")
    if form == "json":
        click.echo(json.dumps(told, indent=2))
        return
    host, port = settings.control_listen
    click.echo(f"of the sidecar {told['node']}, at {host}:{port}:")
    click.echo(f"{told['pending']} to be settled, {len(told['parked'])} parked, {told['owned']} kept for a demotion")
    for entry in told["entries"]:
        click.echo(_line(entry))


@outbox.command("show")
@click.argument("entry")
@click.pass_obj
def show(settings: Settings, entry: str) -> None:
    """All that is known of ENTRY, less secrets."""
    click.echo(json.dumps(client.get(settings, f"/outbox/{client.segment(entry)}"), indent=2, ensure_ascii=False))


@outbox.command("retry")
@click.argument("entry")
@click.option("--reason", default="", help="Why, for the record.")
@click.option("--replay-credentials", is_flag=True, help="With REPLAY_CREDENTIALS: the writer's own are refused.")
@click.pass_obj
def retry(settings: Settings, entry: str, reason: str, replay_credentials: bool) -> None:
    """Try the parked ENTRY again."""
    body = {"reason": reason, "replay_credentials": replay_credentials}
    told = client.post(settings, f"/outbox/{client.segment(entry)}/retry", body)
    click.echo(f"{entry}: {told['state']}")


@outbox.command("merge")
@click.argument("entry")
@click.argument("fields", nargs=-1, required=True)
@click.option("--reason", default="", help="Why, for the record.")
@click.pass_obj
def merge(settings: Settings, entry: str, fields: tuple[str, ...], reason: str) -> None:
    """Send the parked conflict ENTRY with FIELDS as it says, and the others as the upstream has them."""
    path = f"/outbox/{client.segment(entry)}"
    revision = client.get(settings, path)["revision"]
    told = client.post(settings, f"{path}/merge", {"fields": list(fields), "revision": revision, "reason": reason})
    click.echo(f"{entry}: {told['state']}")


@outbox.command("discarded")
@click.pass_obj
def discarded(settings: Settings) -> None:
    """Writes that people gave up, the latest first, by whom and why."""
    for entry in client.get(settings, "/outbox/discarded")["entries"]:
        click.echo(f"{_line(entry)}  by {entry['by']}")


@outbox.command("discard")
@click.argument("entry")
@click.option("--reason", required=True, help="Why, for the record: a user was told that this was done.")
@click.confirmation_option(prompt="The write will never be made. Go on?")
@click.pass_obj
def discard(settings: Settings, entry: str, reason: str) -> None:
    """Give the parked ENTRY up: it will not be made."""
    client.post(settings, f"/outbox/{client.segment(entry)}/discard", {"reason": reason})
    click.echo(f"{entry}: discarded")


@click.command()
@click.argument("resource")
@click.option("--reason", default="", help="Why, for the record.")
@click.option("--force", is_flag=True, help="Although completeness or parity speak against it.")
@click.pass_obj
def promote(settings: Settings, resource: str, reason: str, force: bool) -> None:
    """Make the standby the owner of RESOURCE: the upstream is not asked about it any more."""
    told = client.post(settings, f"/resources/{client.segment(resource)}/promote", {"reason": reason, "force": force})
    for doubt in told["overruled"]:
        click.echo(f"overruled: {doubt}", err=True)
    click.echo(f"{resource}: the standby is the owner")


@click.command()
@click.argument("resource")
@click.option("--reason", default="", help="Why, for the record.")
@click.pass_obj
def demote(settings: Settings, resource: str, reason: str) -> None:
    """Give RESOURCE back to the upstream, and replay what it has missed."""
    told = client.post(settings, f"/resources/{client.segment(resource)}/demote", {"reason": reason})
    click.echo(f"{resource}: the upstream is the owner; {told['to_replay']} writes to replay")


def _line(entry: dict[str, Any]) -> str:
    age = max(0, int(time.time() - entry["accepted_at"] / 1e9))
    record = entry["record_id"] or entry["provisional_id"]
    why = f"  {entry['reason']}" if entry["reason"] else ""
    ask = f"  → {entry['proposal']}?" if entry["proposal"] else ""
    what = f"{entry['action']} {entry['resource']} {record}"
    return f"{entry['id']}  {entry['state']:8} {age:>6} s  {what:30} {entry['user']}{why}{ask}"
