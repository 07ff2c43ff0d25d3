"""Answers that are too large or too slow to be waited for are passed on as they come, and learned from not at all."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.stack import Sidecar, until
from tests.support.upstream import HOLT

SIZE = int(os.environ.get("PASSED_ON_MB", "256")) << 20
PIECE = bytes(range(256)) * 1024
RECORD = 440
GO_ON = threading.Event()
GONE = threading.Event()


class Long(BaseHTTPRequestHandler):
    """Answers that take their time or their room: `/download`, `/unmeasured`, `/events`, `/cut`, `/slow`."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None: ...

    def do_GET(self) -> None:
        try:
            getattr(self, self.path.strip("/").partition("?")[0].split("/")[0])()
        except OSError:
            GONE.set()
            self.close_connection = True

    def head(self, kind: str, *fields: tuple[str, str]) -> None:
        self.send_response(200)
        for name, value in (("Content-Type", kind), *fields):
            self.send_header(name, value)
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def download(self) -> None:
        self.head("application/octet-stream", ("Content-Length", str(SIZE)))
        for _ in range(SIZE // len(PIECE)):
            self.wfile.write(PIECE)

    def unmeasured(self) -> None:
        self.head("application/octet-stream", ("Transfer-Encoding", "chunked"))
        for _ in range(64):
            self.chunk(PIECE)
        self.chunk(b"")

    def events(self) -> None:
        self.head("text/event-stream", ("Transfer-Encoding", "chunked"))
        self.chunk(b"data: one\n\n")
        GO_ON.wait(20)
        self.chunk(b"data: two\n\n")
        self.chunk(b"")

    def cut(self) -> None:
        self.head("application/octet-stream", ("Content-Length", str(8 << 20)))
        for _ in range(24):
            self.wfile.write(PIECE)
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def patients(self) -> None:
        """A record whose answer comes for four seconds."""
        body = b'{"id":17,"name":"%b","hospital_id":1}' % (b"R" * (RECORD - 35))
        self.head("application/json", ("Content-Length", str(len(body))))
        for at in range(0, len(body), 11):
            self.wfile.write(body[at : at + 11])
            time.sleep(0.1)


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Long)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    data = tmp_path_factory.mktemp("passed_on") / "data"
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        with Sidecar(url, data, workers="1", deadline="500ms", upstream_timeout="2s", write_timeout="3s") as running:
            yield running
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def asked(sidecar: Sidecar, target: str) -> Iterator[http.client.HTTPResponse]:
    """The answer, as far as it has come; closed in the end."""
    connection = http.client.HTTPConnection("127.0.0.1", sidecar.port, timeout=20)
    with closing(connection):
        connection.request("GET", target, headers=HOLT)
        with connection.getresponse() as answer:
            yield answer


def memory(sidecar: Sidecar) -> int:
    """Bytes of the largest process, at its most."""
    found = (Path(f"/proc/{pid}/status").read_text() for pid in sidecar.processes())
    return max(int(text.partition("VmHWM:")[2].split()[0]) for text in found) << 10


def test_an_answer_larger_than_memory_should_hold_is_passed_on_whole(sidecar: Sidecar) -> None:
    digest, whole = hashlib.sha256(), hashlib.sha256()
    with asked(sidecar, "/download") as answer:
        assert (answer.status, answer.getheader("Content-Length")) == (200, str(SIZE))
        while piece := answer.read(1 << 20):
            digest.update(piece)
    for _ in range(SIZE // len(PIECE)):
        whole.update(PIECE)
    assert digest.hexdigest() == whole.hexdigest()
    assert memory(sidecar) < 200 << 20
    (event,) = sidecar.events(request_id=str(answer.getheader("X-Request-Id")))
    assert event["http"]["response"]["bytes"] == SIZE
    assert event["understudy"]["reason"] == "passed_on"
    assert "response" not in event["understudy"].get("body", {})


def test_who_takes_nothing_holds_nothing_and_is_given_up(sidecar: Sidecar) -> None:
    GONE.clear()
    with asked(sidecar, "/download") as answer:
        assert answer.read(1000)
        assert GONE.wait(15), "the upstream was cut off"
        assert memory(sidecar) < 200 << 20


def test_an_answer_that_says_not_how_long_it_is_ends_as_its_client_understands(sidecar: Sidecar) -> None:
    with asked(sidecar, "/unmeasured") as answer:
        assert answer.read() == PIECE * 64
    with socket.create_connection(("127.0.0.1", sidecar.port), 20) as old:
        old.sendall(b"GET /unmeasured HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n")
        got = b"".join(iter(lambda: old.recv(1 << 20), b""))
    head, _, body = got.partition(b"\r\n\r\n")
    assert body == PIECE * 64
    assert b"Connection: close" in head
    assert b"Transfer-Encoding" not in head


def test_events_are_told_as_they_happen(sidecar: Sidecar) -> None:
    GO_ON.clear()
    with asked(sidecar, "/events") as answer:
        assert answer.read1(100) == b"data: one\n\n"
        GO_ON.set()
        assert answer.read() == b"data: two\n\n"


def test_an_answer_that_is_cut_does_not_look_whole_and_is_told_of(sidecar: Sidecar) -> None:
    with asked(sidecar, "/cut") as answer:
        assert answer.status == 200
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            answer.read()
    until(lambda: "answer_cut" in sidecar.log.read_text(), 20, "a word in the log")
    given, cut = until(lambda: len(told := sidecar.events(path="/cut")) == 2 and told, 20, "recorded")
    assert [each["understudy"]["outcome"] for each in (given, cut)] == ["success", "failure"]
    assert cut["understudy"]["upstream_outcome"] == "failure"
    assert cut["http"]["request"]["id"] == given["http"]["request"]["id"] == answer.getheader("X-Request-Id")
    failed = r'^understudy_requests_total\{.*endpoint="other".*outcome="failure".* 1.0$'
    until(lambda: re.search(failed, sidecar.plane("GET", "/metrics").body.decode(), re.MULTILINE), 20, "counted")


def test_an_answer_that_comes_slowly_comes_however_long_it_takes(sidecar: Sidecar) -> None:
    with asked(sidecar, "/patients/17") as answer:
        assert answer.status == 200
        assert len(answer.read()) == RECORD


def test_clients_that_leave_are_noticed_and_others_are_served(sidecar: Sidecar) -> None:
    for _ in range(20):  # more than may be asked at once
        GONE.clear()
        with asked(sidecar, "/download") as answer:
            answer.read(1000)
        assert GONE.wait(10)
    with asked(sidecar, "/unmeasured") as answer:
        assert answer.read() == PIECE * 64
