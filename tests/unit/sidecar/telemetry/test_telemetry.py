"""Logs are JSON lines, and neither they nor real Sentry envelopes hold a secret."""

from __future__ import annotations

import gzip
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sidecar.telemetry.logging import GunicornLogger, JsonFormatter, event, scrub, strip_query
from sidecar.telemetry.sentry import before_send

SECRETS = ("s3cret-password", "YW5uOnMzY3JldA", "sess10n-cookie", "qu3ry-value", "b0dy-text", "us3r-data")
SECRETS += ("l0cal-value",)


@pytest.fixture
def lines() -> Iterator[tuple[logging.Logger, list[dict[str, Any]]]]:
    found: list[dict[str, Any]] = []

    class Into(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = self.format(record)
            assert "\n" not in text
            found.append(json.loads(text))

    logger, handler = logging.getLogger("tests.telemetry"), Into()
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    yield logger, found
    logger.removeHandler(handler)


def test_a_line_has_ecs_names_and_the_given_fields(lines: tuple[logging.Logger, list[dict[str, Any]]]) -> None:
    logger, found = lines
    event(logger, logging.WARNING, "shipped", "sent\ntwo", event__duration=5, understudy__endpoint="GET /notes")
    line = found[0]
    assert line["@timestamp"].endswith("+00:00")
    assert (line["log.level"], line["event.action"], line["message"]) == ("warning", "shipped", "sent\ntwo")
    assert (line["event.duration"], line["understudy.endpoint"]) == (5, "GET /notes")


def test_exceptions_are_types_and_frames_without_values(lines: tuple[logging.Logger, list[dict[str, Any]]]) -> None:
    logger, found = lines
    try:
        try:
            raise KeyError("s3cret-password")
        except KeyError as error:
            raise ValueError("b0dy-text") from error
    except ValueError:
        logger.exception("it failed")
    try:
        open("/nonexistent/l0cal-value")  # noqa: SIM115
    except OSError:
        logger.exception("it failed")
    assert found[0]["error.type"] == "ValueError"
    assert "KeyError" in found[0]["error.stack_trace"]
    assert "test_telemetry.py" in found[0]["error.stack_trace"]
    assert found[1]["error.message"] == "No such file or directory"
    assert not [secret for secret in SECRETS if secret in json.dumps(found)]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Error handling request /notes?patient_id=qu3ry", "Error handling request /notes?…"),
        ("Authorization: Basic YW5uOnMzY3JldA==", "Authorization: [scrubbed]"),
        ("('Cookie', 'a=b; c=d')", "('Cookie', '[scrubbed]".replace("'[", "[")),
        ("sent basic YW5uOnMzY3JldA==, failed", "sent basic [scrubbed], failed"),
        ("http://ann:pw@hosp/notes", "http://[scrubbed]@hosp/notes"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_scrub(text: str, clean: str) -> None:
    assert scrub(text) == clean


@pytest.mark.parametrize(
    ("why", "kept"),
    [
        ("Invalid HTTP header name: 'Bad s3cret-password'", "Invalid HTTP header name"),
        ("Invalid HTTP request line: 'GET /notes?password=s3cret-password'", "Invalid HTTP request line"),
        ("Limit Headers fields size: s3cret-password", "Limit Headers fields size"),
    ],
)
def test_what_gunicorn_refuses_is_not_quoted(
    why: str, kept: str, lines: tuple[logging.Logger, list[dict[str, Any]]]
) -> None:
    logger, found = lines
    theirs = GunicornLogger.__new__(GunicornLogger)
    theirs.error_log = logger
    theirs.warning(f"Invalid request from ip=::1: {why}")
    theirs.warning("Worker %s: 'as ever'", 7)
    assert [line["message"] for line in found] == [f"Invalid request from ip=::1: {kept}", "Worker 7: 'as ever'"]


def test_strip_query() -> None:
    assert strip_query("/notes?patient_id=1#x") == "/notes"
    assert strip_query("/notes#?x") == "/notes"


def test_an_event_keeps_only_what_is_known_to_be_harmless() -> None:
    sent = before_send({"level": "error", "extra": {"a": "b0dy-text"}, "user": {"name": "us3r-data"}}, {})  # type: ignore[typeddict-item]
    assert sent == {"level": "error", "breadcrumbs": {"values": []}}


class Sink(BaseHTTPRequestHandler):
    """A Sentry server: takes envelopes as the SDK sends them."""

    envelopes: list[list[bytes]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.envelopes.append([self.path.encode() + str(self.headers).encode(), *body.split(b"\n")])
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: Any) -> None:
        return None


REPORTING = """
import logging, sys
from flask import Flask
from sidecar.settings import Settings
from sidecar.telemetry import setup_logging, setup_sentry
import sentry_sdk

setup_logging("info")
assert not setup_sentry(Settings())
assert setup_sentry(Settings(sentry_dsn=sys.argv[1], node="n1"))
app = Flask("planted")

@app.post("/notes")
def notes():
    from flask import request
    password = "l0cal-value" + request.get_data(as_text=True)
    sentry_sdk.set_user({"username": "us3r-data"})
    sentry_sdk.set_extra("body", "b0dy-text")
    sentry_sdk.add_breadcrumb(message="GET /x?q=qu3ry-value", data={"password": "s3cret-password"})
    logging.getLogger("app").info("asked for %s", "s3cret-password")
    logging.getLogger("app").error("refused %s", "s3cret-password b0dy-text")
    raise ValueError("bad password s3cret-password")

answer = app.test_client().post(
    "/notes?patient_id=qu3ry-value", data="b0dy-text", content_type="text/plain",
    headers={"Authorization": "Basic YW5uOnMzY3JldA==", "Cookie": "sid=sess10n-cookie"})
assert answer.status_code == 500
sentry_sdk.flush(5)
"""


def test_real_envelopes_hold_no_planted_secret() -> None:
    Sink.envelopes.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Sink) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            dsn = f"http://public@127.0.0.1:{server.server_port}/1"
            ran = subprocess.run(
                [sys.executable, "-c", REPORTING, dsn], capture_output=True, text=True, timeout=30, check=False
            )
        finally:
            server.shutdown()
            thread.join()
    assert ran.returncode == 0, ran.stderr
    everything = b"\n".join(part for envelope in Sink.envelopes for part in envelope)
    assert not [secret for secret in SECRETS if secret.encode() in everything]
    sent = [json.loads(envelope[3]) for envelope in Sink.envelopes]
    kinds = [event["exception"]["values"][0]["type"] for event in sent if "exception" in event]
    assert kinds == ["ValueError"]
    assert [event["logentry"]["message"] for event in sent if "exception" not in event] == ["refused %s"]
    raised = next(event for event in sent if "exception" in event)
    assert raised["request"]["url"].endswith("/notes")
    assert raised["exception"]["values"][0]["stacktrace"]["frames"][-1]["function"] == "notes"
    crumbs = [crumb["message"] for crumb in raised["breadcrumbs"]["values"]]
    assert "asked for %s" in crumbs
    assert "GET /x?…" in crumbs
    assert [json.loads(line)["log.level"] for line in ran.stderr.splitlines()]
