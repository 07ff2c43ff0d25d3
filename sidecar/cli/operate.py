"""What on-call does from a shell: who answers for an endpoint, who is refused, and what the copy holds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import click

from sidecar.cli import restored
from sidecar.control import client
from sidecar.settings import Settings, duration, this_person


@click.command()
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@click.pass_obj
def endpoints(settings: Settings, form: str) -> None:
    """The state of each endpoint: who answers, its circuit, and whether the standby is ready."""
    rows = client.get(settings, "/endpoints")
    if form == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    columns = (("id", 20), ("mode", 9), ("circuit", 10), ("answered_by", 12), ("percent", 8))
    click.echo("".join(name.ljust(width) for name, width in columns) + "ready")
    for row in rows:
        ready = "yes" if row["ready"] else f"no: {row['ready_reason']}"
        click.echo("".join(str(row[name]).ljust(width) for name, width in columns) + ready)
    background = client.get(settings, "/background")
    if not background["alive"]:
        click.echo(f"understudy: warning: {background['trouble']}: nothing is replayed, shipped or signed", err=True)


def _act(settings: Settings, endpoint: str, action: str, **body: Any) -> None:
    client.post(settings, f"/endpoints/{client.segment(endpoint)}/{action}", body)


@click.command()
@click.argument("endpoint")
@click.option("--reason", default="", help="Why, for the record.")
@click.pass_obj
def takeover(settings: Settings, endpoint: str, reason: str) -> None:
    """Let the standby answer for ENDPOINT until handback."""
    _act(settings, endpoint, "takeover", reason=reason)
    click.echo(f"{endpoint}: the standby answers")


@click.command()
@click.argument("endpoint")
@click.option("--reason", default="", help="Why, for the record.")
@click.pass_obj
def handback(settings: Settings, endpoint: str, reason: str) -> None:
    """Let the upstream answer for ENDPOINT again."""
    _act(settings, endpoint, "handback", reason=reason)
    click.echo(f"{endpoint}: the upstream answers")


def _percent(value: str) -> float:
    """`25` or `25%`."""
    try:
        percent = float(value.strip().removesuffix("%"))
    except ValueError:
        percent = -1
    if not 0 <= percent <= 100:
        raise click.UsageError(f"expected a percentage from 0 to 100; found {value!r}")
    return percent


@click.command()
@click.argument("endpoint")
@click.argument("percent", required=False)
@click.option("--to", help="The same as PERCENT.")
@click.option("--canary", help="Steps in percent, such as 1,5,25,100; goes back to 0 by itself when it does worse.")
@click.option("--every", default="10m", show_default=True, help="How long the canary stays on each step.")
@click.option("--at", metavar="KIND:WHERE", help="At a balancer: haproxy:SOCKET or aws:NAME; unset: in the sidecar.")
@click.option("--reason", default="", help="Why, for the record.")
@click.pass_obj
def route(
    settings: Settings,
    endpoint: str,
    percent: str | None,
    to: str | None,
    canary: str | None,
    every: str,
    at: str | None,
    reason: str,
) -> None:
    """Let the standby answer PERCENT of callers of ENDPOINT (always the same ones), at once or as a canary.

    With --at, a balancer's weights are changed instead: PERCENT of the endpoint's requests go through the sidecars.
    """
    if sum(given is not None for given in (percent, to, canary)) != 1:
        raise click.UsageError("give one of PERCENT, --to and --canary")
    balancer = None if at is None else _balancer(settings, at)

    def share(wanted: float, why: str) -> str:
        if balancer is not None:
            return balancer(endpoint, wanted)
        _act(settings, endpoint, "route", percent=wanted, reason=why)
        return f"the standby answers {wanted:g}% of callers"

    if canary is not None:
        _canary(settings, endpoint, canary, every, share)
        return
    click.echo(f"{endpoint}: {share(_percent(percent or to or ''), reason)}")


def _balancer(settings: Settings, at: str) -> Callable[[str, float], str]:
    """Sets an endpoint's share at the balancer that `kind:where` names; its errors are one line."""
    kind, colon, where = at.partition(":")
    found = {each.name: each for each in entry_points(group="understudy.balancers")}
    if not colon or not where or kind not in found:
        raise click.UsageError(f"--at: expected {' or '.join(f'{name}:WHERE' for name in sorted(found))}; found {at!r}")
    change = found[kind].load()

    def share(endpoint: str, percent: float) -> str:
        try:
            return str(change(settings, where, endpoint, percent))
        except ValueError as error:
            raise click.ClickException(str(error)) from None

    return share


def _canary(settings: Settings, endpoint: str, steps: str, every: str, share: Callable[[float, str], Any]) -> None:
    from sidecar.takeover.canary import look, walk

    try:
        pause = duration(every)
    except ValueError as error:
        raise click.UsageError(f"--every: expected {error}; found {every!r}") from None
    wanted = [_percent(word) for word in steps.split(",")]
    if wanted != sorted(set(wanted)):
        raise click.UsageError(f"--canary: expected rising steps such as 1,5,25,100; found {steps!r}")
    try:
        held = walk(
            wanted,
            pause,
            lambda seconds: look(lambda path: client.get(settings, path), endpoint, seconds),
            share,
            time.sleep,
            lambda said: click.echo(f"{endpoint}: {said}"),
        )
    except LookupError:
        raise click.ClickException(f"the contract has no endpoint {endpoint!r}") from None
    if not held:
        raise click.ClickException(f"{endpoint}: the canary went back to 0%")


