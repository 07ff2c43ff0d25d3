"""`understudy …`: one subcommand for each thing a person does. Errors are one line, and the exit status is not zero.

Commands of other packages (`demo`, `simulate`, …), and those that need more than the control plane (`audit`), join by
the entry point group `understudy.commands`: nothing here imports them, so that a command is there at once.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from getpass import getuser
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click

from sidecar import __version__, client
from sidecar.client import ControlError
from sidecar.policy_commands import policy
from sidecar.settings import SettingError, Settings, strangers


class Commands(click.Group):
    """The group, with the other packages' commands, loaded when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *(found.name for found in _others())})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        for found in _others():
            if found.name == cmd_name:
                command: click.Command = found.load()
                return command
        return None


def _others() -> Any:
    return entry_points(group="understudy.commands")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="understudy")
@click.option("--config", type=click.Path(path_type=Path), help="A TOML file with settings; the environment wins.")
@click.pass_context
def understudy(context: click.Context, config: Path | None) -> None:
    """Stands beside an HTTP API that you depend on and do not own: records, learns, and takes over when it fails."""
    for warning in strangers(os.environ):
        click.echo(f"understudy: warning: {warning}", err=True)
    context.obj = Settings.load(os.environ, config)


@understudy.command()
@click.option("--check", "only_check", is_flag=True, help="Only say whether it could start with these settings.")
@click.option("--rehearse", is_flag=True, hidden=True, help="Do all of a start that may fail, then end.")
@click.pass_obj
def sidecar(settings: Settings, only_check: bool, rehearse: bool) -> None:
    """Run the sidecar: the gateway, the control plane and the background work.

    SIGHUP reloads settings and program without losing a request; SIGTERM ends it the same way.
    """
    from sidecar import serve

    if rehearse:
        serve.rehearse(settings)
        return
    if only_check:
        serve.check(settings)
        click.echo("it could start")
        return
    sys.exit(serve.run(settings))


@understudy.command()
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


def _act(settings: Settings, endpoint: str, action: str, **body: Any) -> None:
    client.post(settings, f"/endpoints/{client.segment(endpoint)}/{action}", body)


@understudy.command()
@click.argument("endpoint")
@click.option("--reason", default="", help="Why, for the record.")
@click.pass_obj
def takeover(settings: Settings, endpoint: str, reason: str) -> None:
    """Let the standby answer for ENDPOINT until handback."""
    _act(settings, endpoint, "takeover", reason=reason)
    click.echo(f"{endpoint}: the standby answers")


@understudy.command()
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


@understudy.command()
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
    from sidecar.canary import look, walk
    from sidecar.settings import duration

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


@understudy.command()
@click.argument("user")
@click.pass_obj
def revoke(settings: Settings, user: str) -> None:
    """Refuse USER's credentials from now on, also while the upstream is down."""
    client.post(settings, "/revocations", {"user": user, "revoked": True}, by=getuser())
    click.echo(f"{user}: revoked")


@understudy.command()
@click.argument("user")
@click.pass_obj
def restore(settings: Settings, user: str) -> None:
    """Take back a revocation."""
    client.post(settings, "/revocations", {"user": user, "revoked": False}, by=getuser())
    click.echo(f"{user}: restored")


@understudy.command()
@click.argument("text")
@click.pass_obj
def mark(settings: Settings, text: str) -> None:
    """Put an event on the timeline, such as a release."""
    client.post(settings, "/marks", {"text": text})
    click.echo("marked")


@understudy.command()
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


@understudy.command()
@click.pass_obj
def parity(settings: Settings) -> None:
    """What the standby would have answered, compared with what the upstream did answer."""
    for name, row in client.get(settings, "/parity")["endpoints"].items():
        ratio = "unknown" if row["ratio"] is None else f"{row['ratio']:.2%}"
        counts = ", ".join(f"{word} {row[word]}" for word in ("equal", "different", "unknown") if word in row)
        click.echo(f"{name:20} {ratio:>8}  {counts}")


understudy.add_command(policy)


def main() -> None:
    """The command's entry point: one clear line for every error that a person can mend."""
    try:
        understudy(standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except _for_people() as error:
        click.echo(f"understudy: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        os._exit(141)


def _for_people() -> tuple[type[Exception], ...]:
    """Errors whose message is one line for a person. Looked up when there is an error."""
    from sidecar.contract import ContractError
    from sidecar.record.signing import SigningError

    return SettingError, ControlError, ContractError, SigningError
