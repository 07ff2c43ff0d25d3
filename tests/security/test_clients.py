"""From outside: clients that read slowly or not at all, close half of a connection, or send what is refused."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.support.stack import Sidecar, ask, raw, until
from tests.support.upstream import HOLT, Upstream, basic

AUTH = b"Host: h\r\nAuthorization: " + basic("Dr Holt").encode() + b"\r\n"
LARGE = 10 << 20
"""Bytes: more than the kernel takes for a client that reads nothing."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        server.state.patients[17] = {"id": 17, "name": "Rex"}
        server.state.patients[99] = {"id": 99, "name": "R" * LARGE}
        yield server


@pytest.fixture(scope="module")
def sidecar(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    data = tmp_path_factory.mktemp("clients") / "data"
    with Sidecar(upstream.url, data, workers="1", threads="4", write_timeout="2s", deadline="20s") as running:
        yield running


def connect(sidecar: Sidecar, data: bytes, room: int = 4096) -> socket.socket:
    """`room`: bytes that the kernel takes for a client that reads nothing."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", sidecar.port))
    connection.sendall(data)
    return connection


def served(sidecar: Sidecar, times: int = 5) -> None:
    for _ in range(times):
        assert ask(sidecar.port, "GET", "/patients/17", HOLT, timeout=5).status == 200


def rest(connection: socket.socket) -> bytes:
    got = b""
    connection.settimeout(10)
    with suppress(ConnectionResetError):
        while more := connection.recv(1 << 20):
            got += more
    return got


def test_who_reads_nothing_stops_nobody_and_is_given_up(sidecar: Sidecar) -> None:
    """Half as many again as there are threads; their answers wait for them, for WRITE_TIMEOUT."""
    with ExitStack() as open_ones:
        asking = b"GET /patients/99 HTTP/1.1\r\n" + AUTH + b"\r\n"
        readers = []
        for number in range(1, 7):  # one after the other: many at once of one endpoint would be refused for that
            readers.append(open_ones.enter_context(connect(sidecar, asking)))
            until(lambda: len(sidecar.events(path="/patients/99")) >= number, 20, "it was recorded")  # noqa: B023
        served(sidecar)
        assert [event["http"]["response"]["status_code"] for event in sidecar.events(path="/patients/99")] == [200] * 6
        until(lambda: not established(sidecar, readers), 20, "they were given up")
        assert len(rest(readers[0])) < LARGE
    served(sidecar)


def established(sidecar: Sidecar, readers: list[socket.socket]) -> bool:
    """Whether the sidecar still holds any of these connections: by the kernel's table of its side."""
    mine = {f"{reader.getsockname()[1]:04X}" for reader in readers}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(
        row[3] == "01" and row[1].endswith(f":{sidecar.port:04X}") and row[2].rpartition(":")[2] in mine for row in rows
    )


def test_who_reads_slowly_gets_the_whole_answer(sidecar: Sidecar) -> None:
    """Longer than WRITE_TIMEOUT in all, and never as long without a byte."""
    asking = b"GET /patients/99 HTTP/1.1\r\n" + AUTH + b"Connection: close\r\n\r\n"
    with connect(sidecar, asking, 256 << 10) as connection:
        got = b""
        for _ in range(6):
            got += connection.recv(256 << 10)
            time.sleep(0.5)
        got += rest(connection)
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert json.loads(body)["name"] == "R" * LARGE


def test_who_does_not_close_when_told_to_stops_nobody(sidecar: Sidecar) -> None:
    asking = b"GET /patients/17 HTTP/1.1\r\n" + AUTH + b"Connection: close\r\n\r\n"
    with ExitStack() as open_ones:
        for _ in range(10):
            open_ones.enter_context(connect(sidecar, asking))
        served(sidecar)


def test_who_closes_one_half_has_the_answer_and_is_recorded_so(sidecar: Sidecar, upstream: Upstream) -> None:
    upstream.fault("slow", "/notes", method="POST", seconds=0.3)
    head = b"POST /notes HTTP/1.1\r\n" + AUTH + b"X-Request-Id: half\r\nContent-Type: application/json\r\n"
    answer = raw(sidecar.port, head + b'Content-Length: 13\r\n\r\n{"title":"h"}', half_close=True)
    assert answer.startswith(b"HTTP/1.1 201 Created\r\n")
    assert answer.endswith(b'.json"}')
    (event,) = until(lambda: sidecar.events(request_id="half"), 20)
    assert (event["http"]["response"]["status_code"], event["understudy"]["outcome"]) == (201, "success")


def test_who_has_gone_is_recorded_so(sidecar: Sidecar, upstream: Upstream) -> None:
    upstream.fault("slow", "/notes", method="POST", seconds=0.3)
    head = b"POST /notes HTTP/1.1\r\n" + AUTH + b"X-Request-Id: gone\r\nContent-Type: application/json\r\n"
    with connect(sidecar, head + b'Content-Length: 13\r\n\r\n{"title":"g"}'):
        until(lambda: any(b'"g"' in seen.body for seen in upstream.seen("/notes", "POST")), 20, "it was sent")
    (event,) = until(lambda: sidecar.events(request_id="gone"), 20)
    assert (event["http"]["response"]["status_code"], event["understudy"]["outcome"]) == (499, "client_aborted")


LINE = b"GET /patients/17 HTTP/1.1\r\nHost: h\r\nX-Request-Id: %s\r\n"


@pytest.mark.parametrize(
    ("status", "name", "request_"),
    [
        (400, b"no-colon", LINE + b"no colon here\r\n\r\n"),
        (400, b"space-in-name", LINE + b"A b: c\r\n\r\n"),
        (400, b"folded", LINE + b"A: b\r\n c\r\n\r\n"),
        (417, b"expects", LINE + b"Expect: the-unexpected\r\n\r\n"),
        (414, b"long-line", b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: h\r\nX-Request-Id: %s\r\n\r\n"),
        (431, b"long-field", LINE + b"A: " + b"a" * 130_000 + b"\r\n\r\n"),
        (431, b"long-head", LINE + (b"A: " + b"a" * 60_000 + b"\r\n") * 4 + b"\r\n"),
        (431, b"many-fields", LINE + b"A: b\r\n" * 6000 + b"\r\n"),
        (501, b"coded", LINE + b"Transfer-Encoding: br\r\n\r\n0\r\n\r\n"),
    ],
)
def test_what_the_server_itself_refuses_is_a_problem_with_an_id_and_is_recorded(
    sidecar: Sidecar, status: int, name: bytes, request_: bytes
) -> None:
    answer = raw(sidecar.port, request_ % name)
    head, _, body = answer.partition(b"\r\n\r\n")
    fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:])
    assert head.split(b" ")[1] in (b"%d" % status, b"400")
    assert (fields[b"content-type"], fields[b"x-request-id"]) == (b"application/problem+json", name)
    assert (fields[b"connection"], int(fields[b"content-length"])) == (b"close", len(body))
    assert json.loads(body)["status"] == int(head.split(b" ")[1])
    event = until(lambda: sidecar.events(request_id=name.decode()), 20)[-1]
    assert event["http"]["response"]["status_code"] == int(head.split(b" ")[1])
    assert event["understudy"]["answered_by"] == "understudy"


