"""`understudy lb haproxy|nginx|aws`: configuration for the load balancer, from contract and settings, and checked.

The check is the balancer's own (`haproxy -c`, `nginx -t`). Where that program is missing the outcome is "not checked",
said on standard error: never taken for "well".
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from compose.aws import apply, balancer
from compose.aws.guard import Guard
from compose.balancer import MODES, Door, Mode, bound, describe
from compose.haproxy import config as haproxy_config
from compose.haproxy import runtime
from compose.nginx import config as nginx_config
from compose.tls import certificate as certificates
from compose.tls import https
from compose.tls.profiles import PROFILES
from sidecar.contract import Contract
from sidecar.settings import Settings, duration

PATH: Final = click.Path(path_type=Path, dir_okay=False)


@click.group()
def lb() -> None:
    """Print configuration for the load balancer, made from the contract and the settings, and check it."""


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--check/--no-check", default=True, help="Let the balancer's own program check it."),
        click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A file; unset: standard output."),
        click.option("--acme", help="host:port of an ACME client that answers challenges over HTTP."),
        click.option("--hsts", default="0", show_default=True, help="How long browsers remember HTTPS: 5m, 365d."),
        click.option("--redirect", type=click.Choice(https.REDIRECTS), default="off", show_default=True,
                     help="What is sent on from HTTP to HTTPS: GET and HEAD only, or all."),
        click.option("--tls", "profile", type=click.Choice(list(PROFILES)), default="intermediate", show_default=True,
                     help="Mozilla's profile: TLS 1.2 and 1.3, or 1.3 alone."),
        click.option("--key", type=PATH, help="Its private key; unset: in the certificate's file."),
        click.option("--certificate", type=PATH, help="PEM, the chain included (python -m compose.tls.authority)."),
        click.option("--https", "secure", help="Where users arrive over HTTPS, host:port; unset: nowhere."),
        click.option("--sidecar", "sidecars", multiple=True,
                     help="host:port/control-port[/agent-port]; repeat it for each."),
        click.option("--listen", default="127.0.0.1:8000", show_default=True, help="Where users arrive over HTTP."),
        click.option("--mode", type=click.Choice(MODES), default="inline", show_default=True),
    ):  # fmt: skip
        command = option(command)
    return command


@lb.command()
@_options
@click.option("--socket", default="/run/haproxy/admin.sock", show_default=True, help="Where its runtime API listens.")
@click.pass_obj
def haproxy(settings: Settings, /, socket: str, out: Path | None, check: bool, **given: Any) -> None:
    """HAProxy 2.6 or later."""
    door = _door(settings, **given)
    if door.https is not None and door.https.key != door.https.certificate:
        raise click.UsageError("--key: HAProxy takes the private key in the certificate's file: append it there")
    text = haproxy_config.render(door, socket)
    if check:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "haproxy.cfg"
            path.write_text(text)
            _check("haproxy", ["-c", "-q", "-f", str(path)])
    _write(text, out)


@lb.command()
@_options
@click.option("--folder", default="/var/lib/nginx", show_default=True, help="Where nginx may write.")
@click.option(
    "--ca",
    envvar="SSL_CERT_FILE",
    default=nginx_config.AUTHORITIES,
    show_default=True,
    help="PEM: whom to trust where UPSTREAM speaks TLS.",
)
@click.pass_obj
def nginx(settings: Settings, /, folder: str, ca: str, out: Path | None, check: bool, **given: Any) -> None:
    """nginx 1.22 or later, without its commercial modules."""
    door = _door(settings, **given)
    try:
        text = nginx_config.render(door, folder, ca=ca)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if check:
        with tempfile.TemporaryDirectory() as own:
            path = Path(own) / "nginx.conf"
            path.write_text(nginx_config.render(door, own, ca=ca))
            _check("nginx", ["-t", "-q", "-e", f"{own}/error.log", "-c", str(path)])
    _write(text, out)


@lb.command()
@click.option("--percent", default=100.0, show_default=True, help="The share of requests that goes to the sidecars.")
@click.option("--sidecar", "sidecars", multiple=True, help="host:port/control-port; repeat it for each.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A file; unset: standard output.")
@click.option("--apply", "name", metavar="NAME", help="Make the balancer NAME so with boto3, instead.")
@click.option("--vpc", help="For --apply: the VPC of a new balancer.")
@click.option("--subnet", "subnets", multiple=True, help="For --apply: two or more, in different zones; repeat it.")
@click.option("--certificate-arn", help="For --apply: the HTTPS listener's; unset: HTTP alone.")
@click.pass_obj
def aws(
    settings: Settings, /, percent: float, sidecars: tuple[str, ...], out: Path | None, name: str | None,
    vpc: str | None, subnets: tuple[str, ...], certificate_arn: str | None,
) -> None:  # fmt: skip
    """An Application Load Balancer, as a CloudFormation template, or applied. It fails open: see `lb guard`."""
    door = _door(settings, mode="inline", listen="0.0.0.0:443", sidecars=sidecars)
    try:
        if name is not None:
            if vpc is None or len(subnets) < 2:
                raise click.UsageError("--apply needs --vpc and two --subnet or more")
            made = apply.Balancer(apply.client(), name)
            click.echo(made.apply(door, apply.Place(vpc, subnets, certificate_arn), percent))
            return
        described = balancer.template(door, percent)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if door.host is not None:
        _warn(f"this balancer keeps the client's Host: what it hands to the upstream directly does not say {door.host}")
    _warn("not checked, AWS itself checks templates")
    _write(json.dumps(described, indent=2) + "\n", out)


@lb.command()
@click.argument("name")
@click.option("--every", default="5s", show_default=True, help="How often its targets' health is asked for.")
def guard(name: str, every: str) -> None:
    """Stand guard over the AWS balancer NAME, which fails open: the upstream gets all while no sidecar is healthy."""
    try:
        pause = duration(every)
        standing = Guard(apply.Balancer(apply.client(), name), click.echo)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    while True:
        standing.look()
        time.sleep(pause)


@lb.command()
@click.argument("certificate", type=PATH)
@click.option("--socket", default="/run/haproxy/admin.sock", show_default=True, help="Where its runtime API listens.")
def renew(certificate: Path, socket: str) -> None:
    """Give a running HAProxy what now is in the file CERTIFICATE, which it was started with. No connection is closed.

    nginx takes new files with `nginx -s reload`.
    """
    path = certificate.absolute()
    try:
        found = certificates.read(path, path)
        response = https.response_of(path)
        runtime.renew(socket, path, path.read_bytes(), response.read_bytes() if response.exists() else None)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{certificate}: serial {found.serial:X}, until {found.ends:%Y-%m-%d}")


def _door(
    settings: Settings, mode: Mode, listen: str, sidecars: tuple[str, ...], secure: str | None = None,
    acme: str | None = None, **tls: Any,
) -> Door:  # fmt: skip
    try:
        encrypted = None if secure is None else _https(bound(secure), **tls)
        door = describe(settings, Contract.load(settings.contract), mode, listen, sidecars, encrypted, acme)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if mode == "inline" and settings.bypass_after > 0:
        _warn(
            f"UNDERSTUDY_BYPASS_AFTER is {settings.bypass_after:g}s, but this balancer turns to its backup at once: "
            "set it to 0s, or after a short absence the standby may not know of writes that passed it by"
        )
    if not settings.trusted_proxies:
        _warn(
            "UNDERSTUDY_TRUSTED_PROXIES is not set: sidecars will take the balancer's address for every user's, and "
            "`url` fields will not follow the scheme that users use"
        )
    return door


def _https(
    listen: str, certificate: Path | None, key: Path | None, profile: str, redirect: https.Redirect, hsts: str
) -> https.Https:
    if certificate is None:
        raise click.UsageError("--https needs --certificate")
    try:
        seconds = duration(hsts)
    except ValueError as error:
        raise click.UsageError(f"--hsts: expected {error}; found {hsts!r}") from None
    made, warnings = https.describe(listen, certificate, key, profile, redirect, seconds)
    for warning in warnings:
        _warn(warning)
    return made


def _warn(text: str) -> None:
    click.echo(f"understudy: warning: {text}", err=True)


def _check(program: str, words: list[str]) -> None:
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin")
    if found is None:
        _warn(f"not checked, {program} is not on PATH")
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
