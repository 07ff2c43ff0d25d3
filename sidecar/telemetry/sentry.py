"""Errors go to Sentry when a DSN is set. What is sent is made anew from what is known to be harmless.

No body, query value, credential or value of a variable is in it, nor the message of an exception.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from sidecar import __version__
from sidecar.settings import Settings
from sidecar.telemetry.logging import SCRUBBED, scrub, strip_query

if TYPE_CHECKING:
    from sentry_sdk.types import Breadcrumb, BreadcrumbHint, Event, Hint


def setup_sentry(settings: Settings) -> bool:
    """Reports errors to SENTRY_DSN, scrubbed; False when it is unset. Call it in each process, after the fork."""
    if not settings.sentry_dsn:
        return False
    import sentry_sdk
    from sentry_sdk.integrations.argv import ArgvIntegration
    from sentry_sdk.integrations.flask import FlaskIntegration
    from sentry_sdk.integrations.logging import LoggingIntegration
    from sentry_sdk.integrations.modules import ModulesIntegration
    from sentry_sdk.integrations.stdlib import StdlibIntegration

    sentry_sdk.init(
        dsn=settings.sentry_dsn,
        release=f"understudy@{__version__}",
        server_name=settings.node_name,
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        auto_enabling_integrations=False,
        integrations=[FlaskIntegration(), LoggingIntegration(level=logging.INFO, event_level=logging.ERROR)],
        disabled_integrations=[ArgvIntegration(), ModulesIntegration(), StdlibIntegration()],
        auto_session_tracking=False,
        send_client_reports=False,
        before_send=before_send,
        before_breadcrumb=before_breadcrumb,
    )
    return True


_KEPT: Final = ("event_id", "timestamp", "level", "logger", "platform", "release", "environment", "server_name", "sdk")
_FRAME: Final = ("filename", "abs_path", "function", "module", "lineno", "in_app")
_CRUMB: Final = ("type", "category", "level", "timestamp")


def before_send(event: Event, hint: Hint) -> Event | None:
    """What is known to be harmless, and nothing else: a new event, not the old one with parts removed."""
    given: dict[str, Any] = dict(event)
    sent: dict[str, Any] = {name: given[name] for name in _KEPT if name in given}
    if "transaction" in given:
        sent["transaction"] = strip_query(str(given["transaction"]))
    if given.get("exception"):
        sent["exception"] = {"values": [_exception(value) for value in given["exception"].get("values") or ()]}
    if given.get("logentry"):
        # The format only: its parameters, and what they make of it, hold values.
        sent["logentry"] = {"message": scrub(str(given["logentry"].get("message", "")))}
    request = given.get("request") or {}
    if request:
        url = scrub(strip_query(str(request.get("url", ""))))
        sent["request"] = {"method": request.get("method"), "url": url}
    crumbs = (given.get("breadcrumbs") or {}).get("values") or ()
    sent["breadcrumbs"] = {"values": [_crumb(crumb) for crumb in crumbs]}
    return sent  # type: ignore[return-value]


def before_breadcrumb(crumb: Breadcrumb, hint: BreadcrumbHint) -> Breadcrumb | None:
    """What was logged: its format, never its parameters nor any data."""
    record = hint.get("log_record")
    return {**_crumb(crumb), "message": scrub(str(record.msg))} if record is not None else _crumb(crumb)


def _crumb(crumb: dict[str, Any]) -> dict[str, Any]:
    kept = {name: crumb[name] for name in _CRUMB if name in crumb}
    return kept | {"message": scrub(str(crumb.get("message") or ""))}


def _exception(value: dict[str, Any]) -> dict[str, Any]:
    frames = (value.get("stacktrace") or {}).get("frames") or ()
    kept = [{name: frame[name] for name in _FRAME if name in frame} for frame in frames]
    return {
        "type": value.get("type"),
        "module": value.get("module"),
        "value": SCRUBBED,
        "stacktrace": {"frames": kept},
    }
