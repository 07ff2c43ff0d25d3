"""The control plane against its description: its routes are those, and what it answers is what is written there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from schemathesis import openapi
from schemathesis.checks import load_all_checks, not_a_server_error

from sidecar.app import create_control_app
from sidecar.server.phase import Service
from sidecar.settings import load_settings
from sidecar.storage.database import create_all, open_engine
from tests.support.stack import TOKEN, Sidecar, raw
from tests.support.upstream import HOLT, Upstream

load_all_checks()
DESCRIPTION = Path(__file__).parents[2] / "sidecar/control.openapi.yaml"
plane = openapi.from_path(DESCRIPTION)
plane.config.phases.coverage.enabled = False


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    with Upstream() as upstream:
        upstream.state.patients[17] = {"id": 17, "name": "Rex"}
        with Sidecar(upstream.url, tmp_path_factory.mktemp("plane") / "data", workers="1") as running:
            for path in ("/notes", "/patients", "/staffs/me"):
                assert running.ask("GET", path, HOLT).status == 200
            yield running
            told = [json.loads(line) for line in running.log.read_text().splitlines()]
    assert [line for line in told if "error.stack_trace" in line] == []


def test_the_description_is_valid_and_has_every_route(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described = yaml.safe_load(DESCRIPTION.read_text())
    validate(described)
    environ = {"UNDERSTUDY_UPSTREAM": "http://127.0.0.1:1", "UNDERSTUDY_DATA": str(tmp_path / "data")}
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    configured = load_settings(environ)
    engine = open_engine(configured)
    create_all(engine)
    engine.dispose()
    rules = create_control_app(configured, Service()).url_map.iter_rules()
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in rules
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.endpoint != "static"
    }
    written = {(path, method) for path, row in described["paths"].items() for method in row if method != "parameters"}
    assert served == written


@plane.parametrize()
@settings(max_examples=8, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_described(case: schemathesis.Case, sidecar: Sidecar) -> None:
    """Requests that fit the description and ones that do not. A 503 of readiness is an answer, not an error."""
    case.call_and_validate(
        base_url=f"http://127.0.0.1:{sidecar.control}",
        headers={"Authorization": f"Bearer {TOKEN}"},
        excluded_checks=[not_a_server_error],
    )


VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=30)
VALUES = st.recursive(st.none() | st.integers() | st.text(), st.lists)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"]),
    path=st.sampled_from(["/", "/notes", "/notes/1", "/patients/17", "/staffs/me", "/patients/17/screen", "/x"]),
    query=VISIBLE.map(lambda text: text.replace("#", "")),
    name=st.sampled_from(["Authorization", "Content-Type", "X-Request-Id", "traceparent", "Cookie", "Via", "Accept"]),
    value=VISIBLE,
    body=st.one_of(st.binary(max_size=60), VALUES.map(lambda v: json.dumps({"title": v, "patient_id": v}).encode())),
)
def test_no_request_breaks_the_sidecar(
    sidecar: Sidecar, method: str, path: str, query: str, name: str, value: str, body: bytes
) -> None:
    """One whole answer to any well-formed request, never a 500 of ours; tracebacks are looked for at the end."""
    head = f"{method} {path}?{query} HTTP/1.1\r\nHost: h\r\n{name}: {value}\r\nConnection: close\r\n"
    sent = head.encode() + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    got = raw(sidecar.port, sent)
    assert got.startswith(b"HTTP/1.1 "), got[:100]
    assert b"detail=internal" not in got
    assert got.count(b"\r\nX-Request-Id: ") == 1
