"""What the commands of `understudy audit` share: how exchanges are chosen, and the event store, errors for people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

import click

from sidecar.control.client import ControlError
from sidecar.events.store import EventStore, Hold, StoreUnavailable
from sidecar.events.store.factory import open_store
from sidecar.journal.statements import BadStatement, statements_of
from sidecar.journal.writer import RecordingFailed
from sidecar.settings import Settings
from sidecar.timeunits import parse_rfc3339, to_rfc3339

USER: Final = click.option("--user", help="Exchanges of this person.")
PATIENT: Final = click.option("--patient", help="Exchanges about this patient, by id.")
FROM: Final = click.option("--from", "begin", help="Exchanges from this time on (ISO 8601 with a zone).")
TO: Final = click.option("--to", "end", help="Exchanges before this time.")
REASON: Final = click.option("--reason", required=True, help="Why, for the record.")


def described(hold: Hold) -> str:
    said = [f"user {hold.user}" if hold.user else "", f"patient {hold.patient}" if hold.patient else ""]
    said.append(f"from {to_rfc3339(hold.since)[:19]}Z" if hold.since else "")
    said.append(f"to {to_rfc3339(hold.until)[:19]}Z" if hold.until else "")
    return ", ".join(word for word in said if word)


def moment(option: str, given: str | None) -> int | None:
    try:
        return None if given is None else parse_rfc3339(given)
    except ValueError as error:
        raise click.UsageError(f"{option}: expected {error}") from None


@contextmanager
def open_events(settings: Settings) -> Iterator[EventStore]:
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
