"""Traces, seen by a collector that decodes them: one span an exchange, its steps inside it, and nothing private."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from sidecar.settings import PREFIX, load_settings
from sidecar.telemetry import tracing
from sidecar.telemetry.logging import JsonFormatter
from sidecar.telemetry.spans import Exported
from sidecar.telemetry.spans import spans as spans_of
from sidecar.telemetry.trace_facts import Facts
from tests.support.collector import Collector, Received
from tests.support.gateway import NEVER_SENT, FakeUpstream, InProcess
from tests.support.stack import until
from tests.support.upstream import HOLT, USERS

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
FACTS = Facts(
    f"00-{TRACE}-{CALLER}-01", None, "1-1", 1, 2, (2, 3), "GET", "GET /notes", "notes.list", "http", 200, "success",
    "upstream", None, "closed", "", "known", (), (), "user", "success",
)  # fmt: skip
EACH = 2
"""Spans of it: its own, and its record's."""
GIVEN = {**HOLT, "traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "vendor=1"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture
def gateway(tmp_path: Path, collector: Collector) -> Iterator[InProcess]:
    upstream = FakeUpstream()
    upstream.state.patients[17] = {"id": 17, "name": "Rex Secretname"}
    with InProcess(tmp_path, upstream, otlp=collector.url, otlp_authorization="Bearer t0ken", retry_budget=1.0) as made:
        yield made


def spans(collector: Collector, trace: str, at_least: int) -> list[Received]:
    until(lambda: len(collector.of(trace)) >= at_least, 10, f"{at_least} spans of {trace}")
    return collector.of(trace)


def upstream_got(gateway: InProcess, name: str) -> str:
    """A field of the last request that went to the upstream."""
    return next(value for key, value in gateway.upstream.sent[-1].headers if key.lower() == name)


def test_a_read_is_a_span_with_its_steps_inside_it(gateway: InProcess, collector: Collector) -> None:
    assert gateway.ask("GET", "/patients/17?secret=xyzzy", GIVEN).status == 200
    whole, *steps = spans(collector, TRACE, 3)
    assert (whole.name, whole.kind, whole.parent, whole.failed) == ("GET /patients/{id}", "server", CALLER, False)
    (event,) = gateway.events()
    wanted = {
        "http.request.method": "GET", "http.route": "/patients/{id}", "url.scheme": "http",
        "http.response.status_code": 200, "understudy.event.id": event["event"]["id"],
        "understudy.answered_by": "upstream", "understudy.outcome": "success",
    }  # fmt: skip
    assert {name: whole.attributes.get(name) for name in wanted} == wanted
    assert whole.resource["service.name"] == "understudy"
    assert {span.parent for span in steps} == {whole.id}
    assert all(whole.start <= span.start <= span.end <= whole.end for span in steps)
    (attempt,) = [span for span in steps if span.kind == "client"]
    assert (attempt.name, attempt.attributes["url.template"]) == ("GET /patients/{id}", "/patients/{id}")
    assert (attempt.attributes["server.address"], attempt.attributes["server.port"]) == ("hosp.test", 80)
    assert "journal" in [span.name for span in steps]
    assert event["trace"]["id"] == TRACE
    assert upstream_got(gateway, "traceparent") == f"00-{TRACE}-{whole.id}-01"
    assert upstream_got(gateway, "tracestate") == "vendor=1"
    assert {(head["path"], head["authorization"], head["content-type"]) for head in collector.heads} == {
        ("/v1/traces", "Bearer t0ken", "application/x-protobuf")
    }


def test_a_trace_that_begins_here_is_the_events(gateway: InProcess, collector: Collector) -> None:
    gateway.ask("GET", "/patients/17", HOLT)
    (event,) = gateway.events()
    whole, *_ = spans(collector, event["trace"]["id"], 3)
    assert (whole.kind, whole.parent) == ("server", "")


def test_an_answer_of_the_standby_tells_who_was_asked_and_what_failed(gateway: InProcess, collector: Collector) -> None:
    gateway.knows("/patients/17", HOLT)
    gateway.upstream.fault = "reset"
    assert gateway.ask("GET", "/patients/17", GIVEN).status == 200
    whole, *steps = spans(collector, TRACE, 5)
    assert (whole.attributes["understudy.answered_by"], whole.failed) == ("standby", False)
    names = [span.name for span in steps]
    assert {"identify", "standby", "journal"} <= set(names)
    attempts = [span for span in steps if span.kind == "client"]
    errors = [span.attributes["error.type"] for span in attempts]
    assert set(errors[:1]) <= {"reset"}, "on a machine without a core to spare none may have begun"
    assert set(errors) <= {"reset", "late"}, "the last may not have ended when the standby answered"
    assert all(span.failed for span in attempts)
    again = [span.attributes.get("http.request.resend_count") for span in attempts]
    assert again == [None, *range(1, len(attempts))][: len(attempts)]


def test_a_write_that_the_outbox_keeps(gateway: InProcess, collector: Collector) -> None:
    gateway.knows("/patients/17", HOLT)
    gateway.upstream.fault = NEVER_SENT
    gateway.ask("POST", "/notes", GIVEN, {"title": "Round Secretname", "patient_id": 17})
    whole, *steps = spans(collector, TRACE, 4)
    assert (whole.name, whole.attributes["understudy.reason"]) != ("", None)
    assert {"outbox", "journal"} <= {span.name for span in steps}


def test_a_failure_is_an_error(gateway: InProcess, collector: Collector) -> None:
    gateway.upstream.fault = NEVER_SENT
    assert gateway.ask("GET", "/patients/17", GIVEN).status == 503
    whole, *_ = spans(collector, TRACE, 2)
    assert (whole.failed, whole.attributes["error.type"]) == (True, "503")


def test_nothing_private_is_in_a_span(gateway: InProcess, collector: Collector) -> None:
    agent = {"User-Agent": "Agent-Secretname", "X-Request-Id": "Request-Secretname"}
    gateway.ask("GET", "/patients/171717?name=Secretname", {**GIVEN, **agent})
    gateway.ask("POST", "/notes", {**GIVEN, **agent}, {"title": "Secretname", "patient_id": 17})
    gateway.ask("SECRETNAME", "/Secretname", {**GIVEN, **agent})
    spans(collector, TRACE, 8)
    assert "HTTP" in {span.name for span in collector.of(TRACE)}
    private = ["Secretname", "SECRETNAME", "171717", "Dr Holt", "192.0.2.7", USERS["Dr Holt"], HOLT["Authorization"]]
    assert [word for word in private if word.encode() in collector.raw] == []


def test_who_does_not_sample_is_not_sampled(gateway: InProcess, collector: Collector) -> None:
    gateway.ask("GET", "/patients/17", {**HOLT, "traceparent": f"00-{TRACE}-{CALLER}-00"})
    sent = upstream_got(gateway, "traceparent")
    assert (sent[:36], sent[-2:]) == (f"00-{TRACE}-", "00")
    assert sent[36:52] != CALLER
    gateway.ask("GET", "/patients/17", {**HOLT, "traceparent": f"00-{'a' * 32}-{CALLER}-01"})
    spans(collector, "a" * 32, 3)
    assert collector.of(TRACE) == []


def test_a_share_of_traces(tmp_path: Path) -> None:
    made: list[Facts] = []

    class Kept:
        make, flush, close = staticmethod(made.append), staticmethod(lambda: None), staticmethod(lambda: None)

    traces = tracing.Tracing(Kept(), 0.25, Random(7))
    flags = [copy_context().run(traces.begin, None)[-2:] for _ in range(4000)]
    traces.close()
    assert 0.22 < flags.count("01") / 4000 < 0.28


def test_a_collector_that_hangs_or_fails_disturbs_nobody(gateway: InProcess, collector: Collector) -> None:
    collector.taking.clear()
    for number in range(20):
        assert gateway.ask("GET", f"/patients/17?n={number}", HOLT).status == 200
    collector.status = 400
    collector.taking.set()
    until(lambda: collector.heads, 10, "the collector was asked")
    assert gateway.ask("GET", "/patients/17", HOLT).status == 200


def test_a_log_line_says_its_trace(gateway: InProcess) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("sidecar.gateway.gateway")
    logger.addHandler(handler)
    try:
        gateway.upstream.before = lambda call: logger.error("odd")
        broken = gateway.ask("GET", "/patients/17", GIVEN)
        logger.error("beside")
    finally:
        logger.removeHandler(handler)
    assert broken.status == 200
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line.get("trace.id") for line in lines] == [TRACE, None]


