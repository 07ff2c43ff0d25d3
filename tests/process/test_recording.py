"""Every exchange is recorded once, whatever dies; and no secret is recorded anywhere."""

from __future__ import annotations

import base64
import gzip
import resource
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from compose.elasticsearch.node import VERSIONS
from tests.consistency.nemesis import children
from tests.support.fake_elasticsearch import FakeElasticsearch
from tests.support.nodes import prepared
from tests.support.recording import away, killed
from tests.support.stack import Sidecar, until
from tests.support.upstream import HOLT, USERS, Upstream

KILLS = 8
"""Twenty of them: `python -m tests.support.recording`."""
OUTAGE = 5.0
"""Seconds for which Elasticsearch is stopped; a minute of it: `python -m tests.support.recording`."""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        server.state.patients[17] = {"id": 17, "name": "Rex"}
        yield server


def test_kill_9_under_traffic_loses_nothing_that_was_answered(upstream: Upstream, tmp_path: Path) -> None:
    killed(upstream, tmp_path, KILLS)


HANGING = """
import os, time
def hang(descriptor, sync=os.fdatasync):
    while os.path.exists(os.environ["HANGS"]):
        time.sleep(0.01)
    sync(descriptor)
os.fdatasync = hang
"""


def test_while_the_disk_hangs_refuse_sends_nothing_more_and_what_was_sent_is_told(
    upstream: Upstream, tmp_path: Path
) -> None:
    """No disk here can be made to hang: a sync does, for as long as there is a file."""
    (tmp_path / "sitecustomize.py").write_text(HANGING)
    hangs = tmp_path / "hangs"
    environ = {"PYTHONPATH": str(tmp_path), "HANGS": str(hangs)}
    with Sidecar(upstream.url, tmp_path / "data", on_record_failure="refuse", workers="1", environ=environ) as sidecar:
        assert sidecar.ask("GET", "/patients/17", HOLT).status == 200
        hangs.touch()
        titles = ["sent", "refused", "refused too"]
        got = [sidecar.ask("POST", "/notes", HOLT, {"title": title}).status for title in titles]
        assert (got, len(upstream.seen("/notes", "POST"))) == ([201, 503, 503], 1)
        until(lambda: _metric(sidecar, "understudy_journal_failures_total") == 3, what="counted")
        hangs.unlink()
        until(lambda: sidecar.ask("POST", "/notes", HOLT, {"title": "again"}).status == 201, 10, "recovered")
        assert len(sidecar.events(path="/notes")) >= 4, "what came late is there all the same"
    assert sidecar.log.read_text().count("exchanges cannot be recorded") == 1


