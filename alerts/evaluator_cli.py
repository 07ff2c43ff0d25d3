"""`understudy alerts`: runs the evaluator; its subcommands show alerts and say what people do about them."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
import orjson
from sqlalchemy.exc import SQLAlchemyError

from alerts import channels
from alerts.channels.http import beat
from alerts.cli import kept, promises
from alerts.counting.rollups import MONTH
from alerts.delivery.queue import Told
from alerts.lifecycle.lifecycle import UNTIL_RESOLVED, Alert, NotPossible
from alerts.lifecycle.silences import matchers
from alerts.lifecycle.store import Alerts
from alerts.lifecycle.tables import open_alerts
from alerts.message import at, summary
from alerts.rules import conditions
from alerts.rules.burn_rules import Rule
from alerts.rules.evaluation import Evaluation, levels
from sidecar.settings import Settings, duration, load_settings, this_person
from sidecar.timeunits import SECOND

if TYPE_CHECKING:
    from alerts.evaluator import Evaluator, Pace

log = logging.getLogger(__name__)


FORMAT = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)


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
    from alerts.rules.cycle import Objectives, Watch
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
    quiet = settings.alert_no_traffic
    rule = Rule(silence=quiet.seconds) if quiet else Rule()
    objectives = Objectives(
        promises=promised, levels=by_period, evaluation=Evaluation(store, promised, by_period, rule, kept(settings)),
        quiet=quiet, zone=settings.timezone,
    )  # fmt: skip
    watch = Watch(objectives, rules, store, Control(settings), Contract.load(settings.contract), settings.alert_keep)
    evaluator = Evaluator(
        engine, watch, told, channels.routes(settings, told), pace(settings, rules), settings.alert_heartbeat
    )

    def close() -> None:
        store.close()
        engine.dispose()

    return evaluator, close


def pace(settings: Settings, rules: tuple[conditions.Rule, ...]) -> Pace:
    """How the settings want it evaluated and told."""
    from alerts.evaluator import Pace

    keeps = {(rule.alert, rule.severity): rule.keep * SECOND for rule in rules}

    def keep(alert: Alert) -> int:
        """As long as the objective's period asks for; never less than two evaluations."""
        share = min(1.0, int(alert.notes.get("period", MONTH)) / MONTH)
        lasting = max(settings.alert_keep * share, min(settings.alert_keep, 2 * settings.alert_every))
        return keeps.get((alert.name, alert.severity), int(lasting * SECOND))

    return Pace(
        every=settings.alert_every,
        repeat=int(settings.alert_repeat * SECOND),
        keep=keep,
        grouping=channels.grouping(settings),
        runbooks=settings.runbook_url or "",
        listen=settings.alert_metrics_listen,
    )


@alerts.command("try")
@click.pass_obj
def try_(settings: Settings) -> None:
    """Send a test message, and its end, by each channel that is set, and beat the heart (ALERT_HEARTBEAT) once."""
    tried = _channels(settings)
    if not tried and not settings.alert_heartbeat:
        raise click.ClickException("no channel is set (ALERT_WEBHOOK …)")
    answers = {channel.name: channels.attempt(channel, time.time_ns()) for channel in tried}
    for name, (told, said, _) in answers.items():
        click.echo(f"{name:12} {'taken' if told is Told.DONE else 'not taken'}: {said}")
    beaten = True
    if settings.alert_heartbeat:
        beaten, said = beat(settings.alert_heartbeat)
        click.echo(f"{'heartbeat':12} {'taken' if beaten else 'not taken'}: {said}")
    if not beaten or any(told is not Told.DONE for told, *_ in answers.values()):
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
@FORMAT
@click.pass_obj
def list_(settings: Settings, everything: bool, form: str) -> None:
    """What holds now, the latest first."""
    with _kept(settings) as kept:
        found = [alert for alert in kept.all() if everything or alert.state != "resolved"]
    if form == "json":
        _json([asdict(alert) for alert in found])
        return
    for alert in found:
        since = at(alert.resolved_at or alert.fired_at or alert.since)
        said = summary({"name": alert.name, "labels": alert.labels, "notes": alert.notes})
        click.echo(f"{alert.key}  {alert.severity:7} {alert.state:13} {since}  {said}")
    if not found:
        click.echo("no alert")


def _by() -> str:
    return this_person()


