"""An exchange as an event: every field where DESIGN says, nothing secret anywhere."""

from __future__ import annotations

import base64
import gzip
import string
import tracemalloc
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.events.document import to_event
from sidecar.events.redact import Redactor
from sidecar.exchange import AnsweredBy, Attempt, Exchange, Identity, Outcome
from sidecar.http.messages import Request, Response
from sidecar.timeunits import parse_rfc3339, to_rfc3339
from tests.support.growth import is_linear

STARTED = 1_773_144_000_123_456_789
SECRETS = frozenset({"password", "pin"})
JSON = ("Content-Type", "application/json; charset=utf-8")


def exchange(**given: Any) -> Exchange:
    request = Request(
        given.get("method", "GET"),
        given.get("target", "/notes/7?patient_id=3&q=%41b"),
        [("User-Agent", "curl/8.5"), *given.get("headers", [])],
        given.get("body", b""),
        given.get("remote", "192.0.2.7"),
    )
    response = Response(
        given.get("status", 200), given.get("answer_headers", [JSON]), given.get("answer", b'{"id":7,"title":"Limps"}')
    )
    return Exchange(
        id="0199-e",
        started=STARTED,
        request=request,
        request_id="r-1",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        endpoint_id="notes.read",
        endpoint="GET /notes/{id}",
        action=given.get("action", "read"),
        resource_type="notes",
        resource_id="7",
        patient_id="3",
        user="Dr Holt",
        identity=Identity.VERIFIED,
        attempts=[Attempt(STARTED + 1000, 4_000_000, Outcome.SUCCESS, 200)],
        response=given.get("response", response),
        outcome=Outcome.SUCCESS,
        reason=given.get("reason"),
        answered_by=AnsweredBy.UPSTREAM,
        ended=STARTED + 5_000_000,
    )


def made(body_cap: int = 65536, **given: Any) -> tuple[dict[str, Any], dict[str, Any] | None]:
    return to_event(exchange(**given), node="n1", contract_secrets=SECRETS, body_cap=body_cap)


def basic(password: str) -> tuple[str, str]:
    return "Authorization", "Basic " + base64.b64encode(f"Dr Holt:{password}".encode()).decode()


def written(**given: Any) -> str:
    return orjson.dumps(made(**given)).decode()


def test_every_field_is_where_it_belongs() -> None:
    event, bodies = made(method="PATCH", action="update", headers=[JSON], body=b'{"title":"Limps"}')
    assert event == {
        "@timestamp": "2026-03-10T12:00:00.123456789Z",
        "ecs": {"version": "8.17.0"},
        "event": {
            "id": "0199-e",
            "kind": "event",
            "category": ["api"],
            "type": ["change"],
            "action": "update",
            "outcome": "success",
            "duration": 5_000_000,
            "start": "2026-03-10T12:00:00.123456789Z",
            "end": "2026-03-10T12:00:00.128456789Z",
        },
        "http": {
            "request": {"id": "r-1", "method": "PATCH", "bytes": 17, "mime_type": "application/json"},
            "response": {"status_code": 200, "bytes": 24, "mime_type": "application/json"},
        },
        "url": {"path": "/notes/7", "query": "patient_id=3&q=%41b"},
        "user": {"name": "Dr Holt"},
        "source": {"ip": "192.0.2.7"},
        "user_agent": {"original": "curl/8.5"},
        "trace": {"id": "0af7651916cd43dd8448eb211c80319c"},
        "service": {"name": "understudy", "node": {"name": "n1"}},
        "understudy": {
            "endpoint": "GET /notes/{id}",
            "endpoint_id": "notes.read",
            "resource": {"type": "notes", "id": "7"},
            "patient": {"id": "3"},
            "answered_by": "upstream",
            "attempts": [
                {
                    "start": "2026-03-10T12:00:00.123457789Z",
                    "duration": 4_000_000,
                    "outcome": "success",
                    "hedge": False,
                    "status": 200,
                }
            ],
            "circuit": "closed",
            "verdict": "allow",
            "findings": [],
            "client": "user",
            "identity": "verified",
            "purpose": "user",
            "outcome": "success",
            "upstream_outcome": "success",
            "body": {
                "request": sha256(b'{"title":"Limps"}').hexdigest(),
                "response": sha256(b'{"id":7,"title":"Limps"}').hexdigest(),
            },
        },
    }
    assert bodies == {
        "@timestamp": "2026-03-10T12:00:00.123456789Z",
        "event": {"id": "0199-e"},
        "understudy": {"endpoint": "GET /notes/{id}"},
        "http": {
            "request": {"body": {"content": '{"title":"Limps"}'}},
            "response": {"body": {"content": '{"id":7,"title":"Limps"}'}},
        },
    }


