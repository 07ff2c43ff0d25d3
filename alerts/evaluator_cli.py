"""`understudy alerts`: runs the evaluator; its subcommands show alerts and say what people do about them."""

from __future__ import annotations

import getpass
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from sqlalchemy.exc import SQLAlchemyError

from alerts import channels
from alerts.cli import kept, promises
from alerts.delivery.queue import Told
from alerts.lifecycle.lifecycle import NotPossible
from alerts.lifecycle.store import Alerts
from alerts.lifecycle.tables import open_alerts
from alerts.message import at, summary
from alerts.rules import conditions
from alerts.rules.burn_rules import Rule
from alerts.rules.evaluation import Evaluation, levels
from sidecar.settings import Settings, duration, load_settings
from sidecar.timeunits import SECOND

if TYPE_CHECKING:
    from alerts.evaluator import Evaluator, Pace

log = logging.getLogger(__name__)


@click.group(invoke_without_command=True)
@click.pass_context
def alerts(context: click.Context) -> None:
    """Evaluate the objectives, keep the alerts and tell the channels that are set; or see and answer them (below)."""
    if context.invoked_subcommand is None:
        config = context.parent.params.get("config") if context.parent is not None else None
        run(context.obj, lambda: load_settings(os.environ, config))


def run(settings: Settings, again: Callable[[], Settings]) -> None:
    """The evaluator, until it is told to stop. On SIGHUP it goes on with the settings, objectives and rules that are
    there then, read `again`; where they are no good, with those that it has, and says why."""
    from sidecar.telemetry.logging import setup_logging

    setup_logging(settings.log_level)
    running = [_evaluating(settings)]

    def renew() -> None:
        try:
            running.append(_evaluating(again()))
        except (click.ClickException, ValueError, OSError, SQLAlchemyError) as error:
            said = error.message if isinstance(error, click.ClickException) else str(error)
            fields = {"event.action": "reload_refused", "reason": said}
            log.error("not reloaded, all goes on as it was: %s", said, extra={"fields": fields})
            return
        running[-2][0].stop()

    signal.signal(signal.SIGHUP, lambda *_: threading.Thread(target=renew, name="reload", daemon=True).start())
    done = 0
    while done < len(running):
        evaluator, close = running[done]
        evaluator.run()
        close()
        done += 1
        if done < len(running):
            log.info("reloaded", extra={"fields": {"event.action": "reload"}})


def _evaluating(settings: Settings) -> tuple[Evaluator, Callable[[], None]]:
    """An evaluator that can run, and what is done after it. Raises ClickException."""
    from alerts.evaluator import Evaluator
    from alerts.rules.cycle import Watch
    from sidecar.contract import Contract
    from sidecar.control.client import Control
    from sidecar.events.store.factory import open_store

    promised, told = promises(settings), _channels(settings)
    try:
        by_period, rules = levels(promised), conditions.load(settings.alert_conditions or conditions.SHIPPED)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if not told:
        click.echo("understudy: warning: no channel is set (ALERT_WEBHOOK …): nobody is told of alerts", err=True)
    store, engine = open_store(settings), open_alerts(settings)
    evaluation = Evaluation(store, promised, by_period, Rule(), kept(settings))
    watch = Watch(evaluation, rules, store, Control(settings), Contract.load(settings.contract), settings.alert_keep)
    evaluator = Evaluator(
        engine, watch, told, channels.routes(settings, told), _pace(settings, rules), settings.alert_heartbeat
    )

    def close() -> None:
        store.close()
        engine.dispose()

    return evaluator, close


def _pace(settings: Settings, rules: tuple[conditions.Rule, ...]) -> Pace:
    from alerts.evaluator import Pace

    keeps = {(rule.alert, rule.severity): rule.keep * SECOND for rule in rules}
    return Pace(
        every=settings.alert_every,
        repeat=int(settings.alert_repeat * SECOND),
        keep=lambda alert: keeps.get((alert.name, alert.severity), int(settings.alert_keep * SECOND)),
        grouping=channels.grouping(settings),
    )


