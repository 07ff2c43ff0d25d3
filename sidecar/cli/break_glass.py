"""`understudy break-glass`: an emergency, for one person and some hours; every access under it is flagged."""

from __future__ import annotations

import click

from sidecar.control import client
from sidecar.settings import Settings, this_person
from sidecar.timeunits import to_rfc3339


@click.group("break-glass")
def break_glass() -> None:
    """Let a person do, for some hours and a reason, what access policies deny. All of it is flagged."""


@break_glass.command("open")
@click.argument("user")
@click.option("--hours", type=float, default=4.0, show_default=True, help="For how long; 72 at most.")
@click.option("--reason", required=True, help="Why, for the record.")
@click.pass_obj
def open_(settings: Settings, user: str, hours: float, reason: str) -> None:
    """Open it for USER, from now on. A revocation holds all the same."""
    body = {"user": user, "hours": hours, "reason": reason}
    made = client.post(settings, "/break-glass", body, by=this_person())
    click.echo(f"{made['id']}: open for {user} until {to_rfc3339(made['until'])[:19]}Z")


@break_glass.command("end")
@click.argument("ident", metavar="ID")
@click.option("--reason", default="", help="Why, for the record.")
@click.pass_obj
def end(settings: Settings, ident: str, reason: str) -> None:
    """End it before its time."""
    made = client.post(settings, f"/break-glass/{client.segment(ident)}/end", {"reason": reason}, by=this_person())
    click.echo(f"{ident}: ended for {made['user']}")


@break_glass.command("list")
@click.pass_obj
def list_(settings: Settings) -> None:
    """Every break-glass, the latest first: who, from when to when, by whom and why."""
    for each in client.get(settings, "/break-glass")["grants"]:
        end = each["ended"] or each["until"]
        state = "open until" if each["open"] else "ended"
        times = f"from {to_rfc3339(each['since'])[:19]}Z, {state} {to_rfc3339(end)[:19]}Z"
        click.echo(f"{each['id']}  {each['user']}: {times}, by {each['by']}: {each['reason']}")