def test_a_client_that_left_is_499_and_unknown() -> None:
    event, _ = made(reason="client_aborted", response=None)
    assert event["http"]["response"] == {"status_code": 499, "bytes": 0}
    assert (event["understudy"]["outcome"], event["event"]["outcome"]) == ("client_aborted", "unknown")


def test_without_bodies_there_is_no_bodies_document() -> None:
    event, bodies = made(answer=b"")
    assert bodies is None
    assert "body" not in event["understudy"]


@pytest.mark.parametrize("remote", ["", "unix:", "the gateway"])
def test_an_address_that_is_none_is_left_out(remote: str) -> None:
    assert "source" not in made(remote=remote)[0]


def test_text_that_json_cannot_hold_is_made_fit() -> None:
    odd = exchange()
    odd.user = "Dr \udcff"
    assert b"Dr ?" in orjson.dumps(to_event(odd, node="n", contract_secrets=SECRETS, body_cap=10))


@pytest.mark.parametrize(
    ("body", "recorded"),
    [
        (b'{"name":"A","password":"hunter2"}', '{"name":"A","password":"[redacted]"}'),
        (b'{"staff":[{"PassWord":"hunter2"}]}', '{"staff":[{"PassWord":"[redacted]"}]}'),
        (b'{"pass\\u0077ord":"hunter2"}', '{"password":"[redacted]"}'),
        (b'{"password_confirmation":{"a":"hunter2"}}', '{"password_confirmation":"[redacted]"}'),
        (b'{"a":{"password":"hunter2"},"a":1}', '{"a":1}'),
        (b'{"a":"{\\"password\\":\\"hunter2\\"}"}', '{"a":"[redacted]"}'),
        (
            b'{"user":{"apiKey":"hunter2","pwd":1,"pin":["hunter2"]},"author":3}',
            '{"user":{"apiKey":"[redacted]","pwd":"[redacted]","pin":"[redacted]"},"author":3}',
        ),
        (b'{"name":"A","password":"hunter2"', None),
        (b"hunter2", None),
        (b"password=hunter2&name=A", None),
        (b"\xff\xfeh\0u\0n\0t\0e\0r\x002\0", None),
        (b"[" * 300 + b'{"password":"hunter2"}' + b"]" * 300, None),
        (b"[" * 100_000, None),
        (b'{"pin":1234,"x":"A shipping note"}', '{"pin":"[redacted]","x":"A shipping note"}'),
    ],
)
def test_request_bodies(body: bytes, recorded: str | None) -> None:
    event, bodies = made(method="POST", action="create", body=body, answer=b"")
    assert "hunter2" not in orjson.dumps([event, bodies]).decode()
    if recorded is None:
        assert bodies is None
        assert "body" not in event["understudy"], "a digest of a secret can be guessed"
    else:
        assert bodies is not None
        assert bodies["http"]["request"]["body"]["content"] == recorded
        assert event["understudy"]["body"]["request"] == sha256(recorded.encode()).hexdigest()
    assert event["http"]["request"]["bytes"] == len(body)


