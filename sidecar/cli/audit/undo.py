"""`understudy audit affected` and `undo`: what somebody's writes touched, and putting it back, each step confirmed.

Undoing goes through the sidecar like any user's request, in the name of the person who does it: so it is recorded,
policies hold, and the outbox takes it when the upstream fails.
"""

from __future__ import annotations

import base64
import http.client
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import click

from sidecar.contract import Contract
from sidecar.control.client import ControlError, get
from sidecar.events.store import EventStore, StoreUnavailable
from sidecar.events.store.factory import open_store
from sidecar.events.undo import UNKNOWN, Change, Left, Record, Step, affected, changed_since, is_done, step_back
from sidecar.settings import Settings, duration
from sidecar.standby.outbox.entries import State

SINCE: Final = click.option("--since", default="24h", show_default=True, help="How far back: 2h, 7d, …")
UNTIL: Final = click.option("--until", default="0s", show_default=True, help="Up to so long ago.")
CONTAINING: Final = click.option("--containing", help="Only changes that left a record with this text in it.")
ANYWHERE: Final = ("0.0.0.0", "::")  # nosec B104 # an address to look for


@click.command("affected")
@click.option("--user", help="Whose writes; unset: everybody's.")
@SINCE
@UNTIL
@CONTAINING
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.pass_obj
def audit_affected(
    settings: Settings, user: str | None, since: str, until: str, containing: str | None, form: str
) -> None:
    """List what writes touched, newest first, with each record before and after, and who has changed it since."""
    contract = Contract.load(settings.contract)
    with _changes(settings, contract, user, since, until, containing) as (store, changes):
        later = [changed_since(store, change) for change in changes]
    if form == "json":
        rows = [{**change.as_json(), "changed_since": since} for change, since in zip(changes, later, strict=True)]
        click.echo(json.dumps(rows, indent=2))
        return
    for change, since_then in zip(changes, later, strict=True):
        click.echo(_line(change) + "".join(f"\n    since:  changed by {who} at {at[:19]}" for who, at in since_then))


@click.command("undo")
@click.option("--user", required=True, help="Whose writes.")
@SINCE
@UNTIL
@CONTAINING
@click.option("--as", "name", required=True, help="Who undoes it: your own user name at the upstream.")
@click.option("--password-stdin", is_flag=True, help="Read your password from standard input; it implies --yes.")
@click.option("--yes", is_flag=True, help="Do not ask before each step.")
@click.option("--wait", default="60s", show_default=True, help="How long to wait for what the outbox has accepted.")
@click.option("--event", "only", multiple=True, help="Only this change, by its event id; may be given again.")
@click.pass_obj
def audit_undo(
    settings: Settings, user: str, since: str, until: str, containing: str | None, name: str, password_stdin: bool,
    yes: bool, only: tuple[str, ...], wait: str,
) -> None:  # fmt: skip
    """Put back what USER's writes changed, newest first. What others have changed since is left, and said.

    Each step is asked for before it is sent, and looked at after it: put back, accepted (the outbox will send it when
    the upstream answers), parked there, left, or unknown. The exit status is 0 when all is put back or accepted.
    """
    contract = Contract.load(settings.contract)
    password = sys.stdin.readline().rstrip("\n") if password_stdin else click.prompt("password", hide_input=True)
    door, patience = _Door(settings, name, password), _seconds("--wait", wait)
    ends, waiting = Counter[str](), set[str]()
    with _changes(settings, contract, user, since, until, containing) as (store, changes):
        for change in [change for change in changes if not only or change.event in only]:
            click.echo(_line(change))
            try:
                end = _undo(contract, door, change, ask=not (yes or password_stdin))
            except Left as left:
                others = ", ".join(dict.fromkeys(who for who, _ in changed_since(store, change) if who != user))
                click.echo(f"    left: {left}" + (f" ({others})" if others else ""))
                end = "left"
            ends[end] += 1
            if end == "accepted":
                waiting.add(_request_id(change))
    if waiting:
        open_, parked = _followed(settings, waiting, patience)
        ends.update({"put back": len(waiting - open_ - parked), "parked": len(parked)})
        ends["accepted"] = len(open_)
    words = ("put back", "accepted", "parked", "left", "unknown")
    click.echo(", ".join(f"{ends[word]} {word}" for word in words if ends[word]) or "nothing to put back")
    sys.exit(1 if ends["left"] or ends["parked"] or ends["unknown"] else 0)


def _followed(settings: Settings, requests: set[str], patience: float) -> tuple[set[str], set[str]]:
    """Waits at most `patience` seconds until the outbox has sent these: which are still open, and which are parked."""
    open_, until = set(requests), time.monotonic() + patience
    while True:
        entries = get(settings, "/outbox")["entries"]
        states = {entry["request_id"]: entry["state"] for entry in entries if entry["request_id"] in requests}
        parked = {request for request, state in states.items() if state == State.PARKED}
        open_ = states.keys() - parked
        if not open_ or time.monotonic() > until:
            return open_, parked
        time.sleep(0.5)


