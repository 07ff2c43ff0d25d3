"""What Understudy says about itself: JSON lines on stderr, and errors to Sentry when a DSN is set.

Neither ever holds a body, a query value, a credential or the value of a variable. Messages of exceptions are left out
as well, for they quote values (a database error quotes the row); an OSError's `strerror` is kept, for it cannot.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from gunicorn import glogging

from sidecar import __version__
from sidecar.settings import Settings

if TYPE_CHECKING:
    from sentry_sdk.types import Breadcrumb, BreadcrumbHint, Event, Hint

SCRUBBED: Final = "[scrubbed]"
_QUERY: Final = re.compile(r"\?[^\s\"'<>]*")
_CREDENTIALS: Final = re.compile(r"\b(basic|bearer|apikey)\s+[\w+/=.~:-]+", re.IGNORECASE)
_FIELDS: Final = re.compile(r"\b((?:proxy-)?authorization|(?:set-)?cookie)\b(['\"]?\s*[:=,]\s*)[^\r\n]*", re.IGNORECASE)
_QUOTED: Final = re.compile("[:'\"(]")
_USERINFO: Final = re.compile(r"(\w://)[^\s/@]+@")


def strip_query(path: str) -> str:
    """A path or URL without its query and fragment."""
    return path.partition("#")[0].partition("?")[0]


def scrub(text: str) -> str:
    """A message without query values, Authorization and Cookie values, and user:password@ in URLs."""
    text = _FIELDS.sub(rf"\1\2{SCRUBBED}", text)
    text = _CREDENTIALS.sub(rf"\1 {SCRUBBED}", text)
    text = _USERINFO.sub(rf"\1{SCRUBBED}@", text)
    return _QUERY.sub("?…", text)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with ECS names. Fields come in `extra={"fields": {…}}`; see `event`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "@timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "log.level": record.levelname.lower(),
            "message": scrub(record.getMessage()),
            "log.logger": record.name,
            "process.pid": record.process,
        }
        for name, value in getattr(record, "fields", {}).items():
            line[name] = scrub(value) if isinstance(value, str) else value
        if record.exc_info and record.exc_info[1] is not None:
            line.update(_error(record.exc_info[1]))
        return json.dumps(line, ensure_ascii=False, default=lambda value: scrub(str(value)))


def _error(error: BaseException) -> dict[str, str]:
    """Type and frames of an exception and of its causes: no message, no source line, no values."""
    seen: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(seen) < 10:
        frames = traceback.extract_tb(cause.__traceback__)
        lines = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        seen.append("\n".join([_type(cause), *lines]))
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    told = {"error.type": _type(error), "error.stack_trace": "\n\n".join(seen)}
    if isinstance(error, OSError) and error.strerror:
        told["error.message"] = str(error.strerror)
    return told


def _type(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def event(logger: logging.Logger, level: int, action: str, message: str, **fields: Any) -> None:
    """Logs one event: `action` is ECS's event.action; a field named a__b is written as a.b."""
    named = {name.replace("__", "."): value for name, value in fields.items()}
    logger.log(level, "%s", message, extra={"fields": {"event.action": action, **named}})


def setup_logging(level: str = "info") -> None:
    """Sends everything that is logged in this process to stderr as JSON lines. May be called again."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("urllib3", "elastic_transport", "werkzeug", "sentry_sdk.errors"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("gunicorn.error", "gunicorn.access"):
        theirs = logging.getLogger(name)
        theirs.handlers[:] = []
        theirs.propagate = True
        theirs.setLevel(logging.NOTSET)


class GunicornLogger(glogging.Logger):  # type: ignore[misc]
    """For gunicorn's `logger_class`: its own lines go the same way; there is no access log (the journal is one)."""

    def setup(self, cfg: Any) -> None:
        setup_logging(cfg.loglevel)

    def warning(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Of a request that gunicorn refuses, what kind it was: it quotes the line, and so whatever stood there."""
        who, _, why = msg.partition(": ")
        super().warning(
            f"{who}: {_QUOTED.split(why)[0]}" if who.startswith("Invalid request") else msg, *args, **kwargs
        )

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        return None

    def reopen_files(self) -> None:
        return None


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
