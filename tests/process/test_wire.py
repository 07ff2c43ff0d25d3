"""The wire: what HTTP proxies get wrong, sent as raw bytes to a real gunicorn, and seen at a real upstream."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest

from tests.support.stack import Sidecar, ask, raw, until
from tests.support.upstream import HOLT, Upstream, basic

TE = b"Transfer-Encoding: chunked"
END = b"0\r\n\r\n"
AUTH = f"Authorization: {basic('Dr Holt')}\r\n".encode()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        server.state.patients[17] = {"id": 17, "name": "Rex"}
        yield server


@pytest.fixture(scope="module")
def sidecar(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    data = tmp_path_factory.mktemp("wire") / "data"
    with Sidecar(upstream.url, data, max_body="64KiB", body_timeout="2s", threads="16") as running:
        yield running


def request(line: bytes, *fields: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([line, *fields, AUTH.rstrip(), b"Connection: close", b"", b""]) + body


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (request(b"GET /echo HTTP/1.1"), "no Host"),
        (request(b"GET /echo HTTP/1.1", b"Host: a", b"Host: b"), "two Hosts"),
        (request(b"GET /echo HTTP/1.1", b"Host: u@h"), "userinfo in Host"),
        (request(b"GET /echo HTTP/1.1", b"Host: h/path"), "path in Host"),
        (request(b"GET /echo HTTP/1.1", b"Host: h?q"), "query in Host"),
        (request(b"GET /echo HTTP/1.1", b"Host: a,b"), "list in Host"),
        (request(b"GET /echo HTTP/1.1", b"Host: h:99999"), "port above 65535"),
        (request(b"GET /echo HTTP/1.1", b"Host: h:port"), "port that is no number"),
        (request(b"GET /echo HTTP/1.1", b"Host: [::1"), "broken IPv6"),
        (request(b"GET /echo HTTP/1.1", b"Host: [1:2]"), "short IPv6"),
        (request(b"GET /echo HTTP/1.1", b"Host: h%zz"), "bad escape in Host"),
        (request(b"GET /echo HTTP/1.1", b'Host: h"'), "quote in Host"),
        (request(b"GET http://other/echo HTTP/1.1", b"Host: h"), "authority differs from Host"),
        (request(b"GET /echo#f HTTP/1.1", b"Host: h"), "fragment"),
        (request(b"CONNECT h:80 HTTP/1.1", b"Host: h:80"), "CONNECT"),
        (request(b"POST /echo HTTP/1.1", b"Host: h", b"Content-Length: 3", TE, body=END), "both framings"),
        (request(b"POST /echo HTTP/1.1", b"Host: h", b"Transfer-Encoding: gzip, chunked", body=END), "gzip, chunked"),
        (request(b"POST /echo HTTP/1.1", b"Host: h", b"Transfer-Encoding: identity, chunked", body=END), "identity"),
        (request(b"POST /echo HTTP/1.1", b"Host: h", b"Content-Length: 1, 2", body=b"ab"), "two lengths"),
        (request(b"POST /echo HTTP/1.1", b"Host: h", b"Content-Length: +3", body=b"abc"), "signed length"),
        (request(b"POST /echo HTTP/1.1", b"Host: h", TE, body=b"zz\r\nabc\r\n" + END), "bad chunk size"),
        (request(b"POST /echo HTTP/1.1", b"Host: h", TE, body=b"3\r\nabcXX" + END), "bad chunk end"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_malformed_requests_are_refused_and_never_forwarded(
    sidecar: Sidecar, upstream: Upstream, data: bytes, why: str
) -> None:
    before = len(upstream.seen())
    answer = raw(sidecar.port, data, half_close=True)
    assert answer.split(b" ")[1] in (b"400", b"501"), (why, answer[:200])
    assert answer.count(b"HTTP/1.1 ") == 1
    assert len(upstream.seen()) == before, why


@pytest.mark.parametrize(
    "data",
    [
        request(b"POST /notes HTTP/1.1", b"Host: h", b"X-Request-Id: short-1", b"Content-Length: 50", body=b'{"title"'),
        request(
            b"POST /notes HTTP/1.1", b"Host: h", b"X-Request-Id: short-1", b"Transfer-Encoding: chunked",
            body=b'8\r\n{"title"\r\n',
        ),
    ],
    ids=["of its length", "of its last chunk"],
)  # fmt: skip
def test_a_body_cut_short_is_never_forwarded_and_recorded(sidecar: Sidecar, upstream: Upstream, data: bytes) -> None:
    before = len(upstream.seen("/notes", "POST"))
    known = len(sidecar.events(request_id="short-1"))
    raw(sidecar.port, data, half_close=True)
    event = until(lambda: sidecar.events(request_id="short-1")[known:], what="recorded")[0]
    assert event["understudy"]["outcome"] == "client_aborted"
    assert event["http"]["response"]["status_code"] == 499
    assert len(upstream.seen("/notes", "POST")) == before


def test_a_body_that_trickles_is_given_up(sidecar: Sidecar, upstream: Upstream) -> None:
    before = len(upstream.seen("/notes", "POST"))
    began = time.monotonic()
    data = request(b"POST /notes HTTP/1.1", b"Host: h", b"Content-Length: 50", body=b"{")
    assert b" 400 " in raw(sidecar.port, data, timeout=15)
    assert time.monotonic() - began < 12
    assert len(upstream.seen("/notes", "POST")) == before


@pytest.mark.parametrize("size", [65_537, 10**9])
def test_too_large_a_body_is_413(sidecar: Sidecar, upstream: Upstream, size: int) -> None:
    before = len(upstream.seen("/echo"))
    data = request(b"POST /echo HTTP/1.1", b"Host: h", b"Content-Length: %d" % size, body=b"x" * 1000)
    assert b" 413 " in raw(sidecar.port, data)
    chunked = request(b"POST /echo HTTP/1.1", b"Host: h", b"Transfer-Encoding: chunked")
    assert b" 413 " in raw(sidecar.port, chunked + b"11000\r\n" + b"x" * 0x11000 + b"\r\n0\r\n\r\n")
    assert len(upstream.seen("/echo")) == before


def test_what_goes_upstream_is_what_the_client_sent(sidecar: Sidecar, upstream: Upstream) -> None:
    target = b"/echo?a=%20b&a=2&&c&d=%C3%A9+x?y"
    fields = (
        b"Host: api.example:8042", b"X-Twice: one", b"X-Twice: two", b"X-Empty:", b"Accept-Encoding: br, gzip;q=0.5",
        b"X-Forwarded-For: 6.6.6.6", b"X-Forwarded-Host: evil", b"Forwarded: for=6.6.6.6", b"X-Hop: 1", b"TE: trailers",
        b"Upgrade: h2c", b"HTTP2-Settings: AAA", b"Connection: X-Hop, Upgrade, HTTP2-Settings, close",
    )  # fmt: skip
    raw(sidecar.port, b"\r\n".join([b"GET " + target + b" HTTP/1.1", *fields, AUTH.rstrip(), b"", b""]))
    seen = upstream.seen("/echo?a=")[-1]
    assert seen.target == target.decode()
    assert seen.all("host") == ["api.example:8042"]
    assert seen.all("x-twice") == ["one", "two"]
    assert seen.all("x-empty") == [""]
    assert seen.all("accept-encoding") == ["gzip;q=0.5"]
    assert seen.all("x-forwarded-for") == ["127.0.0.1"]
    assert seen.all("x-forwarded-host") == ["api.example:8042"]
    assert seen.all("authorization") == [HOLT["Authorization"]]
    for name in ("forwarded", "x-hop", "te", "upgrade", "http2-settings", "connection", "expect"):
        assert seen.all(name) in ([], ["keep-alive"]), name


def test_what_comes_back_is_what_the_upstream_said(sidecar: Sidecar) -> None:
    got = sidecar.ask("GET", "/echo", {**HOLT, "X-Request-Id": "mine-1"})
    assert got.all("set-cookie") == ["a=1", "b=2"]
    assert got["X-Request-Id"] == "mine-1"
    assert len(got.all("date")) == len(got.all("server")) == len(got.all("content-length")) == 1
    assert sidecar.ask("GET", "/echo", {**HOLT, "X-Request-Id": "not fit"})["X-Request-Id"] != "not fit"


def test_an_answer_leaves_in_one_piece_also_where_more_follows_on_its_connection(sidecar: Sidecar) -> None:
    with socket.create_connection(("127.0.0.1", sidecar.port), 10) as connection:
        for target in (b"/patients/17", b"/echo?x", b"/patients/17"):
            connection.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n" + AUTH + b"\r\n")
            head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            fields = dict(line.split(": ", 1) for line in lines[1:])
            assert lines[0] == "HTTP/1.1 200 OK"
            assert (fields["Server"], fields["Connection"]) == ("understudy", "keep-alive")
            assert parsedate_to_datetime(fields["Date"]) <= datetime.now(UTC)
            assert len(body) == int(fields["Content-Length"]) > 0


def test_bodies_with_length_chunked_and_expect_arrive_whole(sidecar: Sidecar, upstream: Upstream) -> None:
    body = json.dumps({"title": "x" * 20_000}).encode()
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(body[i : i + 999]), body[i : i + 999]) for i in range(0, len(body), 999))
    for framing, sent in (
        (b"Content-Length: 0%d" % len(body), body),
        (b"Transfer-Encoding: chunked", chunked + b"0\r\n\r\n"),
        (b"Expect: 100-continue\r\nContent-Length: %d" % len(body), body),
    ):
        answer = raw(sidecar.port, request(b"POST /notes HTTP/1.1", b"Host: h", framing, body=sent))
        assert b" 201 " in answer
        assert upstream.seen("/notes", "POST")[-1].body == body
        assert upstream.seen("/notes", "POST")[-1].all("content-length") == [str(len(body))]


def test_methods_are_kept(sidecar: Sidecar, upstream: Upstream) -> None:
    for method in ("OPTIONS", "BREW", "DELETE", "PUT", "PATCH"):
        sidecar.ask(method, "/echo", HOLT, b"{}" if method in ("PUT", "PATCH") else None)
        assert upstream.seen("/echo")[-1].method == method


def test_http_1_0_without_host_and_absolute_form(sidecar: Sidecar, upstream: Upstream) -> None:
    assert b" 200 " in raw(sidecar.port, b"GET /echo?ten HTTP/1.0\r\n" + AUTH + b"\r\n")
    assert upstream.seen("/echo?ten")[-1].all("host") == [upstream.url.removeprefix("http://")]
    assert b" 200 " in raw(sidecar.port, request(b"GET http://h/echo?abs HTTP/1.1", b"Host: h"))
    assert upstream.seen("/echo?abs")


def test_a_loop_is_noticed(sidecar: Sidecar, upstream: Upstream) -> None:
    via = upstream.seen("/")[-1].all("via")[-1]
    assert sidecar.ask("GET", "/echo", {**HOLT, "Via": via}).status == 508


def test_a_client_that_leaves_is_recorded(sidecar: Sidecar, upstream: Upstream) -> None:
    upstream.fault("slow", "/echo?left", seconds=0.5)
    raw_request = request(b"GET /echo?left HTTP/1.1", b"Host: h", b"X-Request-Id: left-1")
    with pytest.raises(AssertionError):
        assert raw(sidecar.port, raw_request, timeout=0.1)
    event = until(lambda: sidecar.events(request_id="left-1"), what="recorded")[0]
    assert event["understudy"]["outcome"] == "client_aborted"


def test_hung_calls_on_one_endpoint_leave_others_alone(sidecar: Sidecar, upstream: Upstream) -> None:
    """Twice as many hung calls as there are threads; another endpoint must go on being answered every second."""
    upstream.fault("slow", "/hospitals", times=10_000, seconds=30)
    hung = [
        threading.Thread(target=ask, args=(sidecar.port, "GET", "/hospitals", HOLT), daemon=True) for _ in range(64)
    ]
    for thread in hung:
        thread.start()
    answered: list[float] = []
    end = time.monotonic() + 4
    while time.monotonic() < end:
        assert ask(sidecar.port, "GET", "/patients/17", HOLT, timeout=3).status == 200
        answered.append(time.monotonic())
    gaps = [later - earlier for earlier, later in zip(answered, answered[1:], strict=False)]
    assert max(gaps) < 1
    assert upstream.state.most_in_flight <= 8
    upstream.heal()
    for thread in hung:
        thread.join(15)


def test_compressed_answers_pass_and_are_read(sidecar: Sidecar, upstream: Upstream) -> None:
    handler = upstream._handler
    plain = handler._raw

    def squeezed(self, status, body, headers):  # type: ignore[no-untyped-def]
        if "gzip" in self.headers.get("Accept-Encoding", "") and self.path.startswith("/patients"):
            body, headers = gzip.compress(body), [*headers, ("Content-Encoding", "gzip")]
        plain(self, status, body, headers)

    handler._raw = squeezed  # type: ignore[method-assign]
    got = sidecar.ask("GET", "/patients", {**HOLT, "Accept-Encoding": "gzip, br"})
    handler._raw = plain  # type: ignore[method-assign]
    assert got["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(got.body))[0]["id"] == 17
    until(lambda: sidecar.plane("GET", "/ready/patients.list").status == 200, what="learned from gzip")
