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
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from sidecar.amends import Change, Step, affected, is_untouched, step_back
from sidecar.client import ControlError
from sidecar.contract import Contract
from sidecar.record.stores import StoreUnavailable
from sidecar.record.stores.opening import open_store
from sidecar.settings import Settings, duration

USER: Final = click.option("--user", required=True, help="Whose writes.")
SINCE: Final = click.option("--since", default="24h", show_default=True, help="How far back: 2h, 7d, …")
UNTIL: Final = click.option("--until", default="0s", show_default=True, help="Up to so long ago.")
ANYWHERE: Final = ("0.0.0.0", "::")


@click.command("affected")
@USER
@SINCE
@UNTIL
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.pass_obj
def audit_affected(settings: Settings, user: str, since: str, until: str, form: str) -> None:
    """List what USER's writes touched, newest first, with each record before and after."""
    contract = Contract.load(settings.contract)
    with _changes(settings, contract, user, since, until) as changes:
        if form == "json":
            click.echo(json.dumps([change.as_json() for change in changes], indent=2))
            return
        for change in changes:
            click.echo(_line(change))


@click.command("undo")
@USER
@SINCE
@UNTIL
@click.option("--as", "name", required=True, help="Who undoes it: your own user name at the upstream.")
@click.option("--password-stdin", is_flag=True, help="Read your password from standard input; it implies --yes.")
@click.option("--yes", is_flag=True, help="Do not ask before each step.")
@click.option("--event", "only", multiple=True, help="Only this change, by its event id; may be given again.")
@click.pass_obj
def audit_undo(
    settings: Settings, user: str, since: str, until: str, name: str, password_stdin: bool, yes: bool,
    only: tuple[str, ...],
) -> None:  # fmt: skip
    """Put back what USER's writes changed, newest first. What others have worked on since is left alone."""
    contract = Contract.load(settings.contract)
    password = sys.stdin.readline().rstrip("\n") if password_stdin else click.prompt("password", hide_input=True)
    door = _Door(settings, name, password)
    left = 0
    with _changes(settings, contract, user, since, until) as changes:
        for change in [change for change in changes if not only or change.event in only]:
            left += not _undo(contract, door, change, ask=not (yes or password_stdin))
    click.echo(f"{left} left as they are" if left else "all of it is put back")
    sys.exit(1 if left else 0)


def _undo(contract: Contract, door: _Door, change: Change, *, ask: bool) -> bool:
    click.echo(_line(change))
    step = step_back(contract, change)
    if step is None:
        click.echo("    left: what was there before is not known")
        return False
    if change.record is not None:
        status, now = door.ask(Step("GET", contract.resources[change.resource].path.replace("{}", change.record), None))
        if status in (404, 410) and change.action == "create":
            click.echo("    it is gone already")
            return True
        if status not in (200, 404, 410):
            click.echo(f"    left: how it is now cannot be seen ({status})")
            return False
        if not is_untouched(contract, change, now if status == 200 else None):
            click.echo("    left: it is not as this change left it; somebody has worked on it since")
            return False
    sent = f" {json.dumps(step.body, ensure_ascii=False)}" if step.body is not None else ""
    if ask and not click.confirm(f"    {step.method} {step.target}{sent}?"):
        return False
    status, _ = door.ask(step)
    click.echo(f"    {step.method} {step.target}: {status}")
    return 200 <= status < 300


class _Door:
    """The sidecar, as a user meets it."""

    def __init__(self, settings: Settings, user: str, password: str) -> None:
        host, self._port = settings.listen
        self._host = "127.0.0.1" if host in ANYWHERE else host
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Accept": "application/json"}
        self._timeout = settings.upstream_timeout + 10

    def ask(self, step: Step) -> tuple[int, Any]:
        """(status, JSON or None). Raises ControlError."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        headers = {**self._headers, "User-Agent": "understudy-audit-undo"}
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
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, None


@contextmanager
def _changes(settings: Settings, contract: Contract, user: str, since: str, until: str) -> Iterator[list[Change]]:
    now = time.time_ns()
    try:
        begin, end = now - int(duration(since) * 1e9), now - int(duration(until) * 1e9)
    except ValueError as error:
        raise click.BadParameter(f"--since and --until: expected {error}") from None
    store = open_store(settings)
    try:
        yield list(affected(contract, store, user, begin, end))
    except StoreUnavailable as error:
        raise ControlError(f"the event store cannot be asked: {error}") from None
    finally:
        store.close()


def _line(change: Change) -> str:
    about = f" of patient {change.patient}" if change.patient else ""
    what = f"{change.at[:19]} {change.event} {change.action} {change.resource} {change.record or '(id unknown)'}{about}"
    before, after = _shown(change, "create", change.before), _shown(change, "delete", change.after)
    return f"{what}\n    before: {before}\n    after:  {after}"


def _shown(change: Change, nothing: str, record: Any) -> str:
    if change.action == nothing:
        return "nothing"
    return "unknown" if record is None else json.dumps(record, ensure_ascii=False)
