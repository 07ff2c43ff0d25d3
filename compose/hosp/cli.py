"""`understudy simulate`: HOSP on this machine."""

from __future__ import annotations

import threading

import click

from compose.hosp.behaviours import RAILS, TWISTS, chosen
from compose.hosp.profiles import PROFILES
from compose.hosp.server import Simulator
from sidecar.signals import ends


@click.command()
@click.option("--profile", type=click.Choice(list(PROFILES)), default="ordinary", show_default=True)
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same records and faults.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where it listens; in a container, 0.0.0.0.")
@click.option("--port", default=9000, show_default=True, help="0: any free port.")
@click.option("--control-port", type=int, help="Default: the port after --port, or any free one.")
@click.option("--time-scale", default=1.0, show_default=True, help="0.01 makes HOSP's sleeps a hundred times shorter.")
@click.option("--rails/--plain", default=True, show_default=True, help="As a Rails application, or kinder.")
@click.option(
    "--without",
    multiple=True,
    type=click.Choice([each.name for each in RAILS]),
    metavar="NAME",
    help="Without this one of Rails' ways; may be repeated.",
)
@click.option(
    "--twist",
    "twists",
    multiple=True,
    type=click.Choice([each.name for each in TWISTS]),
    metavar="NAME",
    help="A further way in which an API may differ; may be repeated.",
)
@click.option("--behaviours", is_flag=True, help="List Rails' ways and the twists by name, and end.")
def simulate(
    profile: str, seed: int, host: str, port: int, control_port: int | None, time_scale: float, rails: bool,
    without: tuple[str, ...], twists: tuple[str, ...], behaviours: bool,
) -> None:  # fmt: skip
    """Run the HOSP simulator until Ctrl-C. Its control endpoint switches the profile at run time."""
    if behaviours:
        for each in (*RAILS, *TWISTS):
            click.echo(f"{each.name:20} {'Rails' if each.row else 'twist'}  {each.says}")
        return
    if control_port is None:
        control_port = port + 1 if port else 0
    stop = threading.Event()
    ends(stop)
    try:
        simulator = Simulator(profile, seed, port, control_port, time_scale, host, chosen(rails, twists, without))
    except OSError as error:
        raise click.ClickException(f"port {port} or {control_port}: {error.strerror}") from None
    with simulator:
        click.echo(f"HOSP on {simulator.url}, control on {simulator.control_url}, profile {profile}")
        stop.wait()
