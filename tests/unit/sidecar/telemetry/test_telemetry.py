"""Logs are JSON lines, and neither they nor real Sentry envelopes hold a secret."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
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
