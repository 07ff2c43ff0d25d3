"""`understudy dashboard`: serves it; `understudy dashboard user …`: who may sign in; `verify`: an export's proof."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from dashboard.auth.access_log import trail_of
from dashboard.auth.users import AccessError, Role, Users
from dashboard.data import tables
from sidecar.settings import Settings, load_settings
from sidecar.storage.database import open_engine

ROLES = click.Choice([str(role) for role in Role])


@click.group(invoke_without_command=True)
@click.pass_context
def dashboard(context: click.Context) -> None:
    """Serve the dashboard at DASHBOARD_LISTEN, or manage who may sign in."""
    if context.invoked_subcommand is None:
        from alerts.cli import promises
        from dashboard.server import run

        config = context.parent.params.get("config") if context.parent is not None else None

        def again() -> Settings:
            settings = load_settings(os.environ, config)
            promises(settings)
            return settings

        promises(context.obj)  # a wrong file is told here, in one line, not by each worker
        sys.exit(run(context.obj, again))


@dashboard.group()
def user() -> None:
    """The people who may sign in."""


@contextmanager
def _users(settings: Settings, action: str, subject: str) -> Iterator[Users]:
    """Users to be changed; what was done is written to the trail."""
    engine = open_engine(settings)
    try:
        tables.create_all(engine)
        yield Users(engine)
        if action:
            trail_of(settings, engine).note("(command line)", "", action, subject)
    except AccessError as error:
        raise click.ClickException(str(error)) from None
    finally:
        engine.dispose()


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password


@user.command("add")
@click.argument("name")
@click.option("--role", type=ROLES, default="auditor", show_default=True, help="Each includes the one before.")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of standard input.")
@click.pass_obj
def add(settings: Settings, name: str, role: str, password_stdin: bool) -> None:
    """Let NAME sign in, with a password of at least 12 characters."""
    with _users(settings, "user-add", f"{name} as {role}") as users:
        users.add(name, Role(role), _password(password_stdin))
    click.echo(f"{name}: may sign in as {role}")


@user.command("list")
@click.pass_obj
def list_(settings: Settings) -> None:
    """Who may sign in, and as what."""
    with _users(settings, "", "") as users:
        for each in users.all():
            click.echo(f"{each.name:30} {each.role:10} {'password' if each.local else 'OpenID Connect'}")


@user.command("remove")
@click.argument("name")
@click.pass_obj
def remove(settings: Settings, name: str) -> None:
    """Let NAME sign in no more; ends all of their sessions."""
    with _users(settings, "user-remove", name) as users:
        users.remove(name)
    click.echo(f"{name}: removed, and signed out everywhere")


@user.command("password")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of standard input.")
@click.pass_obj
def password(settings: Settings, name: str, password_stdin: bool) -> None:
    """Give NAME a new password; ends all of their sessions."""
    with _users(settings, "user-password", name) as users:
        users.set_password(name, _password(password_stdin))
    click.echo(f"{name}: new password, and signed out everywhere")


@user.command("role")
@click.argument("name")
@click.argument("role", type=ROLES)
@click.pass_obj
def role_(settings: Settings, name: str, role: str) -> None:
    """Give NAME a role: disclosure, auditor, operator or admin."""
    with _users(settings, "user-role", f"{name} as {role}") as users:
        users.set_role(name, Role(role))
    click.echo(f"{name}: {role}")


@dashboard.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--public-key", help="Who must have signed, in hexadecimal; unset: this installation.")
@click.pass_obj
def verify(settings: Settings, file: Path, manifest: Path, public_key: str | None) -> None:
    """Prove that an exported FILE is as it was when MANIFEST was signed."""
    from dashboard.data.export_signature import Signer, check

    key = settings.data / "export.key"
    why = check(file, manifest, public_key or (Signer(key).public() if key.exists() else None))
    if why:
        raise click.ClickException(why)
    click.echo(f"ok: {file} is as it was exported")


@dashboard.command("verify-trail")
@click.option("--public-key", "keys", multiple=True, help="Another node's key, in hexadecimal, that may have signed.")
@click.pass_obj
def verify_trail(settings: Settings, keys: tuple[str, ...]) -> None:
    """Prove that what staff did in the dashboard is as it was written: nothing altered, removed or put in between.

    Each entry is signed by the key of the node that wrote it: this node's (DATA/export.key), or one that is given.
    """
    engine = open_engine(settings)
    try:
        tables.create_all(engine)
        verdict = trail_of(settings, engine).verify(keys)
    finally:
        engine.dispose()
    if not verdict.ok:
        raise click.ClickException(str(verdict.first_bad))
    older = f"; {verdict.older} older ones were not signed" if verdict.older else ""
    signers = ", ".join(f"{count} by {key[:16]}" for key, count in verdict.signers.items()) or "none signed yet"
    click.echo(f"ok: {verdict.entries} entries, nothing altered, removed or put in between ({signers}){older}")
