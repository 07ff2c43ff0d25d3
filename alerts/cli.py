"""`understudy slo …`: the report, Prometheus rules, and a backtest of the alert rules over what was recorded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import click

from alerts.backtest import incidents
from alerts.backtest import text as backtest_text
from alerts.objectives import openslo
from alerts.prometheus import conditions as prometheus_conditions
from alerts.prometheus import rule_tests, rules
from alerts.reports import html, lint, report
from alerts.rules import conditions
from alerts.rules.burn_rules import Rule
from alerts.rules.evaluation import levels
from sidecar.contract import Action, Contract, ContractError
from sidecar.events.store import EventStore, StoreUnavailable
from sidecar.events.store.factory import open_store
from sidecar.settings import Settings, duration
from sidecar.timeunits import SECOND


@click.group()
def slo() -> None:
    """Service level objectives: what was promised, and what became of it."""


def promises(settings: Settings) -> tuple[openslo.Promise, ...]:
    """What the setting SLOS promises of the setting CONTRACT. Raises click.ClickException."""
    try:
        contract = Contract.load(settings.contract)
        return openslo.load(settings.slos, [endpoint.name for endpoint in contract.endpoints.values()])
    except (ValueError, ContractError) as error:
        raise click.ClickException(str(error)) from None


def kept(settings: Settings) -> Path:
    """Where counts are kept, by any of the commands."""
    return settings.data / "rollups.db"


def moment(text: str, now: int) -> int:
    """`30d` ago, `2026-11-24`, `2026-11-24T07:00`, UTC unless it says otherwise → ns. Raises click.UsageError."""
    try:
        return now - int(duration(text) * SECOND)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"expected a time such as 30d (ago) or 2026-11-24T07:00; found {text!r}") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()) * SECOND


@contextmanager
def _asking(settings: Settings) -> Iterator[EventStore]:
    store = open_store(settings)
    try:
        yield store
    except StoreUnavailable as error:
        raise click.ClickException(f"the event store cannot be asked: {error}") from None
    finally:
        store.close()


def _span(since: str, until: str | None) -> tuple[int, int]:
    now = time.time_ns()
    start, end = moment(since, now), moment(until, now) if until else now
    if start >= end:
        raise click.UsageError("--since must be before --until")
    return start, end


FORMATS = {"table": report.as_table, "json": report.as_json, "csv": report.as_csv, "html": html.as_html}


@slo.command("report")
@click.option("--since", default="30d", show_default=True, help="A time, or how long ago: 2026-11-24T07:00, 30d.")
@click.option("--until", help="The end, not included; unset: now.")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="table", show_default=True)
@click.pass_obj
def report_(settings: Settings, since: str, until: str | None, form: str) -> None:
    """What users got and what the upstream gave, for each objective and endpoint."""
    start, end = _span(since, until)
    with _asking(settings) as store:
        click.echo(FORMATS[form](report.make(store, promises(settings), start, end, kept(settings))))


@slo.command("backtest")
@click.option("--since", default="7d", show_default=True, help="A time, or how long ago: 2026-11-24T07:00, 30d.")
@click.option("--until", help="The end, not included; unset: now.")
@click.option("--windows", "path", type=click.Path(path_type=Path), help="A windows file; unset: the shipped one.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def backtest_(settings: Settings, since: str, until: str | None, path: Path | None, form: str) -> None:
    """Which alerts would have fired over what was recorded, when, and for how long."""
    start, end = _span(since, until)
    promised = promises(settings)
    try:
        by_period = levels(promised, path) if path else levels(promised)
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
    with _asking(settings) as store:
        fired = incidents.replay(
            store, promised, by_period, Rule(), start // SECOND, end // SECOND, kept(settings)
        )  # fmt: skip
    found = incidents.incidents(fired)
    click.echo(backtest_text.as_json(found) if form == "json" else "\n".join(backtest_text.lines(found)))


@slo.command("lint")
@click.option("--since", default="30d", show_default=True, help="Volumes are those seen since: 2026-11-24T07:00, 30d.")
@click.option("--requests", type=click.IntRange(0), help="So many in each objective's period, instead of those seen.")
@click.pass_obj
def lint_(settings: Settings, since: str, requests: int | None) -> None:
    """Which objectives are too tight for their traffic, and after how long a total outage can be told."""
    start, end = _span(since, None)
    promised = promises(settings)
    try:
        by_period = levels(promised)
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
    if requests is not None:
        volumes = [(each.objective, Fraction(requests)) for each in promised]
    else:
        with _asking(settings) as store:
            seen = report.make(store, promised, start, end, kept(settings)).results
        volumes = [
            (each.promise.objective, Fraction(each.tally.total * each.promise.objective.period * SECOND, end - start))
            for each in seen
        ]
    found = lint.fits(volumes, by_period, Rule())
    click.echo("\n".join(lint.lines(found)))
    tight = sum(fit.tight for fit in found)
    click.echo(f"{tight} of {len(found)} objectives allow less than one failure in their period")


@slo.command("rules")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="A file, or a folder: rules and their test cases.",
)
@click.pass_obj
def rules_(settings: Settings, out: Path | None) -> None:
    """Prometheus recording and alerting rules of the same objectives, windows and conditions."""
    promised = promises(settings)
    endpoints = Contract.load(settings.contract).endpoints.values()
    try:
        by_period = levels(promised)
        beyond = conditions.load(settings.alert_conditions or conditions.SHIPPED)
        runbooks = settings.runbook_url or prometheus_conditions.RUNBOOKS
        calls = [endpoint.name for endpoint in endpoints if endpoint.action is Action.CALL]
        apart = out is not None and out.is_dir()
        more = () if apart else [prometheus_conditions.group(beyond, runbooks)]
        quiet = settings.alert_no_traffic
        rule = Rule(silence=quiet.seconds) if quiet else Rule()
        text = rules.rules(
            promised, by_period, rule, calls, more, int(settings.alert_keep), quiet, settings.timezone, runbooks
        )  # fmt: skip
        if out is None:
            click.echo(rules.of_job(text, settings.prometheus_job), nl=False)
        elif out.is_dir():
            cases = rule_tests.cases(promised, by_period, rule, "understudy.rules.yaml", quiet)
            written = {
                "understudy.rules.yaml": text,
                "understudy.tests.yaml": cases,
                "conditions.rules.yaml": prometheus_conditions.rules(beyond, runbooks),
                "conditions.tests.yaml": prometheus_conditions.tests(beyond, "conditions.rules.yaml"),
            }
            for name, content in written.items():
                (out / name).write_text(rules.of_job(content, settings.prometheus_job))
        else:
            out.write_text(rules.of_job(text, settings.prometheus_job))
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