def _request_id(change: Change) -> str:
    """Of the request that puts a change back: ties the two together in the trail."""
    return f"undo-{change.event}"


def _undo(contract: Contract, door: _Door, change: Change, *, ask: bool) -> str:
    """Puts one change back, and looks whether it is. Returns how it ended. Raises Left."""
    now = _now(contract, door, change)
    step = step_back(contract, change, now)
    if step is None:
        click.echo("    it is as it was already")
        return "put back"
    for name in step.left:
        click.echo(f"    {name} is left: somebody has changed it since")
    sent = f" {json.dumps(step.body, ensure_ascii=False)}" if step.body is not None else ""
    if ask and not click.confirm(f"    {step.method} {step.target}{sent}?"):
        raise Left("not confirmed")
    answer = door.ask(step, _request_id(change))
    if not 200 <= answer.status < 300:
        click.echo(f"    {step.method} {step.target}: {answer.status}, it is as it was left")
        return "unknown" if answer.status >= 500 else "left"
    target = _target(contract, change.resource, answer.record_id(contract, change)) if step.method == "POST" else None
    after = door.ask(Step("GET", target or step.target, None), f"seen-{change.event}")
    end = _end(contract, change, step, answer, after)
    where = f", now {target}" if target else ""
    click.echo(
        f"    {step.method} {step.target}: {answer.status}, {end}{where}" + (", but for what is left" * bool(step.left))
    )
    return "left" if step.left else end


def _end(contract: Contract, change: Change, step: Step, answer: _Answer, after: _Answer) -> str:
    if after.status not in (200, 404, 410):
        return "unknown"
    if not is_done(contract, change, step, after.record if after.status == 200 else None):
        return "unknown"
    return "accepted" if answer.accepted else "put back"


def _now(contract: Contract, door: _Door, change: Change) -> Record | None:
    """The record as it is now; None: there is none. Raises Left."""
    if change.record is None:
        raise Left("the record's id is not known")
    answer = door.ask(Step("GET", _target(contract, change.resource, change.record), None), f"look-{change.event}")
    if answer.status not in (200, 404, 410):
        raise Left(f"how it is now cannot be seen ({answer.status})")
    return answer.record if answer.status == 200 else None


def _target(contract: Contract, resource: str, record: str) -> str:
    return contract.resources[resource].path.replace("{}", record)


@dataclass(frozen=True)
class _Answer:
    """What the sidecar said."""

    status: int
    record: Record | None
    accepted: bool
    """The outbox has it: the upstream has not confirmed it yet."""

    def record_id(self, contract: Contract, change: Change) -> str:
        """Of the record that was made."""
        return str((self.record or {}).get(contract.resources[change.resource].id_field))


class _Door:
    """The sidecar, as a user meets it."""

    def __init__(self, settings: Settings, user: str, password: str) -> None:
        host, self._port = settings.listen
        self._host = "127.0.0.1" if host in ANYWHERE else host
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Accept": "application/json"}
        self._timeout = settings.upstream_timeout + 10

    def ask(self, step: Step, request_id: str) -> _Answer:
        """Sends it as the user would; `request_id` ties it to the change in the trail. Raises ControlError."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        headers = {**self._headers, "User-Agent": "understudy-audit-undo", "X-Request-Id": request_id}
        body = None if step.body is None else json.dumps(step.body)
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(step.method, step.target, body, headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise ControlError(f"the sidecar at {self._host}:{self._port}: {type(error).__name__}") from None
        finally:
            connection.close()
        accepted = "detail=outbox" in (answer.getheader("Cache-Status") or "")
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        return _Answer(answer.status, found if isinstance(found, dict) else None, accepted)


@contextmanager
def _changes(
    settings: Settings, contract: Contract, user: str | None, since: str, until: str, containing: str | None
) -> Iterator[tuple[EventStore, list[Change]]]:
    now = time.time_ns()
    begin, end = now - int(_seconds("--since", since) * 1e9), now - int(_seconds("--until", until) * 1e9)
    store = open_store(settings)
    try:
        changes = affected(contract, store, user, begin, end)
        yield store, [change for change in changes if containing is None or change.mentions(containing)]
    except StoreUnavailable as error:
        raise ControlError(f"the event store cannot be asked: {error}") from None
    finally:
        store.close()


def _seconds(option: str, given: str) -> float:
    try:
        return duration(given)
    except ValueError as error:
        raise click.BadParameter(f"{option}: expected {error}; found {given!r}") from None


def _line(change: Change) -> str:
    about = f" of patient {change.patient}" if change.patient else ""
    what = f"{change.at[:19]} {change.event} {change.user}: {change.action} {change.resource}"
    what += f" {change.record or '(id unknown)'}{about}"
    before, after = _shown(change, "create", change.before), _shown(change, "delete", change.after)
    return f"{what}\n    before: {before}\n    after:  {after}"


def _shown(change: Change, nothing: str, record: Any) -> str:
    if change.action == nothing and (nothing == "create" or change.outcome != UNKNOWN):
        return "nothing"
    return "unknown" if record is None else json.dumps(record, ensure_ascii=False)