def test_while_the_disk_hangs_a_deed_is_refused_and_what_holds_all_the_same_is_said(
    upstream: Upstream, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(HANGING)
    hangs = tmp_path / "hangs"
    environ = {"PYTHONPATH": str(tmp_path), "HANGS": str(hangs)}
    with Sidecar(upstream.url, tmp_path / "data", workers="1", environ=environ) as sidecar:
        hangs.touch()
        hold = sidecar.cli("audit", "hold", "--patient", "17", "--reason", "court")
        assert (hold.returncode, hold.stdout) == (1, "")
        assert "not done, since it could not be written down: the disk does not answer" in hold.stderr
        assert "the trail may tell of it all the same" in hold.stderr
        revoked = sidecar.cli("revoke", "Dr Zorn")
        assert revoked.stdout == "Dr Zorn: revoked; it could not be written to the trail, and holds all the same\n"
        assert hangs.exists(), "nobody waited for the disk"
        hangs.unlink()
        assert sidecar.cli("audit", "holds").stdout == ""


def _metric(sidecar: Sidecar, name: str) -> float:
    lines = sidecar.plane("GET", "/metrics").body.decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_a_write_that_takes_longer_than_the_end_may_is_recorded_as_cut(upstream: Upstream, tmp_path: Path) -> None:
    def write() -> None:
        with suppress(OSError, HTTPException):
            sidecar.ask("POST", "/notes", HOLT, {"title": "Limps"})

    with Sidecar(upstream.url, tmp_path / "data", grace="1s", drain="0s", deadline="20s") as sidecar:
        upstream.fault("hang", "/notes")
        client = threading.Thread(target=write)
        client.start()
        until(lambda: upstream.seen("/notes", "POST"), what="sent")
        sidecar.stop()
        client.join(20)
        (event,) = sidecar.events(path="/notes")
    assert (event["understudy"]["reason"], event["understudy"]["outcome"]) == ("cut", "unknown")


@pytest.mark.elasticsearch
def test_elasticsearch_away_under_traffic_then_every_exchange_is_there_once(upstream: Upstream, tmp_path: Path) -> None:
    """The newest; tests/unit/sidecar/events/test_shipper.py has both go away under load."""
    away(upstream, tmp_path, prepared(VERSIONS[-1]), OUTAGE)


@contextmanager
def sentry() -> Iterator[tuple[str, list[bytes]]]:
    """A Sentry server that keeps what it is sent: its DSN, and the envelopes."""
    kept: list[bytes] = []

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            packed = self.headers.get("Content-Encoding") == "gzip"
            kept.append(self.path.encode() + str(self.headers).encode() + (gzip.decompress(body) if packed else body))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Sink) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://public@127.0.0.1:{server.server_port}/1", kept
        finally:  # else a test that fails leaves a thread that spins for ever
            server.shutdown()
            thread.join()


def test_no_secret_is_in_the_data_the_logs_the_event_store_or_sentry(upstream: Upstream, tmp_path: Path) -> None:
    secret, cookie = "n3w-Passw0rd+xyzzy/", "c00kie-xyzzy"
    with sentry() as (dsn, envelopes), FakeElasticsearch() as fake:
        settings = {"sentry_dsn": dsn, "elasticsearch": fake.url, "upstream_timeout": "2s"}
        with Sidecar(upstream.url, tmp_path / "data", **settings) as sidecar:
            fields = {**HOLT, "Cookie": f"session={cookie}"}
            staff = {"name": "Ann", "password": secret}

            def ask_all() -> None:
                sidecar.ask("GET", "/patients/17", fields)
                sidecar.ask("GET", f"/notes?password={urllib.parse.quote(secret)}", fields)
                sidecar.ask("POST", "/staffs", fields, staff)
                sidecar.ask("PATCH", "/patients/17", fields, {"name": "Rex", "password": secret})
                sidecar.ask("POST", "/staffs", fields, b'{"name": "A", "password": "' + secret.encode())
                sidecar.ask("GET", "/echo", fields)

            ask_all()
            for pid in children(sidecar):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
            ask_all()  # with a full disk: errors are logged, and reported
            for pid in children(sidecar):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            upstream.stop()
            ask_all()  # into the outbox, sealed
            until(lambda: envelopes, 20, "Sentry was told")
            until(lambda: sidecar.plane("GET", "/shipper").json().get("unshipped") == 0, 20, "shipped")
        token = HOLT["Authorization"].split()[1]
        plain = (secret, USERS["Dr Holt"], cookie, token)
        forms = {form(value) for value in plain for form in (str, urllib.parse.quote, _base64)}
        forms |= {value.replace("/", "\\/") for value in plain}
        places = {str(path): path.read_bytes() for path in sidecar.data.rglob("*") if path.is_file()}
        places["log"] = sidecar.log.read_bytes()
        places["event store"] = repr(list(fake.stored.values())).encode()
        places["Sentry"] = b"\n".join(envelopes)
        assert len(places) > 6
        told = places["log"] + places["Sentry"]  # the log itself may have been too long to be written to just then
        assert b"full" in told or b"could not be" in told
        found = [(form, where) for form in forms for where, content in places.items() if form.encode() in content]
        assert found == []


def _base64(value: str) -> str:
    return base64.b64encode(value.encode()).decode()