@click.command()
@click.argument("user")
@click.pass_obj
def revoke(settings: Settings, user: str) -> None:
    """Refuse USER's credentials from now on, also while the upstream is down."""
    _set_revoked(settings, user, True)


@click.command()
@click.argument("user", required=False)
@click.option("--check", is_flag=True, help="Say what a database that was restored lacks, and change nothing.")
@click.option(
    "--journal", "journals", multiple=True, type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="With --check: a folder of journal segments beside the node's own, such as that of a DATA that was replaced.",
)  # fmt: skip
@click.pass_obj
def restore(settings: Settings, user: str | None, check: bool, journals: tuple[Path, ...]) -> None:
    """Take back the revocation of USER; or --check a database that was restored from a backup."""
    if check == (user is not None):
        raise click.UsageError("give one of USER and --check")
    if user is None:
        restored.check(settings, journals)
        return
    _set_revoked(settings, user, False)


def _set_revoked(settings: Settings, user: str, revoked: bool) -> None:
    told = client.post(settings, "/revocations", {"user": user, "revoked": revoked}, by=this_person())
    unsaid = "" if told.get("recorded", True) else "; it could not be written to the trail, and holds all the same"
    click.echo(f"{user}: {'revoked' if revoked else 'restored'}{unsaid}")


@click.command()
@click.argument("text")
@click.pass_obj
def mark(settings: Settings, text: str) -> None:
    """Put an event on the timeline, such as a release."""
    client.post(settings, "/marks", {"text": text})
    click.echo("marked")


@click.command()
@click.option("--wait/--no-wait", default=True, help="Show progress until it is done.")
@click.pass_obj
def backfill(settings: Settings, wait: bool) -> None:
    """Ask the upstream, gently, for what the standby has not seen, and say how complete each resource is."""
    client.post(settings, "/backfill")
    while wait:
        time.sleep(0.5)
        state = client.get(settings, "/backfill")
        click.echo(
            f"\r{state.get('resource') or '':12} {state.get('done', 0)}/{state.get('total', 0)}   ", nl=False, err=True
        )
        if not state.get("running", True):
            click.echo(err=True)
            break
    for name, row in client.get(settings, "/standby")["resources"].items():
        ratio = "unknown" if row["ratio"] is None else f"{row['ratio']:.1%}"
        click.echo(f"{name:12} {ratio:>8}  known {row['known']}, in doubt {row['in_doubt']}")


@click.command()
@click.pass_obj
def parity(settings: Settings) -> None:
    """What the standby would have answered, compared with what the upstream did answer."""
    for name, row in client.get(settings, "/parity")["endpoints"].items():
        ratio = "unknown" if row["ratio"] is None else f"{row['ratio']:.2%}"
        counts = ", ".join(f"{word} {row[word]}" for word in ("equal", "different", "unknown") if word in row)
        click.echo(f"{name:20} {ratio:>8}  {counts}")


@click.command()
@click.argument("endpoint", required=False)
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@click.pass_obj
def evidence(settings: Settings, endpoint: str | None, form: str) -> None:
    """What the standby can answer, how it knows, and which other behaviour of the upstream is not ruled out yet."""
    found = client.get(settings, "/evidence")["endpoints"]
    if endpoint is not None:
        if endpoint not in found:
            raise click.ClickException(f"no reads of an endpoint {endpoint!r}; there are {', '.join(found)}")
        found = {endpoint: found[endpoint]}
    if form == "json":
        click.echo(json.dumps(found, indent=2))
        return
    for name, row in found.items():
        click.echo(f"{name}: {row['reason']}")
        for derivation, seen in row["derivations"].items():
            agreed = f"{min(seen['agreements'], seen['needed'])}/{seen['needed']} agreed"
            click.echo(f"  {derivation:24} {seen['state']:9} {agreed}, {seen['differences']} differed")
            for rival in seen["rivals"]:
                click.echo(f"    not ruled out: {rival['name']}; {rival['settled_by']} settles it")
            if seen["last_difference"]:
                click.echo(f"    last difference: {seen['last_difference']}")


@click.command("reload")
@click.pass_obj
def reload_(settings: Settings) -> None:
    """Have the sidecar on DATA take new settings, and wait for it.

    The exit status is not zero where it refused them, and goes on as it was."""
    from sidecar.server.reload import reload

    refused = reload(settings)
    if refused is not None:
        raise click.ClickException(f"not reloaded, all goes on as it was: {refused}")
    click.echo("reloaded")


COMMANDS: Final = (
    reload_, endpoints, takeover, handback, route, revoke, restore, mark, backfill, parity, evidence,
)  # fmt: skip
