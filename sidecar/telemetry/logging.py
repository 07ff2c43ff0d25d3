"""What Understudy says about itself: JSON lines on stderr, and errors to Sentry when a DSN is set.

Neither ever holds a body, a query value, a credential or the value of a variable. Messages of exceptions are left out
as well, for they quote values (a database error quotes the row); an OSError's `strerror` is kept, for it cannot.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from gunicorn import glogging

from sidecar.telemetry import ecs, tracing
from sidecar.telemetry.log_lines import Lines

SCRUBBED: Final = "[scrubbed]"
TALKATIVE: Final = (
    "urllib3", "elastic_transport", "werkzeug", "sentry_sdk.errors",
    "sidecar.storage.off_loop.OffLoopPool", "sidecar.storage.postgresql.Pool",
)  # fmt: skip
"""Loggers of libraries, of which only warnings and worse are said; SQLAlchemy names a pool's by its class."""
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
            "ecs.version": ecs.VERSION,
            "log.logger": record.name,
            "process.pid": record.process,
        }
        if (trace := tracing.trace_id()) is not None:
            line["trace.id"] = trace
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


@cache
def _lines() -> Lines:
    """The one handler of this process, and of those that it forks."""
    lines = Lines()
    lines.setFormatter(JsonFormatter())
    return lines


def lines_dropped() -> int:
    """How many lines of this process's log nobody took."""
    return _lines().dropped


def setup_logging(level: str = "info") -> None:
    """Sends everything that is logged in this process to stderr as JSON lines. May be called again."""
    root = logging.getLogger()
    root.handlers[:] = [_lines()]
    root.setLevel(level.upper())
    for name in TALKATIVE:
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