@pytest.mark.parametrize(
    ("query", "recorded"),
    [
        ("a=1&password=hunter2&b=%20", "a=1&password=[redacted]&b=%20"),
        ("staff[password]=hunter2", "staff[password]=[redacted]"),
        ("p%61ssword=hunter2", "p%61ssword=[redacted]"),
        ("PASSWORD=hunter2;x=1", "PASSWORD=[redacted];x=1"),
        ("pwd=1&token=t&secretary=1", "pwd=[redacted]&token=[redacted]&secretary=1"),
        ("session=s&apiKey=k&q=onion&author=3", "session=[redacted]&apiKey=[redacted]&q=onion&author=3"),
        ("q=%7B%22password%22%3A%22hunter2%22%7D", "q=[redacted]"),
        ("password%3Dhunter2", "[redacted]"),
        ("patient_id=3&&x", "patient_id=3&&x"),
    ],
)
def test_queries(query: str, recorded: str) -> None:
    text = written(target=f"/notes?{query}")
    assert "hunter2" not in text
    assert made(target=f"/notes?{query}")[0]["url"]["query"] == recorded


@pytest.mark.parametrize(
    "given",
    [
        {"answer": b'{"error":"hunter2 is wrong"}'},
        {"answer": b"<p>hunter2 is wrong</p>", "answer_headers": [("Content-Type", "text/html")]},
        {"answer": gzip.compress(b'{"password":"hunter2"}'), "answer_headers": [JSON, ("Content-Encoding", "gzip")]},
        {"answer": b'{"password":"hunter2'},
        {"target": "/notes/hunter2?a=hunter2"},
        {"headers": [basic("hunter2"), ("Cookie", "session=hunter2"), ("Proxy-Authorization", "Bearer hunter2")]},
        {"answer_headers": [("Set-Cookie", "session=hunter2")]},
        {"body": b'{"password":"hunter2"}', "answer": b'{"echo":"hunter2"}'},
        {"target": "/staffs?password=hunter2", "answer": b'{"echo":"hunter2"}'},
    ],
)
def test_a_secret_is_nowhere(given: dict[str, Any]) -> None:
    text = written(**{"headers": [basic("hunter2")], **given})
    assert "hunter2" not in text
    assert basic("hunter2")[1].split()[1] not in text


@pytest.mark.parametrize(
    ("path", "recorded"),
    [
        ("http://ann:pw-pw@h/notes", "http://[redacted]@h/notes"),
        ("ann:pw-pw@h:80", "[redacted]@h:80"),
        ("//ann:pw-pw@h/notes", "//[redacted]@h/notes"),
        ("/notes/ann@h", "/notes/ann@h"),
    ],
)
def test_a_target_that_holds_credentials_is_recorded_without_them(path: str, recorded: str) -> None:
    assert Redactor(frozenset(), Request("GET", path, [])).path(path) == recorded


def test_compressed_answers_are_recorded_unpacked_and_bombs_are_not() -> None:
    coded = [JSON, ("Content-Encoding", "gzip")]
    _, bodies = made(answer=gzip.compress(b'{"id":7}'), answer_headers=coded)
    assert bodies is not None
    assert bodies["http"]["response"]["body"]["content"] == '{"id":7}'
    assert made(answer=gzip.compress(b"0" * 50_000_000), answer_headers=coded)[1] is None
    assert made(answer=b"not gzip", answer_headers=coded)[1] is None


def test_bodies_are_capped_between_characters() -> None:
    _, bodies = made(body_cap=7, answer='"ééééé"'.encode())
    assert bodies is not None
    assert bodies["http"]["response"]["body"]["content"] == '"ééé'


@given(st.integers(0, 4_000_000_000 * 10**9))
def test_times_go_there_and_back(at: int) -> None:
    assert parse_rfc3339(to_rfc3339(at)) == at
    assert parse_rfc3339(to_rfc3339(at).replace("Z", "+00:00")) == at


