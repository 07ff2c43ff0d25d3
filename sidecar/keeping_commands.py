"""`understudy audit hold | holds | release | erase`: what must be kept whatever retention says, and what must go."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from getpass import getuser
from typing import Any, Final

import click

from sidecar.client import ControlError
from sidecar.database import open_engine
from sidecar.gateway.exchange import uuid7
from sidecar.proof_commands import statements_of
from sidecar.record import deeds
from sidecar.record.erasure import Place, erase, holding
from sidecar.record.event import nanoseconds, timestamp
from sidecar.record.journal import RecordingFailed
from sidecar.record.retention import matches
from sidecar.record.signing import SigningKey
from sidecar.record.statements import BadStatement
from sidecar.record.stores import Event, EventStore, Filter, Hold, StoreUnavailable, pages
from sidecar.record.stores.opening import open_store
from sidecar.settings import Settings
from sidecar.standby.forgetting import forget
from sidecar.vault import open_vault

USER: Final = click.option("--user", help="Exchanges of this person.")
PATIENT: Final = click.option("--patient", help="Exchanges about this patient, by id.")
FROM: Final = click.option("--from", "begin", help="Exchanges from this time on (ISO 8601 with a zone).")
TO: Final = click.option("--to", "end", help="Exchanges before this time.")
REASON: Final = click.option("--reason", required=True, help="Why, for the record.")


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
        id=uuid7(now)[-12:], at=timestamp(now), by=getuser(), reason=reason, user=user, patient=patient,
        since=_time("--from", begin), until=_time("--to", end),
    )  # fmt: skip
    if (hold.user, hold.patient, hold.since, hold.until) == (None,) * 4:
        raise click.UsageError("give at least one of --user, --patient, --from and --to")
    with _store(settings) as store:
        deeds.record(settings, "hold", hold.by, reason, user=user, patient=patient, about={"hold": hold.id})
        store.hold(hold)
    click.echo(f"{hold.id}: held from now on")


@click.command("holds")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.pass_obj
def audit_holds(settings: Settings, form: str) -> None:
    """List the holds that are laid."""
    with _store(settings) as store:
        holds = store.holds()
    if form == "json":
        click.echo(json.dumps([vars(hold) for hold in holds], indent=2))
        return
    for hold in holds:
        click.echo(f"{hold.id}  {_about(hold)}  since {hold.at[:19]}Z, by {hold.by}: {hold.reason}")


@click.command("release")
@click.argument("ident", metavar="HOLD")
@REASON
@click.pass_obj
def audit_release(settings: Settings, ident: str, reason: str) -> None:
    """Take a hold away: retention and erasure apply again."""
    with _store(settings) as store:
        hold = next((hold for hold in store.holds() if hold.id == ident), None)
        if hold is None:
            raise ControlError(f"there is no hold {ident!r}")
        about = {"hold": ident}
        deeds.record(settings, "release", getuser(), reason, user=hold.user, patient=hold.patient, about=about)
        store.release(ident)
    click.echo(f"{ident}: released")


@click.command("erase")
@click.option("--event", "events", multiple=True, help="The bodies of this exchange, by its event id; again for more.")
@USER
@PATIENT
@FROM
@TO
@REASON
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def audit_erase(
    settings: Settings, events: tuple[str, ...], user: str | None, patient: str | None, begin: str | None,
    end: str | None, reason: str, yes: bool,
) -> None:  # fmt: skip
    """Erase recorded bodies for good: in this node's journal, in the event store, and in remembered replies.

    That the exchanges took place stays in the trail, and their digests; the journal still proves that nothing else was
    altered. The standby's records are the upstream's present state, and stay.
    """
    if bool(events) == any((user, patient, begin, end)):
        raise click.UsageError("give either --event, or some of --user, --patient, --from and --to")
    terms: dict[str, list[str]] = {"event.id": list(events)} if events else {}
    if user is not None:
        terms["user.name"] = [user]
    if patient is not None:
        terms["understudy.patient.id"] = [patient]
    where = Filter(since=_time("--from", begin), until=_time("--to", end), terms=terms)
    with _store(settings) as store:
        found = [event for page in pages(store, where, 500) for event in page.events]
        _refuse(store, found, events)
        if found and not yes:
            click.confirm(f"erase the bodies of {len(found)} exchanges for good?", abort=True)
        if found:
            _erase(settings, store, found, user, patient, reason)
        else:
            click.echo("nothing to erase")


def _refuse(store: EventStore, found: list[Event], asked: tuple[str, ...]) -> None:
    """Before anything is done: all that was asked for is there, and nothing of it is held. Raises ControlError."""
    missing = set(asked) - {event["event"]["id"] for event in found}
    if missing:
        raise ControlError(f"the event store has no event {min(missing)} (not shipped yet, or older than RETENTION)")
    for hold in store.holds():
        held = sum(matches(hold, event) for event in found)
        if held:
            raise ControlError(f"hold {hold.id} ({_about(hold)}) keeps {held} of these: release it first")


def _erase(
    settings: Settings, store: EventStore, found: list[Event], user: str | None, patient: str | None, reason: str
) -> None:
    by, ids = getuser(), [event["event"]["id"] for event in found]
    about = {"events": len(ids), "event_ids": ids[:1000]}
    deeds.record(settings, "erase", by, reason, user=user, patient=patient, about=about)
    vault = open_vault(settings)
    places = _places(settings, set(ids))
    contents = [
        *_contents(store.bodies(ids).values()),
        *_contents(vault.opened(place.line["bodies"]) for place in places),
    ]
    erase(places, statements_of(settings), SigningKey(settings.sign_key_file), by, reason)
    stored = store.erase(ids)
    for ident in ids:
        (settings.data / "dead-letter" / f"{ident}.body.json").unlink(missing_ok=True)
    engine = open_engine(settings)
    replies = forget(engine, set(contents), {event["http"]["request"]["id"] for event in found})
    engine.dispose()
    click.echo(
        f"erased: the bodies of {stored} exchanges in the event store, of {len(places)} in this node's journal, and"
        f" {replies} remembered replies"
    )


def _places(settings: Settings, ids: set[str]) -> list[Place]:
    found = []
    for path in sorted((settings.data / "journal").glob("*.jsonl")):
        found += holding(path, lambda line: line["event"].get("event", {}).get("id") in ids)
    return found


def _contents(documents: Any) -> Iterator[str]:
    for document in documents:
        for side in ("request", "response", "before"):
            content = document.get("http", {}).get(side, {}).get("body", {}).get("content")
            if isinstance(content, str) and content:
                yield content


def _about(hold: Hold) -> str:
    said = [f"user {hold.user}" if hold.user else "", f"patient {hold.patient}" if hold.patient else ""]
    said.append(f"from {timestamp(hold.since)[:19]}Z" if hold.since else "")
    said.append(f"to {timestamp(hold.until)[:19]}Z" if hold.until else "")
    return ", ".join(word for word in said if word)


def _time(option: str, given: str | None) -> int | None:
    try:
        return None if given is None else nanoseconds(given)
    except ValueError as error:
        raise click.UsageError(f"{option}: expected {error}") from None


@contextmanager
def _store(settings: Settings) -> Iterator[EventStore]:
    """The event store, with its errors in one line each."""
    try:
        with closing(open_store(settings)) as store:
            yield store
    except StoreUnavailable as error:
        raise ControlError(f"the event store cannot be asked: {error}") from None
    except (RecordingFailed, OSError) as error:
        raise ControlError(f"not done, since it could not be written down: {error}") from None
    except BadStatement as bad:
        raise ControlError(f"{statements_of(settings).path}, line {bad.line}: {bad}") from None


COMMANDS: Final = (audit_hold, audit_holds, audit_release, audit_erase)
