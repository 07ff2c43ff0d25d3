"""`understudy alerts`: runs the evaluator; its subcommands show alerts and say what people do about them."""

from __future__ import annotations

import getpass
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from sqlalchemy.exc import SQLAlchemyError

from alerts.commands import kept, promises
from alerts.evaluate import Evaluation, levels
from alerts.lifecycle import SECOND, NotPossible
from alerts.message import at, summary
from alerts.notify import Channel, Webhook
from alerts.policy import Rule
from alerts.state import Alerts
from alerts.tables import open_alerts
from sidecar.settings import Settings, duration


@click.group(invoke_without_command=True)
@click.pass_context
def alerts(context: click.Context) -> None:
    """Evaluate the objectives, keep the alerts and tell ALERT_WEBHOOK; or see and answer alerts by a subcommand."""
    if context.invoked_subcommand is None:
        run(context.obj)


def run(settings: Settings) -> None:
    """The evaluator, until it is told to stop."""
    from alerts.loop import Evaluator, cover
    from sidecar.client import Control
    from sidecar.contract import Contract
    from sidecar.record.stores.opening import open_store
    from sidecar.telemetry import setup_logging

    setup_logging(settings.log_level)
    promised = promises(settings)
    try:
        by_period = levels(promised)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    host, port = settings.dashboard_listen
    dashboard = f"{settings.dashboard_url or f'http://{host}:{port}'}/alerts"
    channels: list[Channel] = [Webhook(settings.alert_webhook, dashboard)] if settings.alert_webhook else []
    if not channels:
        click.echo("understudy: warning: UNDERSTUDY_ALERT_WEBHOOK is not set: nobody is told of alerts", err=True)
    contract, control, store = Contract.load(settings.contract), Control(settings), open_store(settings)
    engine = open_alerts(settings)
    evaluation = Evaluation(store, promised, by_period, Rule(), kept(settings))
    Evaluator(
        engine, evaluation, lambda: cover(control, contract), channels, settings.alert_every, settings.alert_repeat,
        settings.alert_heartbeat,
    ).run()  # fmt: skip
    store.close()
    engine.dispose()


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
