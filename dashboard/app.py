"""The dashboard, wired: `create_app` is what each gunicorn worker runs.

All assets come from here; the Content-Security-Policy allows nothing else, no inline style, and one inline script, by
its hash (the line with which Dash starts).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final
from zoneinfo import ZoneInfo

from dash import Dash, Input, Output, dcc, html
from flask import Flask, g, has_request_context
from sqlalchemy.exc import SQLAlchemyError

from alerts.lifecycle.store import Alerts
from alerts.lifecycle.tables import open_alerts
from dashboard.auth.access_log import trail_of
from dashboard.auth.authorization import HOME, Callbacks, Guard
from dashboard.auth.sessions import Sessions
from dashboard.auth.users import Role, Users
from dashboard.context import Parts, Visit, visit
from dashboard.data import latencies, tables
from dashboard.data.days import days
from dashboard.data.disclosure import Disclosures
from dashboard.data.event_queries import Queries
from dashboard.data.evidence import Packs
from dashboard.data.export_signature import Signer
from dashboard.data.export_verification import held
from dashboard.data.exports import Exports
from dashboard.data.findings import BASELINE
from dashboard.data.nodes import Nodes
from dashboard.data.objectives import Promised
from dashboard.data.reviews import Reviews
from dashboard.data.slo_figures import LONGEST, Counted
from dashboard.page import Page
from dashboard.pages import PAGES, review
from dashboard.sign_in.routes import PATHS, Entrance
from dashboard.ui.components import failed, notice
from dashboard.values.filters import ViewError
from dashboard.values.tones import BAD
from dashboard.widgets import action_dialog
from sidecar.contract import Contract
from sidecar.control.client import ControlError
from sidecar.events.store import EventStore, StoreUnavailable
from sidecar.settings import Settings
from sidecar.storage.database import open_engine
from sidecar.storage.nodes import everyone
from sidecar.timeunits import SECOND

log = logging.getLogger(__name__)
PREPARE: Final = 3600
"""Seconds between two looks for what somebody will wait for."""
AGAIN: Final = 10_000
"""ms after which a page that could not be drawn is tried again."""
_SHELL: Final = """<!DOCTYPE html>
<html lang="en" data-zone="{zone}">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="/assets/icon.svg">
<link rel="stylesheet" href="{css}">
<link rel="stylesheet" href="{plotly}" id="plotly.js-style-global" class="no-inline-styles">
</head>
<body>
{entry}
{config}
{scripts}
{renderer}
</body>
</html>"""


class Shell(Dash):  # type: ignore[misc]
    """Dash with a page of our own around it: it is painted before any script has run."""

    zone = "UTC"

    def interpolate_index(self, **kwargs: Any) -> str:
        def asset(name: str) -> str:
            return str(self.get_asset_url(name))

        entry = (
            '<div id="react-entry-point"><header class="top"><span class="brand">U</span> Understudy</header>'
            '<main><p class="loading" role="status">Loading …</p></main></div>'
        )
        return _SHELL.format(
            title="Understudy",
            zone=self.zone,
            css=asset("understudy.css"),
            plotly=asset("plotly.css"),
            entry=entry,
            config=kwargs["config"],
            scripts=kwargs["scripts"],
            renderer=kwargs["renderer"],
        )


def create_app(settings: Settings, clock: Callable[[], int] = time.time_ns) -> Flask:
    """The WSGI application. Makes the dashboard's tables where they are missing."""
    server = Flask("dashboard", static_folder=None)
    server.config["MAX_CONTENT_LENGTH"] = 1 << 20
    parts = wire(settings, clock)
    app = Shell(
        "dashboard",
        server=server,
        assets_folder="assets",
        pages_folder="",
        use_pages=False,
        suppress_callback_exceptions=True,
        update_title="",
        title="Understudy",
        csrf_token_name="_csrf_token",
        add_log_handler=False,
    )
    app.zone = parts.zone.key
    callbacks = Callbacks(app)
    _layout(app, callbacks, parts)
    action_dialog.wire(callbacks, parts)
    for page in PAGES:
        if page.wire is not None:
            page.wire(callbacks, parts)
    paths = {**{page.path: page.role for page in PAGES}, **PATHS}
    Guard(settings, parts.sessions, callbacks, paths, policy(app)).install(server)
    oidc = bool(settings.oidc_issuer)
    Entrance(parts, oidc).install(server)
    if oidc:
        from dashboard.sign_in.oidc import SignIn

        SignIn(parts).install(server)
    server.extensions["understudy"] = (parts, callbacks)
    parts.counted.warm()
    threading.Thread(target=_prepare, args=(parts,), name="prepare", daemon=True).start()
    server.test_client().get("/healthz")  # Dash finishes itself with the first request; two at once would race
    return server


