"""`understudy units`: writes the systemd units, for where the program, its settings and its state are here.

Sidecar, dashboard and alerts are three users, so that who breaks into one has neither the others' keys nor their state.
Embedded stores are the exception: they are files under the sidecar's DATA, and who reads them runs as its user.
"""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import Final

import click

from sidecar.settings import Settings, load_settings

PROGRAM: Final = "/opt/understudy"
SETTINGS: Final = "/etc/understudy"
READERS: Final = ("understudy-alerts.service", "understudy-dashboard.service")
"""The units of what reads the stores beside the sidecar."""
DROP_IN: Final = "embedded.conf"


def units(program: str = PROGRAM, settings: str = SETTINGS, *, embedded: bool = False) -> dict[str, str]:
    """The shipped units by name, with these paths in them; with `embedded`, also the drop-ins by which all have one
    user."""
    shipped = {each.name: each.read_text() for each in files("compose").joinpath("systemd").iterdir()}
    drop_in = shipped.pop(DROP_IN)
    if embedded:
        shipped |= {f"{unit}.d/{DROP_IN}": drop_in for unit in READERS}
    return {name: text.replace(PROGRAM, program).replace(SETTINGS, settings) for name, text in sorted(shipped.items())}


@click.command("units")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("/etc/systemd/system"), show_default=True,
    help="Where they are written.",
)  # fmt: skip
@click.option("--program", default=PROGRAM, show_default=True, help="The virtual environment of the program.")
@click.option("--settings", "where", default=SETTINGS, show_default=True, help="Where settings and secrets are.")
@click.option(
    "--one-user/--own-users", "embedded", default=None,
    help="Whether dashboard and alerts run as the sidecar's user, or each as its own.  "
    "[default: own users, unless DATABASE or ELASTICSEARCH is not set: they read the sidecar's files then]",
)  # fmt: skip
@click.pass_obj
def command(settings: Settings | None, out: Path, program: str, where: str, embedded: bool | None) -> None:
    """Write the systemd units of sidecar, dashboard and alerts."""
    if embedded is None:
        there = Path(where) / "understudy.toml"
        embedded = _are_embedded(load_settings(os.environ, there) if there.exists() else settings or Settings())
    try:
        for name, text in units(program.rstrip("/"), where.rstrip("/"), embedded=embedded).items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_text(text)
            click.echo(out / name)
        if not embedded:
            _withdraw(out)
    except OSError as error:
        raise click.ClickException(f"--out: {error.filename}: {error.strerror}") from None
    if embedded:
        click.echo("one user, understudy: dashboard and alerts read the stores in the sidecar's DATA")
    else:
        click.echo("three users: understudy, understudy-dashboard, understudy-alerts")


def _are_embedded(settings: Settings) -> bool:
    return not (settings.database and settings.elasticsearch)


def _withdraw(out: Path) -> None:
    """Drop-ins of before, when the stores were embedded."""
    for unit in READERS:
        (out / f"{unit}.d" / DROP_IN).unlink(missing_ok=True)