def test_what_never_was_a_request_is_recorded_without_a_word_of_it(sidecar: Sidecar) -> None:
    before = len(sidecar.journal())
    answer = raw(sidecar.port, b'{"password": "xyzzy-plugh"} secret HTTP/1.1\r\nHost: h\r\n\r\n')
    assert answer.startswith(b"HTTP/1.1 400 ")
    until(lambda: len(sidecar.journal()) > before, 20, "recorded")
    assert b"xyzzy" not in b"".join(path.read_bytes() for path in (sidecar.data / "journal").glob("*.jsonl"))
    assert "xyzzy" not in sidecar.log.read_text()


def test_heads_as_large_as_puma_takes_go_through(
    sidecar: Sidecar, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("http.client._MAXHEADERS", 1000)  # of the upstream of this test
    monkeypatch.setattr("http.client._MAXLINE", 100_000)
    fields = [f"X-F{number}: v" for number in range(300)] + ["X-Large: " + "a" * 80_000]
    target = "/patients/17?q=" + "a" * 10_000
    head = "\r\n".join([f"GET {target} HTTP/1.1", *fields]) + "\r\n"
    answer = raw(sidecar.port, head.encode() + AUTH + b"Connection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    seen = upstream.seen("/patients/17?q=")[-1]
    assert (seen.target, len(seen.all("X-Large")[0])) == (target, 80_000)