def test_the_authorization_is_a_secret() -> None:
    assert "t0ken" not in repr(load_settings({f"{PREFIX}OTLP_AUTHORIZATION": "Bearer t0ken"}))


def test_how_many_spans_are_lost_is_said(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    """At once, each minute, once the collector takes some again, and at the end."""
    caplog.set_level(logging.INFO, "sidecar.telemetry.spans")
    now = [0.0]
    exported = Exported(load_settings({f"{PREFIX}OTLP": collector.url}), lambda: now[0])

    def send(status: int, exchanges: int) -> list[tuple[str, int]]:
        """What is said of it."""
        caplog.clear()
        collector.status = status
        for _ in range(exchanges):
            exported.make(FACTS)
        exported.flush()
        return [(each.fields["event.action"], each.fields["count"]) for each in caplog.records]  # type: ignore[attr-defined]

    assert send(200, 1) == []
    assert send(400, 1) == [("traces_lost", EACH)]
    assert send(400, 2) == []
    now[0] += 60
    assert send(400, 1) == [("traces_lost", 4 * EACH)]
    assert send(200, 1) == [("traces_taken", 4 * EACH)]
    assert send(200, 1) == []
    assert send(400, 1) == [("traces_lost", EACH)], "counted anew"
    exported.make(FACTS)
    caplog.clear()
    exported.close()
    assert [each.fields["count"] for each in caplog.records] == [2 * EACH]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("parent", "flags"), [(None, 0x101), (GIVEN["traceparent"], 0x301)])
def test_flags_say_that_it_is_known_whether_a_parent_is_remote(parent: str | None, flags: int) -> None:
    """opentelemetry/proto/trace/v1/trace.proto, SpanFlags: bit 8 says that bit 9 means something, bit 0 sampled."""
    whole, *inside = spans_of(replace(FACTS, parent=parent), {})
    assert whole.flags == flags
    assert {each.flags for each in inside} == {0x101}
