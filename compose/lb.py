"""`understudy lb haproxy|nginx|aws`: configuration for the load balancer, from contract and settings, and checked.

The check is the balancer's own (`haproxy -c`, `nginx -t`). Where that program is missing the outcome is "not checked",
said on standard error: never taken for "well".
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from compose.aws import balancer
from compose.door import MODES, Door, DoorError, Mode, describe
from compose.haproxy import config as haproxy_config
from compose.nginx import config as nginx_config
from sidecar.contract import Contract
from sidecar.settings import Settings


@click.group()
def lb() -> None:
    """Print configuration for the load balancer, made from the contract and the settings, and check it."""


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--check/--no-check", default=True, help="Let the balancer's own program check it."),
        click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A file; unset: standard output."),
        click.option("--sidecar", "sidecars", multiple=True, help="host:port/control-port; repeat it for each."),
        click.option("--listen", default="127.0.0.1:8000", show_default=True, help="Where users arrive."),
        click.option("--mode", type=click.Choice(MODES), default="inline", show_default=True),
    ):
        command = option(command)
    return command


@lb.command()
@_options
@click.option("--socket", default="/run/haproxy/admin.sock", show_default=True, help="Where its runtime API listens.")
@click.pass_obj
def haproxy(settings: Settings, /, socket: str, out: Path | None, check: bool, **given: Any) -> None:
    """HAProxy 2.6 or later."""
    text = haproxy_config.render(_door(settings, **given), socket)
    if check:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "haproxy.cfg"
            path.write_text(text)
            _check("haproxy", ["-c", "-q", "-f", str(path)])
    _write(text, out)


@lb.command()
@_options
@click.option("--folder", default="/var/lib/nginx", show_default=True, help="Where nginx may write.")
@click.pass_obj
def nginx(settings: Settings, /, folder: str, out: Path | None, check: bool, **given: Any) -> None:
    """nginx 1.22 or later, without its commercial modules."""
    door = _door(settings, **given)
    try:
        text = nginx_config.render(door, folder)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if check:
        with tempfile.TemporaryDirectory() as own:
            path = Path(own) / "nginx.conf"
            path.write_text(nginx_config.render(door, own))
            _check("nginx", ["-t", "-q", "-e", f"{own}/error.log", "-c", str(path)])
    _write(text, out)


@lb.command()
@click.option("--percent", default=100.0, show_default=True, help="The share of requests that goes to the sidecars.")
@click.option("--sidecar", "sidecars", multiple=True, help="host:port/control-port; repeat it for each.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A file; unset: standard output.")
@click.pass_obj
def aws(settings: Settings, /, percent: float, sidecars: tuple[str, ...], out: Path | None) -> None:
    """An Application Load Balancer, as a CloudFormation template. Nothing here can check it."""
    door = _door(settings, mode="inline", listen="0.0.0.0:443", sidecars=sidecars)
    try:
        described = balancer.template(door, percent)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    click.echo("understudy: warning: not checked, AWS itself checks templates", err=True)
    _write(json.dumps(described, indent=2) + "\n", out)


def _door(settings: Settings, mode: Mode, listen: str, sidecars: tuple[str, ...]) -> Door:
    try:
        door = describe(settings, Contract.load(settings.contract), mode, listen, sidecars)
    except DoorError as error:
        raise click.ClickException(str(error)) from None
    if mode == "inline" and settings.bypass_after > 0:
        click.echo(
            "understudy: warning: UNDERSTUDY_BYPASS_AFTER is "
            f"{settings.bypass_after:g}s, but this balancer turns to its backup at once: "
            "set it to 0s, or after a short absence the standby may not know of writes that passed it by",
            err=True,
        )
    return door


def _check(program: str, words: list[str]) -> None:
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin")
    if found is None:
        click.echo(f"understudy: warning: not checked, {program} is not on PATH", err=True)
        return
    done = subprocess.run([found, *words], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())
        raise click.ClickException(f"{program} refuses the configuration: {said}")


def _write(text: str, out: Path | None) -> None:
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text)
