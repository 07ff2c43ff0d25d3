"""`understudy …`: one subcommand for each thing a person does. Errors are one line, and the exit status is not zero.

Commands of other packages (`demo`, `simulate`, …), and those that need more than the control plane (`audit`), join by
the entry point group `understudy.commands`: nothing here imports them, so that a command is there at once.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import click

from sidecar import __version__
from sidecar.cli import operate
from sidecar.cli.break_glass import break_glass
from sidecar.cli.keys import keys
from sidecar.cli.policy import policy
from sidecar.cli.rebuilt import rebuild
from sidecar.control.client import ControlError
from sidecar.settings import SettingError, Settings, load_settings, strangers
from sidecar.storage.private_folder import UMASK


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


FOR_OTHERS: Final = frozenset(("slo", "lb", "demo", "contract"))
"""Commands that write files for other programs and people; all others' are their owner's alone."""


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="understudy")
@click.option("--config", type=click.Path(path_type=Path), help="A TOML file with settings; the environment wins.")
@click.pass_context
def understudy(context: click.Context, config: Path | None) -> None:
    """Stands beside an HTTP API that you depend on and do not own: records, learns, and takes over when it fails."""
    if context.invoked_subcommand not in FOR_OTHERS:
        os.umask(UMASK)
    for warning in strangers(os.environ):
        click.echo(f"understudy: warning: {warning}", err=True)
    context.obj = load_settings(os.environ, config)


@understudy.command()
@click.option("--check", "only_check", is_flag=True, help="Only say whether it could start with these settings.")
@click.option("--rehearse", is_flag=True, hidden=True, help="Do all of a start that may fail, then end.")
@click.pass_obj
def sidecar(settings: Settings, only_check: bool, rehearse: bool) -> None:
    """Run the sidecar: the gateway, the control plane and the background work.

    SIGHUP reloads settings and program without losing a request; SIGTERM ends it the same way.
    """
    from sidecar import app, start  # both, also where only one is needed: that they can be imported is tried too
    from sidecar.server import run

    if rehearse:
        run.rehearse(settings, start)
        return
    if only_check:
        run.check(settings, start)
        click.echo("it could start")
        return
    sys.exit(run.run(settings, start, app))


for _command in (*operate.COMMANDS, keys, policy, rebuild, break_glass):
    understudy.add_command(_command)


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
    from sidecar.journal.keys import SigningError

    return SettingError, ControlError, ContractError, SigningError
