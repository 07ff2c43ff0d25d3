"""What real balancers say, write down and hand on: their own errors, logs, Host, users' addresses, TLS behind."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from compose.tls import authority
from tests.stack.front import Front
from tests.support.stack import Sidecar, ask, until
from tests.support.upstream import HOLT, Upstream

FRONTS = [
    pytest.param("haproxy", marks=pytest.mark.haproxy),
    pytest.param("nginx", marks=pytest.mark.nginx),
]
GIVEN = {
    "trusted_proxies": "127.0.0.1",
    "bypass_after": "0s",
    "workers": "1",
    "upstream_host": "hosp.example",
    "upstream_timeout": "0.5s",
    "deadline": "0.2s",
}
NOTE = {"title": "t", "body": "b"}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        upstream.state.notes[1] = {"id": 1, **NOTE}
        yield upstream


@pytest.fixture
def sidecar(tmp_path: Path, upstream: Upstream) -> Iterator[Sidecar]:
    with Sidecar(upstream.url, tmp_path / "data", **GIVEN) as sidecar:
        yield sidecar


def access_log(front: Front, kind: str, folder: Path) -> list[dict[str, Any]]:
    """The log's lines, each of which must be JSON; HAProxy's own notes on standard error are none of them."""
    text = (folder / ("haproxy.log" if kind == "haproxy" else "access.log")).read_text()
    found = [line for line in text.splitlines() if kind == "nginx" or not line.startswith(("[", "  "))]
    return [json.loads(line) for line in found]


@pytest.mark.parametrize("kind", FRONTS)
def test_its_own_errors_are_problems_and_its_log_is_json(
    kind: str, sidecar: Sidecar, upstream: Upstream, tmp_path: Path
) -> None:
    folder = tmp_path / "front"
    with Front(kind, "inline", sidecar, folder) as front:
        assert ask(front.port, "GET", '/patients?name="x"', HOLT).status == 200
        sidecar.kill()
        upstream.fault("hang", times=9)
        late = ask(front.port, "POST", "/notes", HOLT, NOTE)
        upstream.stop()
        gone = ask(front.port, "GET", '/patients/"a\\b', HOLT)
        for got, status in ((late, 504), (gone, 503)):
            assert (got.status, got.json()["status"]) == (status, status)
            assert got["content-type"] == "application/problem+json"
            assert int(got["retry-after"]) > 0
        assert "look before you send it again" in late.json()["detail"]
        lines = until(lambda: len(found := access_log(front, kind, folder)) >= 3 and found, 20)
    seen = [(line["http.request.method"], line["url.path"], line["http.response.status_code"]) for line in lines]
    assert seen == [("GET", "/patients", 200), ("POST", "/notes", 504), ("GET", '/patients/"a\\b', 503)]
    assert {line["client.ip"] for line in lines} == {"127.0.0.1"}
    assert lines[0]["http.request.id"]


@pytest.mark.parametrize("kind", FRONTS)
def test_the_trail_has_the_users_address_and_the_upstream_one_host(
    kind: str, sidecar: Sidecar, upstream: Upstream, tmp_path: Path
) -> None:
    with Front(kind, "inline", sidecar, tmp_path / "front") as front:
        connection = http.client.HTTPConnection("127.0.0.1", front.port, source_address=("127.0.0.9", 0))
        connection.request("GET", "/patients", headers={**HOLT, "Host": "users.example"})
        assert connection.getresponse().status == 200
        connection.close()
        event = sidecar.events(path="/patients")[0]
        assert event["source"]["ip"] == "127.0.0.9"
        sidecar.kill()
        got = until(lambda: (got := ask(front.port, "GET", "/patients", HOLT)).status == 200 and got, 10)
        assert got.status == 200
    assert {tuple(seen.all("host")) for seen in upstream.state.seen} == {("hosp.example",)}
    assert "users.example" in {value for seen in upstream.state.seen for value in seen.all("x-forwarded-host")}


@pytest.mark.haproxy
def test_the_health_check_of_the_upstream_names_the_same_host(
    sidecar: Sidecar, upstream: Upstream, tmp_path: Path
) -> None:
    with Front("haproxy", "failover", sidecar, tmp_path / "front"):
        until(lambda: any(seen.all("authorization") == [] for seen in upstream.seen("/", "GET")), 10)
    assert {tuple(seen.all("host")) for seen in upstream.state.seen} == {("hosp.example",)}


@pytest.mark.parametrize("kind", FRONTS)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_put_and_delete_move_on_only_where_nothing_was_sent(
    kind: str, method: str, sidecar: Sidecar, upstream: Upstream, tmp_path: Path
) -> None:
    body = NOTE if method == "PUT" else None
    with Front(kind, "inline", sidecar, tmp_path / "front") as front:
        sidecar.kill()
        moved = ask(front.port, method, "/notes/1", HOLT, body)
        assert moved.status in (200, 204), moved
        assert len(upstream.seen("/notes/1", method)) == 1
        upstream.fault("reset", "/notes/2", times=9)
        cut = ask(front.port, method, "/notes/2", HOLT, body)
        assert cut.status == 502
        assert cut["retry-after"] == ""
        assert len(upstream.seen("/notes/2", method)) == 1, "it was sent, and nobody knows what it did"


def reachable(folder: str) -> Path:
    """A folder that nginx's workers, who are nobody when root starts it, may look into, as /var/lib/nginx is."""
    Path(folder).chmod(0o755)
    return Path(folder)


@pytest.mark.nginx
@pytest.mark.parametrize("mode", ["inline", "failover"])
def test_nginx_stands_before_an_upstream_with_tls_and_sidecars_without(mode: str, tmp_path: Path) -> None:
    authority.write(tmp_path, ["localhost", "127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    trust = {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
    with (
        TemporaryDirectory() as made,
        Upstream(context) as upstream,
        Sidecar(upstream.url.replace("127.0.0.1", "localhost"), tmp_path / "data", environ=trust, **GIVEN) as sidecar,
        Front("nginx", mode, sidecar, reachable(made)) as front,
    ):
        upstream.state.notes[1] = {"id": 1, **NOTE}
        for _ in range(30):
            assert ask(front.port, "GET", "/notes/1", HOLT).status == 200
        if mode == "failover":
            sidecar.ask("GET", "/notes/1", HOLT)
            upstream.stop()
            taken = [ask(front.port, "PATCH", "/notes/1", HOLT, {"title": str(n)}).status for n in range(5)]
            assert taken == [200] * 5, "what could not be sent the outbox takes"
            upstream.start()
        sidecar.kill()
        assert ask(front.port, "GET", "/notes/1", HOLT).status == 200
        assert ask(front.port, "PUT", "/notes/1", HOLT, NOTE).status == 200
        upstream.stop()
        gone = ask(front.port, "PUT", "/notes/1", HOLT, NOTE)
        assert (gone.status, gone["content-type"]) == (503, "application/problem+json")
        assert gone["retry-after"]