@pytest.mark.parametrize("text", ["", "yesterday", "2026-03-10", "2026-03-10T12:00:00", "2026-13-10T12:00:00Z"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_rfc3339(text)


def wrapped(secret: Any) -> Any:
    """JSON of any shape that holds the secret under a secret name somewhere."""
    names = st.sampled_from(["password", "Password", "staff_password", "pin", "access_token"])
    inner = st.builds(lambda name: {name: secret}, names)
    plain = st.one_of(st.integers(-9, 9), st.text("abc", max_size=5), st.none())

    def grow(children: Any) -> Any:
        objects = st.builds(lambda a, b, c: {"x": b, "in": a, "y": c}, children, plain, plain)
        return st.one_of(objects, st.builds(lambda a, b: [b, a, b], children, plain))

    return st.recursive(inner, grow, max_leaves=5)


SECRET_TEXT = st.text(string.ascii_letters + string.digits + '"\\ é&=+%/', min_size=6, max_size=20).map("zQ".__add__)


@given(st.data(), SECRET_TEXT, st.booleans())
def test_redaction_never_leaks_a_secret(data: Any, secret: str, escaped: bool) -> None:
    body = orjson.dumps(data.draw(wrapped(secret)))
    if escaped:
        body = body.replace(b"pass", b"p\\u0061ss")
    query = f"q=1&password={quote(secret, safe='')}"
    document = made(method="POST", target=f"/staffs?{query}", headers=[basic(secret)], body=body, answer=body)
    text = orjson.dumps(document).decode()
    for form in (secret, quote(secret, safe=""), quote(secret), orjson.dumps(secret)[1:-1].decode()):
        assert form not in text
        assert orjson.dumps(form)[1:-1].decode() not in text


def many(secrets: int, begin: str = "") -> tuple[list[str], bytes]:
    """So many secrets, and a body that holds each of them twice: under its name, and as an echo."""
    found = [f"{begin}{sha256(str(n).encode()).hexdigest()[:12]}" for n in range(secrets)]
    return found, orjson.dumps([{"pin": secret} for secret in found] + [f"was {secret}" for secret in found])


@pytest.mark.parametrize("begin", ["", "same", "é+"])
def test_of_many_secrets_none_leaks(begin: str) -> None:
    secrets, body = many(3000, begin)
    text = orjson.dumps(made(method="POST", body=body, answer=body, target=f"/notes/{secrets[0]}")).decode()
    assert not [secret for secret in secrets if secret in text]
    assert "[redacted]" in text


def test_what_many_secrets_do_not_touch_is_recorded_as_it_is() -> None:
    secrets, body = many(500)
    recorded = made(method="POST", body=body, answer=b'{"id":7,"title":"Limps"}')[1]
    assert recorded is not None
    assert recorded["http"]["response"]["body"]["content"] == '{"id":7,"title":"Limps"}'
    assert orjson.loads(recorded["http"]["request"]["body"]["content"])[:500] == [{"pin": "[redacted]"}] * 500


@pytest.mark.parametrize("begin", ["", "same"])
def test_secrets_are_looked_for_in_time_that_grows_with_the_text(begin: str) -> None:
    assert is_linear(lambda body: made(method="POST", body=body), lambda size: many(size, begin)[1], 300)


def test_a_long_secret_is_not_kept() -> None:
    """It would be a client's to say how much memory we need."""
    body = orjson.dumps({"password": "é" * 200_000})
    made(method="POST", body=b'{"password":"s"}')
    tracemalloc.start()
    try:
        made(method="POST", body=body)
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("change", "shows"),
    [
        ({}, "whole"),
        ({"answer_headers": [JSON, ("X-Total-Count", "12")]}, "whole:12"),
        ({"answer_headers": [JSON, ("Link", '</notes?page=2>; rel="next"')]}, None),
        ({"answer_headers": [JSON, ("Vary", "X-Tenant")]}, None),
        ({"answer_headers": [JSON, ("Age", "5")]}, None),
        ({"headers": [("X-Tenant", "west")]}, None),
        ({"status": 206}, None),
        ({"method": "HEAD"}, None),
        ({"as_given": False}, None),
    ],
)  # fmt: skip
def test_whether_an_answer_shows_all_that_there_is(change: dict[str, Any], shows: str | None) -> None:
    told = exchange(**{name: value for name, value in change.items() if name != "as_given"})
    told.as_given = change.get("as_given", True)
    event, _ = to_event(told, node="n1", contract_secrets=SECRETS, body_cap=65536)
    assert event["understudy"].get("shows") == shows