@alerts.command()
@click.argument("key")
@click.option("--reason", default="", help="What is being done.")
@click.option("--group", "whole", is_flag=True, help="And all that is told with it.")
@click.pass_obj
def ack(settings: Settings, key: str, reason: str, whole: bool) -> None:
    """Take the alert KEY (or the beginning of it): no repeats until it resolves; new alerts still notify."""
    with _kept(settings) as kept:
        first, *others = kept.together(key, channels.grouping(settings).key) if whole else [kept.find(key)]
        click.echo(f"{kept.acknowledge(first.key, _by(), reason).key}: acknowledged")
        for alert in others:
            if alert.state == "firing":
                click.echo(f"{kept.acknowledge(alert.key, _by(), reason).key}: acknowledged")


@alerts.command()
@click.argument("key", required=False)
@click.option("--for", "span", help="How long, such as 1h or 2d.")
@click.option("--until-resolved", is_flag=True, help="Until it is resolved, however long that takes.")
@click.option("--match", "words", multiple=True, help="All with this label, also to come: severity=ticket. Repeatable.")
@click.option("--group", "whole", is_flag=True, help="And all that is told with it.")
@click.option("--reason", required=True, help="Why.")
@click.pass_obj
def silence(
    settings: Settings, key: str | None, span: str | None, until_resolved: bool, words: tuple[str, ...], whole: bool,
    reason: str,
) -> None:  # fmt: skip
    """Say nothing of the alert KEY for so long, or of all that match, also if they fire only then."""
    if (span is None) == (not until_resolved):
        raise click.UsageError("expected one of --for and --until-resolved")
    if (key is None) == (not words) or (words and (whole or until_resolved)):
        raise click.UsageError("expected a KEY, or --match with --for")
    try:
        until = UNTIL_RESOLVED if span is None else time.time_ns() + int(duration(span) * SECOND)
    except ValueError as error:
        raise click.UsageError(f"--for: expected {error}; found {span!r}") from None
    end = "it is resolved" if until_resolved else at(until)
    with _kept(settings) as kept:
        if key is None:
            number = kept.mute(matchers(words), _by(), reason, until)
            click.echo(f"{number}: all with {', '.join(words)} silent until {end}")
            return
        for alert in kept.together(key, channels.grouping(settings).key) if whole else [kept.find(key)]:
            click.echo(f"{kept.silence(alert.key, _by(), reason, until).key}: silent until {end}")


@alerts.command()
@click.argument("key")
@click.pass_obj
def unsilence(settings: Settings, key: str) -> None:
    """End the silence of the alert KEY, or that of a number (see `alerts silences`)."""
    with _kept(settings) as kept:
        if key.isdecimal() and len(key) < 8:
            kept.unmute(int(key))
            click.echo(f"{key}: ended")
            return
        click.echo(f"{kept.unsilence(key, _by()).key}: no longer silent")


@alerts.command()
@click.pass_obj
def silences(settings: Settings) -> None:
    """What is silenced by its labels, and until when."""
    with _kept(settings) as kept:
        found = kept.silences()
    for each in found:
        match = ", ".join(f"{name}={value}" for name, value in each.matchers.items())
        click.echo(f"{each.id}  until {at(each.until)}  {match}  by {each.by}: {each.reason}")
    if not found:
        click.echo("no silence")


def _json(rows: list[dict[str, Any]]) -> None:
    """Times in ns since the epoch, as they are kept."""
    click.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2))


def _table(rows: list[dict[str, Any]], *columns: str) -> None:
    for row in rows:
        click.echo("  ".join(str(at(row[name]) if name.endswith("at") else row[name]) for name in columns))


@alerts.command()
@FORMAT
@click.pass_obj
def history(settings: Settings, form: str) -> None:
    """What became of alerts, the latest first."""
    with _kept(settings) as kept:
        if form == "json":
            _json(kept.history())
            return
        _table(kept.history(), "at", "key", "severity", "name", "state", "by", "reason")


@alerts.command()
@FORMAT
@click.pass_obj
def deliveries(settings: Settings, form: str) -> None:
    """Notifications, the latest first: to whom, delivered or not, and the receiver's answer."""
    with _kept(settings) as kept:
        if form == "json":
            _json(kept.deliveries())
            return
        _table(kept.deliveries(), "made_at", "key", "state", "tries", "said")
