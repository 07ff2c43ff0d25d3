"""`understudy audit erase`: recorded bodies that must go, in every place that has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from sidecar.cli.audit.options import FROM, PATIENT, REASON, TO, USER, described, moment, open_events
from sidecar.control.client import ControlError
from sidecar.events import audit_entries
from sidecar.events.retention import matches
from sidecar.events.store import Event, EventStore, Filter, pages
from sidecar.journal.erasure import Place, erase, holding
from sidecar.journal.keys import SigningKey
from sidecar.journal.statements import statements_of
from sidecar.settings import Settings, this_person
from sidecar.standby.erasure import forget
from sidecar.storage.database import open_engine
from sidecar.storage.encryption import open_vault


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
    where = Filter(since=moment("--from", begin), until=moment("--to", end), terms=terms)
    with open_events(settings) as store:
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
            raise ControlError(f"hold {hold.id} ({described(hold)}) keeps {held} of these: release it first")


def _erase(
    settings: Settings, store: EventStore, found: list[Event], user: str | None, patient: str | None, reason: str
) -> None:
    by, ids = this_person(), [event["event"]["id"] for event in found]
    about = {"events": len(ids), "event_ids": ids[:1000]}
    audit_entries.record(settings, "erase", by, reason, user=user, patient=patient, about=about)
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
