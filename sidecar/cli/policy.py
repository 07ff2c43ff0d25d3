"""`understudy policy`: what access policies would stop, and whether they do."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import urlencode

import click

from sidecar.control import client
from sidecar.settings import Settings

PATIENCE: Final = 300.0
"""Seconds that a week of traffic may take to be replayed."""
FORMAT: Final = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
REASON: Final = click.option("--reason", default="", help="Why, for the record.")


@click.group()
def policy() -> None:
    """Access policies: observed first, enforced one by one."""


@policy.command("list")
@FORMAT
@click.pass_obj
def list_policies(settings: Settings, form: str) -> None:
    """Every policy: whether it is off, reports or is enforced, and who is excepted."""
    told = client.get(settings, "/policies")
    if form == "json":
        click.echo(json.dumps(told, indent=2))
        return
    for row in told["policies"]:
        click.echo(f"{row['name']:30} {row['mode']:8} {row['status']}  {row['says']}")
        for made in row["exceptions"]:
            click.echo(f"    except {made['user']}: {made['detail'] or 'whatever they do'}  ({made['reason']})")


@policy.command()
@click.option("--since", default="7d", show_default=True, help="How far back: 12h, 7d, …")
@click.option("--policy", "names", multiple=True, help="Only this policy; may be given again.")
@FORMAT
@click.pass_obj
def report(settings: Settings, since: str, names: tuple[str, ...], form: str) -> None:
    """Replay recorded traffic, and say who and what each policy would have stopped, and whether that had succeeded."""
    query = urlencode([("since", since), *(("policy", name) for name in names)])
    told = client.get(settings, f"/policies/report?{query}", timeout=PATIENCE)
    if form == "json":
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(f"{told['requests']} requests of users in the last {since}")
    for name, found in told["policies"].items():
        unknown = f"; {found['untellable']} could not be judged" if found["untellable"] else ""
        click.echo(f"\n{name}: would have stopped {sum(row['requests'] for row in found['stopped'])}{unknown}")
        for row in found["stopped"]:
            click.echo(f"    {_line(row)}")


@policy.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Although people who did so with success would be stopped.")
@REASON
@click.pass_obj
def enforce(settings: Settings, name: str, force: bool, reason: str) -> None:
    """Deny what is against the policy NAME, unless that would have stopped somebody in the last 7 days."""
    _post(settings, name, "enforce", {"force": force, "reason": reason})
    click.echo(f"{name}: enforced")


@policy.command("report-only")
@click.argument("name")
@REASON
@click.pass_obj
def report_only(settings: Settings, name: str, reason: str) -> None:
    """Only write down what is against the policy NAME."""
    _post(settings, name, "report-only", {"reason": reason})
    click.echo(f"{name}: only reports")


@policy.command()
@click.argument("name")
@REASON
@click.pass_obj
def off(settings: Settings, name: str, reason: str) -> None:
    """Do not look at the policy NAME."""
    _post(settings, name, "off", {"reason": reason})
    click.echo(f"{name}: off")


@policy.command("except")
@click.argument("name")
@click.argument("user")
@click.option("--detail", default="", help="Only this, as `report` shows it, e.g. 'staff_id 7'.")
@click.option("--remove", is_flag=True, help="Take the exception back.")
@REASON
@click.pass_obj
def allow(settings: Settings, name: str, user: str, detail: str, remove: bool, reason: str) -> None:
    """Allow USER what the policy NAME would stop: all of it, or one detail."""
    body = {"user": user, "detail": detail, "remove": remove, "reason": reason}
    _post(settings, name, "exceptions", body)
    click.echo(f"{name}: {user} is {'no longer ' if remove else ''}excepted{f' for {detail}' if detail else ''}")


def _post(settings: Settings, name: str, action: str, body: dict[str, Any]) -> None:
    client.post(settings, f"/policies/{client.segment(name)}/{action}", body, timeout=PATIENCE)


def _line(row: dict[str, Any]) -> str:
    marks = [word for word in ("excepted", "revoked", "test") if row[word]]
    what = f"{row['user'] or '(nobody)'}: {row['detail'] or 'requests'}"
    counts = f"{row['requests']} times, {row['succeeded']} of them with success"
    denied = f", {row['denied']} denied" if row["denied"] else ""
    seen = f"{row['first'][:19]} to {row['last'][:19]}"
    return f"{what}, {counts}{denied}, {seen}" + (f" [{', '.join(marks)}]" if marks else "")