@alerts.command("try")
@click.pass_obj
def try_(settings: Settings) -> None:
    """Send a test message, and its end, by each channel that is set, and say what its receiver answered."""
    tried = _channels(settings)
    if not tried:
        raise click.ClickException("no channel is set (ALERT_WEBHOOK …)")
    answers = {channel.name: channels.attempt(channel, time.time_ns()) for channel in tried}
    for name, (told, said) in answers.items():
        click.echo(f"{name:12} {'taken' if told is Told.DONE else 'not taken'}: {said}")
    if any(told is not Told.DONE for told, _ in answers.values()):
        raise click.ClickException("not every channel took it")


def _channels(settings: Settings) -> list[channels.Channel]:
    host, port = settings.dashboard_listen
    try:
        return channels.configured(settings, f"{settings.dashboard_url or f'http://{host}:{port}'}/alerts")
    except ValueError as error:
        raise click.ClickException(str(error)) from None


@contextmanager
def _kept(settings: Settings) -> Iterator[Alerts]:
    engine = open_alerts(settings)
    try:
        yield Alerts(engine)
    except (LookupError, NotPossible) as error:
        raise click.ClickException(str(error.args[0])) from None
    except SQLAlchemyError as error:
        raise click.ClickException(f"the alerts' database cannot be asked: {type(error).__name__}") from None
    finally:
        engine.dispose()


@alerts.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that are over.")
@click.pass_obj
def list_(settings: Settings, everything: bool) -> None:
    """What holds now, the latest first."""
    with _kept(settings) as kept:
        found = [alert for alert in kept.all() if everything or alert.state != "resolved"]
    for alert in found:
        since = at(alert.resolved_at or alert.fired_at or alert.since)
        said = summary({"name": alert.name, "labels": alert.labels, "notes": alert.notes})
        click.echo(f"{alert.key}  {alert.severity:7} {alert.state:13} {since}  {said}")
    if not found:
        click.echo("no alert")


def _by() -> str:
    return getpass.getuser()


@alerts.command()
@click.argument("key")
@click.option("--reason", default="", help="What is being done.")
@click.pass_obj
def ack(settings: Settings, key: str, reason: str) -> None:
    """Take on the alert KEY (or the beginning of it): it is not told again until it is resolved."""
    with _kept(settings) as kept:
        click.echo(f"{kept.acknowledge(key, _by(), reason).key}: acknowledged")


@alerts.command()
@click.argument("key")
@click.option("--for", "span", required=True, help="How long, such as 1h or 2d.")
@click.option("--reason", required=True, help="Why.")
@click.pass_obj
def silence(settings: Settings, key: str, span: str, reason: str) -> None:
    """Say nothing of the alert KEY for so long, also if it fires again."""
    try:
        until = time.time_ns() + int(duration(span) * SECOND)
    except ValueError as error:
        raise click.UsageError(f"--for: expected {error}; found {span!r}") from None
    with _kept(settings) as kept:
        click.echo(f"{kept.silence(key, _by(), reason, until).key}: silent until {at(until)}")


@alerts.command()
@click.argument("key")
@click.pass_obj
def unsilence(settings: Settings, key: str) -> None:
    """End the silence of the alert KEY."""
    with _kept(settings) as kept:
        click.echo(f"{kept.unsilence(key, _by()).key}: no longer silent")


def _table(rows: list[dict[str, Any]], *columns: str) -> None:
    for row in rows:
        click.echo("  ".join(str(at(row[name]) if name.endswith("at") else row[name]) for name in columns))


@alerts.command()
@click.pass_obj
def history(settings: Settings) -> None:
    """What became of alerts, the latest first."""
    with _kept(settings) as kept:
        _table(kept.history(), "at", "key", "severity", "name", "state", "by", "reason")


@alerts.command()
@click.pass_obj
def deliveries(settings: Settings) -> None:
    """What was told to whom, the latest first, and what the receiver said."""
    with _kept(settings) as kept:
        _table(kept.deliveries(), "made_at", "key", "state", "tries", "said")
