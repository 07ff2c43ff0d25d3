"""Only what can be kept is accepted."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.contract import Contract
from sidecar.http.messages import Request
from sidecar.standby.outbox.casts import Match, compare
from sidecar.standby.writes.acceptable import fault, fits, learn_needed

CONTRACT = Contract.load("hosp")
PATIENTS = CONTRACT.resources["patients"]
JSON = ("Content-Type", "application/json")


def judged(
    name: str, body: Any, *headers: tuple[str, str], target: str = "/patients", needed: tuple[str, ...] = ()
) -> str | None:
    endpoint = CONTRACT.endpoints[name]
    sent = body if isinstance(body, bytes) else orjson.dumps(body)
    fields = list(headers) if any(n == "Content-Type" for n, _ in headers) else [JSON, *headers]
    request = Request(endpoint.method, target, fields, sent)
    return fault(endpoint, CONTRACT.resources[endpoint.resource or ""], request, needed)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"name": "Rex", "birthdate": "2019-12-31", "hospital_id": 1}, None),
        ({"name": "Rex", "hospital_id": None}, None),
        ({"name": ""}, None),
        ({}, "empty_body"),
        (b"", "unreadable"),
        (b"[]", "unreadable"),
        ({"patient": {"name": "Rex"}}, "unknown_field"),
        ({"name": "Rex", "colour": "red"}, "unknown_field"),
        ({"id": 7, "name": "Rex"}, "unknown_field"),
        ({"name": {"a": 1}}, "invalid_field"),
        ({"name": 123}, "invalid_field"),
        ({"name": None}, "invalid_field"),
        ({"name": "a\0b"}, "invalid_field"),
        ({"birthdate": "31/02/2020"}, "invalid_field"),
        ({"birthdate": "2019-1-2"}, "invalid_field"),
        ({"birthdate": "2019-12-31T00:00:00.000Z"}, "invalid_field"),
        ({"birthdate": ""}, "invalid_field"),
        ({"hospital_id": "2"}, "invalid_field"),
        ({"hospital_id": True}, "invalid_field"),
        ({"hospital_id": 2.5}, "invalid_field"),
        ({"hospital_id": 10**18}, "invalid_field"),
    ],
)
def test_a_body_that_the_upstream_might_keep_otherwise_is_not_taken(body: Any, why: str | None) -> None:
    assert judged("patients.create", body) == why
    assert judged("patients.update", body) == why


@pytest.mark.parametrize(
    ("headers", "target", "why"),
    [
        ([("Content-Type", "application/json; charset=utf-8")], "/patients", None),
        ([("Content-Type", "text/plain")], "/patients", "media_type"),
        ([("Content-Type", "application/x-www-form-urlencoded")], "/patients", "media_type"),
        ([("Content-Type", "application/json; charset=latin-1")], "/patients", "media_type"),
        ([("Content-Type", "application/merge-patch+json")], "/patients", "media_type"),
        ([("If-Match", '"x"')], "/patients", "precondition"),
        ([("If-Unmodified-Since", "x")], "/patients", "precondition"),
        ([("Content-Encoding", "gzip")], "/patients", "content_coding"),
        ([], "/patients?dry_run=1", "unknown_query"),
    ],
)
def test_what_surrounds_it_counts_too(headers: list[tuple[str, str]], target: str, why: str | None) -> None:
    assert judged("patients.create", {"name": "Rex"}, *headers, target=target) == why


def test_a_deletion_has_no_body_and_no_condition() -> None:
    assert judged("patients.delete", b"") is None
    assert judged("patients.delete", b"{}") == "unexpected_body"
    assert judged("patients.delete", b"", ("If-Match", '"x"')) == "precondition"


def test_what_the_upstream_was_seen_to_demand_is_demanded() -> None:
    assert judged("patients.create", {"birthdate": "2019-12-31"}, needed=("name",)) == "required_field"
    assert judged("patients.create", {"name": ""}, needed=("name",)) == "required_field"
    assert judged("patients.update", {"name": ""}, needed=("name",)) == "required_field"
    assert judged("patients.update", {"birthdate": "2019-12-31"}, needed=("name",)) is None
    assert judged("hospitals.create", {"name": ""}) == "required_field"  # the contract's own word


@pytest.mark.parametrize(
    ("kind", "sent", "refusal", "needed"),
    [
        ("patients", {}, {"name": ["can't be blank"]}, {"name"}),
        ("patients", {"name": ""}, {"errors": {"name": ["can't be blank"]}}, {"name"}),
        ("patients", {"name": "x" * 300}, {"name": ["is too long"]}, set()),
        ("notes", {"title": "x"}, {"patient": ["must exist"]}, {"patient_id"}),
        ("notes", {"title": "x", "patient_id": 99}, {"patient": ["must exist"]}, set()),
        ("notes", {}, {"status": 422, "error": "Unprocessable Entity"}, set()),
        ("notes", {}, ["title"], set()),
    ],
)
def test_a_refusal_says_what_is_demanded(kind: str, sent: Any, refusal: Any, needed: set[str]) -> None:
    assert learn_needed(CONTRACT.resources[kind], sent, refusal) == needed


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates().map(str) | st.just({"a": 1})


@given(st.sampled_from(["name", "birthdate", "hospital_id"]), VALUES)
def test_what_fits_is_shown_as_it_was_sent(name: str, value: Any) -> None:
    schema = PATIENTS.schemas[name]
    if fits(schema, value):
        assert compare(value, orjson.loads(orjson.dumps(value)), schema) is Match.EQUAL
        assert type(value) in (str, int)
