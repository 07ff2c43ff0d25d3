"""No password, Authorization or Cookie value is found by grep in anything that the stack writes, says or sends.

The whole stack, as users meet it: credentials, cookies and passwords in every place where clients put them, an upstream
that quotes them in its errors, and a database that breaks under us, so that errors are logged and go to Sentry. What is
searched: all files under DATA, what the processes logged, every document of the event store, every Sentry envelope,
every page of the control plane. Searched for: each secret in plain, base64, percent-encoded, JSON- and HTML-escaped.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from elasticsearch import Elasticsearch

from compose.elasticsearch.node import VERSIONS, Node
from tests.stack.test_event_store import node_or_skip
from tests.support.sentry_sink import SentrySink
from tests.support.stack import TOKEN, Sidecar, ask, raw, until
from tests.support.upstream import HOLT, SET_COOKIE, USERS, Upstream, basic

PASSWORD = 'b0dy-Passw0rd "ü&/+=?" xyzzy'
WRONG = "wr0ng-Passw0rd-xyzzy"
BEARER = "b3arer-t0ken-xyzzy.abc-_~+/=="
COOKIE = "c00kie-xyzzy+/%2B=="
ZORN = {"Authorization": basic("Dr Zorn"), "Accept": "application/json"}
SECRETS = (PASSWORD, WRONG, BEARER, COOKIE, SET_COOKIE.partition("=")[2].partition(";")[0], TOKEN, *USERS.values())
CANARY = "canary-of-the-notes"
"""Is no secret: found where bodies are recorded, it shows that the search can find."""


def forms(secret: str) -> set[bytes]:
    """A secret as it may stand in a file."""
    text = {secret, quote(secret), quote(secret, ""), quote_plus(secret), html.escape(secret), secret.replace(" ", "+")}
    text |= {
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(json.dumps(secret))[3:-3],
    }
    text |= {base64.b64encode(f"{user}:{secret}".encode()).decode() for user in (*USERS, "Dr Nobody")}
    text |= {base64.b64encode(secret.encode()).decode().rstrip("="), base64.urlsafe_b64encode(secret.encode()).decode()}
    return {form.encode() for form in text}


@pytest.fixture(params=["embedded", pytest.param("elasticsearch", marks=pytest.mark.elasticsearch)])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node | None]:
    if request.param == "embedded":
        yield None
        return
    node = node_or_skip(VERSIONS[-1], tmp_path / "node")
    yield node
    node.stop()


@pytest.mark.timeout(240)
def test_no_secret_is_written_anywhere(node: Node | None, tmp_path: Path) -> None:
    store = {"elasticsearch": node.url} if node else {}
    with Upstream() as upstream, SentrySink() as sentry:
        credentials = {"backfill_credentials": f"Dr Holt:{USERS['Dr Holt']}", "backfill_rate": "50"}
        with Sidecar(
            upstream.url, tmp_path / "data", sentry_dsn=sentry.dsn, log_level="debug", **credentials, **store
        ) as sidecar:
            use(sidecar, upstream)
            attack(sidecar)
            said = control_plane(sidecar)
            break_the_database(sidecar, upstream)
            until(lambda: "OperationalError" in sentry.exceptions(), 20, "errors in Sentry")
            until(lambda: sidecar.plane("GET", "/shipper").json().get("unshipped") == 0, 60, "all shipped")
            (sidecar.data / "events.exported").write_text(sidecar.cli("audit", "export").stdout)
        places = {str(path): path.read_bytes() for path in sidecar.data.rglob("*") if path.is_file()}
        places["log"] = sidecar.log.read_bytes()
        places["control plane"] = said
        places["Sentry"] = b"\n".join(sentry.envelopes)
    if node:
        places["Elasticsearch"] = documents(node.url)
        places |= {str(path): path.read_bytes() for path in node.home.rglob("*") if path.is_file()}
    found = {(place, secret) for place, content in places.items() for secret in SECRETS if holds(content, secret)}
    assert not found
    assert [place for place, content in places.items() if "journal" in place and CANARY.encode() in content]
    where = places["Elasticsearch"] if node else places[str(tmp_path / "data" / "events.db")]
    assert CANARY.encode() in where
    assert not holds(places["log"] + places["Sentry"], CANARY)


def holds(content: bytes, secret: str) -> bool:
    return any(form in content for form in forms(secret))


def use(sidecar: Sidecar, upstream: Upstream) -> None:
    """What users do, with secrets wherever clients put them."""
    cookies = {"Cookie": f"session={COOKIE}; other=1", "Proxy-Authorization": f"Basic {WRONG}"}
    assert sidecar.ask("POST", "/notes", {**ZORN, **cookies}, {"title": CANARY, "patient_id": 17}).status == 201
    for headers in (HOLT, ZORN, {**ZORN, **cookies}):
        for path in ("/notes", "/staffs/me", "/patients", "/session"):
            assert sidecar.ask("GET", path, headers).status == 200
    for authorization in (basic("Dr Holt", WRONG), basic("Dr Nobody", WRONG), f"Bearer {BEARER}", f"Basic {WRONG}"):
        sidecar.ask("GET", "/notes", {"Authorization": authorization})
    upstream.fault("quoting", "/", times=6)
    sidecar.ask("POST", "/notes", {**ZORN, **cookies}, {"title": "x", "password": PASSWORD})
    sidecar.ask("GET", f"/hospitals?password={quote_plus(PASSWORD)}&pass%77ord={quote(PASSWORD)}", {**ZORN, **cookies})
    upstream.heal()


def attack(sidecar: Sidecar) -> None:
    """Passwords in bodies of every kind, and credentials where the gateway refuses the request."""
    given = {"name": "A", "password": PASSWORD, "hospital_id": 1}
    form = f"name=A&password={quote_plus(PASSWORD)}".encode()
    multipart = f'--b\r\nContent-Disposition: form-data; name="password"\r\n\r\n{PASSWORD}\r\n--b--\r\n'.encode()
    whole = json.dumps(given).encode()
    bodies: list[tuple[str, bytes, dict[str, str]]] = [
        ("application/json", json.dumps({"staff": [given, {"Password_confirmation": PASSWORD}]}).encode(), {}),
        ("application/json", json.dumps({"note": json.dumps(given)}).encode(), {}),
        ("application/json", whole[:-20], {}),
        ("application/json", gzip.compress(whole), {"Content-Encoding": "gzip"}),
        ("application/x-www-form-urlencoded", form, {}),
        ("multipart/form-data; boundary=b", multipart, {}),
        ("text/plain", PASSWORD.encode(), {}),
    ]
    for kind, body, more in bodies:
        for method, path in (("POST", "/users"), ("PATCH", "/patients/17")):
            sidecar.ask(method, path, {**ZORN, **more, "Content-Type": kind}, body)
    field = f"Authorization: {ZORN['Authorization']}\r\nCookie: session={COOKIE}\r\n"
    for text in (
        f"GET http://Dr%20Holt:{WRONG}@h/notes HTTP/1.1\r\nHost: h\r\n{field}\r\n",
        f"GET /notes HTTP/1.1\r\nHost: Dr:{WRONG}@h\r\n{field}\r\n",
        f"POST /notes HTTP/1.1\r\nHost: h\r\n{field}Content-Length: 500\r\n\r\n" + '{"password": "' + WRONG,
        f"POST /notes HTTP/1.1\r\nHost: h\r\n{field}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        f"GET /no tes HTTP/1.1\r\nHost: h\r\n{field}\r\n",
        f"GET /notes HTTP/1.1\r\nHost: h\r\n{field}Bad Field {WRONG}: x\r\n\r\n",
    ):
        raw(sidecar.port, text.encode(), timeout=3, half_close=True)


def control_plane(sidecar: Sidecar) -> bytes:
    """What its pages say; a wrong token is a secret as well."""
    sidecar.ask("GET", "/notes", ZORN)
    for token in (TOKEN, BEARER):
        ask(sidecar.control, "POST", "/marks", {"Authorization": f"Bearer {token}"}, {"text": "tested"})
    pages = (
        "/metrics",
        "/endpoints",
        "/standby",
        "/parity",
        "/outbox",
        "/transitions",
        "/marks",
        "/backfill",
        "/shipper",
    )
    return b"\n".join(sidecar.plane("GET", page).body for page in pages)


def break_the_database(sidecar: Sidecar, upstream: Upstream) -> None:
    """Tables vanish under the running processes: errors whose messages quote rows, in the log and in Sentry."""
    with sqlite3.connect(sidecar.data / "understudy.db", timeout=10) as database:
        for table in ("writes", "credentials", "records"):
            database.execute(f"ALTER TABLE {table} RENAME TO gone_{table}")
    database.close()
    sidecar.ask("POST", "/notes", {**ZORN, "Cookie": COOKIE}, {"title": CANARY, "password": PASSWORD})
    sidecar.ask("GET", "/notes", {"Authorization": basic("Dr Ames"), "Accept": "application/json"})
    sidecar.ask("PATCH", "/notes/1", ZORN, {"body": CANARY})
    upstream.fault("500", "/", times=20)
    sidecar.ask("GET", "/notes/1", ZORN)
    sidecar.ask("GET", "/notes/1", {"Authorization": basic("Dr Holt", WRONG)})


def documents(url: str) -> bytes:
    """Every document of every index, as it was put in."""
    client = Elasticsearch(url, request_timeout=30)
    try:
        client.indices.refresh(index="understudy-*")
        hits = client.search(index="understudy-*", size=10_000)["hits"]["hits"]
        assert len(hits) > 50
        return json.dumps([hit["_source"] for hit in hits], ensure_ascii=False).encode()
    finally:
        client.close()


def test_a_password_that_hosp_shows_is_not_kept(tmp_path: Path) -> None:
    """HOSP is believed never to return one; if it does, it goes to the caller and nowhere else."""
    with Upstream() as upstream, Sidecar(upstream.url, tmp_path / "data") as sidecar:
        made = sidecar.ask("POST", "/staffs", HOLT, {"name": "A", "password": PASSWORD})
        assert made.json()["password"] == PASSWORD
        assert sidecar.ask("GET", "/staffs", HOLT).json() == [made.json()]
        until(lambda: sidecar.plane("GET", "/ready/staffs.list").status == 200, what="learned")
        sidecar.stop()
        assert not [path for path in sidecar.data.rglob("*") if path.is_file() and holds(path.read_bytes(), PASSWORD)]