def wire(settings: Settings, clock: Callable[[], int]) -> Parts:
    from sidecar.events.store.factory import kept_checkpoints, open_store

    engine = open_engine(settings)
    tables.create_all(engine)
    store: EventStore = open_store(settings)
    users = Users(engine, clock)
    zone = ZoneInfo(settings.timezone)
    journal = held(settings, lambda: kept_checkpoints(settings))
    signer, queries = Signer(settings.data / "export.key"), Queries(store)
    contract, alerts_engine = Contract.load(settings.contract), open_alerts(settings)
    promised = Promised.load(settings, contract)
    counted = Counted(store, promised, promised.kept, lambda: clock() / SECOND)
    return Parts(
        settings=settings,
        contract=contract,
        engine=engine,
        store=store,
        users=users,
        sessions=Sessions(engine, users, settings.dashboard_idle, clock),
        trail=trail_of(settings, engine, clock),
        queries=queries,
        exports=Exports(engine, store, settings.data, journal, zone, clock, api=promised.api),
        packs=Packs(engine, queries, signer, journal, zone, clock, promised.api),
        disclosures=Disclosures(engine, queries, signer, settings, zone, clock, promised.api),
        reviews=Reviews(engine, clock),
        nodes=Nodes(settings, lambda: everyone(engine)),
        alerts=Alerts(alerts_engine, clock),
        alerts_engine=alerts_engine,
        promised=promised,
        counted=counted,
        zone=zone,
        clock=clock,
    )


def _prepare(parts: Parts) -> None:
    """What findings over the longest period compare with, how long answers took, and what the next weekly review finds,
    before anybody waits for it."""
    while True:
        now = parts.clock()
        try:
            latencies.spreads(parts.queries, LONGEST, now)
            days(parts.queries, now - LONGEST * SECOND - BASELINE, now, parts.zone)
            review.prepare(parts)
        except (StoreUnavailable, SQLAlchemyError) as error:
            log.warning("nothing is prepared yet", extra={"fields": {"error.type": type(error).__name__}})
        time.sleep(PREPARE)


def policy(app: Dash) -> str:
    """The Content-Security-Policy."""
    hashes = " ".join(app.csp_hashes())
    return (
        f"default-src 'none'; script-src 'self' {hashes}; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


def _layout(app: Dash, callbacks: Callbacks, parts: Parts) -> None:
    def layout() -> Any:
        if not has_request_context() or getattr(g, "session", None) is None:
            return html.Div()  # Dash asks once, for itself, before it serves anyone
        return html.Div(
            [
                dcc.Location(id="url", refresh=False),
                html.A("Skip to the content", href="#page", className="skip"),
                html.Header(_top(visit()), className="top"),
                html.Div(id="connection", role="status", **{"aria-live": "polite"}),
                html.P(f"Printed by {g.session.user}", id="printed", className="printed"),
                dcc.Interval(id="again", interval=AGAIN, disabled=True),
                *action_dialog.frame(),
                html.Main(html.P("Loading …", className="loading", role="status"), id="page", tabIndex="-1"),
            ]
        )

    app.layout = layout
    by_path = {page.path: page for page in PAGES}

    @callbacks.on(
        Role.DISCLOSURE,
        Output("page", "children"),
        Output("menu", "children"),
        Output("again", "disabled"),
        Input("url", "pathname"),
        Input("url", "search"),
        Input("again", "n_intervals"),
    )
    def show(path: str | None, query: str | None, _tick: int | None) -> Any:
        asked = visit(path or "/", query)
        shown, whole = draw(by_path.get(asked.path), parts, asked)
        return shown, _menu(asked), whole


def draw(page: Page | None, parts: Parts, asked: Visit) -> tuple[Any, bool]:
    """A page, or why it is not shown: an unknown page, a role that may not, a store that does not answer.

    The second is False where it is worth trying again by itself: something that did not answer may do so soon.
    """
    if page is None:
        return notice(BAD, "There is no such page", "It may have moved: choose one from the menu."), True
    if not asked.may(page.role):
        return notice(BAD, "Not allowed", "Your role does not allow this page."), True
    title = html.H1(page.title)
    try:
        return page.draw(parts, asked), True
    except ViewError as error:
        return [title, notice(BAD, "This view cannot be shown", str(error)), _again(asked)], True
    except StoreUnavailable as error:
        log.warning("the event store does not answer (%s)", type(error).__name__)
        said = failed("The event store does not answer", "Nothing is shown, rather than part")
        return [title, said, _again(asked)], False
    except ControlError as error:
        return [title, failed("The sidecar does not answer", str(error)), _again(asked)], False
    except Exception:
        log.exception("a page failed", extra={"fields": {"event.action": "page_failed", "page": page.path}})
        return [title, notice(BAD, "This page failed", "The dashboard's log says why."), _again(asked)], True


def _again(asked: Visit) -> html.P:
    return html.P([dcc.Link("Open this page without filters", href=asked.path)])


def _top(who: Visit) -> list[Any]:
    return [
        html.A(
            [html.Span("U", className="brand", **{"aria-hidden": "true"}), " Understudy"], href="/", className="home"
        ),
        html.Nav(html.Ul(_menu(who), id="menu"), **{"aria-label": "Pages"}),
        html.Div([dcc.Link(f"{who.who.user} · {who.who.role}", href="/account")], className="who"),
    ]


def _menu(asked: Visit) -> list[Any]:
    items = []
    for page in PAGES:
        if asked.may(page.role) and (page.in_menu or (page.path == HOME and not asked.may(Role.AUDITOR))):
            here = asked.path == page.path or (page.path != "/" and asked.path.startswith(f"{page.path}/"))
            items.append(html.Li(dcc.Link(page.title, href=page.path), className="here" if here else ""))
    return items
