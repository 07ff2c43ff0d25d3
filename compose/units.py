"""`understudy units`: writes the systemd units, for where the program, its settings and its state are here."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

import click

PROGRAM: Final = "/opt/understudy"
SETTINGS: Final = "/etc/understudy"


def units(program: str = PROGRAM, settings: str = SETTINGS) -> dict[str, str]:
    """The shipped units by name, with these paths in them."""
    shipped = (each for each in files("compose").joinpath("systemd").iterdir() if each.name.startswith("understudy-"))
    return {
        each.name: each.read_text().replace(PROGRAM, program).replace(SETTINGS, settings)
        for each in sorted(shipped, key=lambda each: each.name)
    }


@click.command("units")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("/etc/systemd/system"), show_default=True,
    help="Where they are written.",
)  # fmt: skip
@click.option("--program", default=PROGRAM, show_default=True, help="The virtual environment of the program.")
@click.option("--settings", "where", default=SETTINGS, show_default=True, help="Where settings and secrets are.")
def command(out: Path, program: str, where: str) -> None:
    """Write the systemd units of sidecar, dashboard and alerts."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in units(program.rstrip("/"), where.rstrip("/")).items():
            (out / name).write_text(text)
            click.echo(out / name)
    except OSError as error:
        raise click.ClickException(f"--out: {error.filename}: {error.strerror}") from None
