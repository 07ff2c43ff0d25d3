"""`understudy audit hold | holds | release | trust-clock`: what is kept whatever retention says; what time it is."""

from __future__ import annotations

import json
import time
from typing import Final

import click

from sidecar.cli.audit.options import FROM, PATIENT, REASON, TO, USER, described, moment, open_events
from sidecar.control.client import ControlError
from sidecar.events import audit_entries
from sidecar.events.store import Hold
from sidecar.http.identifiers import uuid7
from sidecar.settings import Settings, this_person
from sidecar.storage.trusted_clock import jump, trust
from sidecar.timeunits import SECOND, to_rfc3339


@click.command("hold")
@USER
@PATIENT
@FROM
@TO
@REASON
@click.pass_obj
def audit_hold(
    settings: Settings, user: str | None, patient: str | None, begin: str | None, end: str | None, reason: str
) -> None:
    """Keep what matches all that is given from retention and erasure, in journal and event store, until released."""
    now = time.time_ns()
    hold = Hold(
        id=uuid7(now)[-12:], at=to_rfc3339(now), by=this_person(), reason=reason, user=user, patient=patient,
        since=moment("--from", begin), until=moment("--to", end),
    )  # fmt: skip
    if (hold.user, hold.patient, hold.since, hold.until) == (None,) * 4:
        raise click.UsageError("give at least one of --user, --patient, --from and --to")
    with open_events(settings) as store:
        audit_entries.record(settings, "hold", hold.by, reason, user=user, patient=patient, about={"hold": hold.id})
        store.hold(hold)
    click.echo(f"{hold.id}: held from now on")


@click.command("holds")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.pass_obj
def audit_holds(settings: Settings, form: str) -> None:
    """List the holds that are laid."""
    with open_events(settings) as store:
        holds = store.holds()
    if form == "json":
        click.echo(json.dumps([vars(hold) for hold in holds], indent=2))
        return
    for hold in holds:
        click.echo(f"{hold.id}  {described(hold)}  since {hold.at[:19]}Z, by {hold.by}: {hold.reason}")


@click.command("release")
@click.argument("ident", metavar="HOLD")
@REASON
@click.pass_obj
def audit_release(settings: Settings, ident: str, reason: str) -> None:
    """Take a hold away: retention and erasure apply again."""
    with open_events(settings) as store:
        hold = next((hold for hold in store.holds() if hold.id == ident), None)
        if hold is None:
            raise ControlError(f"there is no hold {ident!r}")
        about = {"hold": ident}
        audit_entries.record(
            settings, "release", this_person(), reason, user=hold.user, patient=hold.patient, about=about
        )
        store.release(ident)
    click.echo(f"{ident}: released")


@click.command("trust-clock")
@click.pass_obj
def audit_trust_clock(settings: Settings) -> None:
    """Say that the machine's clock is right after it has jumped: what is old by it is dropped from then on."""
    now = time.time()
    found = jump(settings)
    audit_entries.record(settings, "trust_clock", this_person(), f"it had jumped by {found:.0f} s")
    trust(settings, now)
    click.echo(f"it is {to_rfc3339(int(now * SECOND))[:19]}Z, and retention goes by that")


COMMANDS: Final = (audit_trust_clock, audit_hold, audit_holds, audit_release)
