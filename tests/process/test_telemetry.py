"""What the Sentry SDK really sends; and the log, where nobody reads it."""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.stack import Sidecar, ask, raw, until
from tests.support.upstream import HOLT, Upstream

SECRETS = (
    "s3cret-password",
    "YW5uOnMzY3JldA",
    "sess10n-cookie",
    "qu3ry-value",
    "b0dy-text",
    "us3r-data",
    "l0cal-value",
)


class Sink(BaseHTTPRequestHandler):
    """A Sentry server: takes envelopes as the SDK sends them."""

    envelopes: list[list[bytes]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.envelopes.append([self.path.encode() + str(self.headers).encode(), *body.split(b"\n")])
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: Any) -> None:
        return None


REPORTING = """
import logging, sys
from flask import Flask
from sidecar.settings import Settings
from sidecar.telemetry.logging import setup_logging
from sidecar.telemetry.sentry import setup_sentry
import sentry_sdk

setup_logging("info")
assert not setup_sentry(Settings())
assert setup_sentry(Settings(sentry_dsn=sys.argv[1], node="n1"))
app = Flask("planted")

@app.post("/notes")
def notes():
    from flask import request
    password = "l0cal-value" + request.get_data(as_text=True)
    sentry_sdk.set_user({"username": "us3r-data"})
    sentry_sdk.set_extra("body", "b0dy-text")
    sentry_sdk.add_breadcrumb(message="GET /x?q=qu3ry-value", data={"password": "s3cret-password"})
    logging.getLogger("app").info("asked for %s", "s3cret-password")
    logging.getLogger("app").error("refused %s", "s3cret-password b0dy-text")
    raise ValueError("bad password s3cret-password")

answer = app.test_client().post(
    "/notes?patient_id=qu3ry-value", data="b0dy-text", content_type="text/plain",
    headers={"Authorization": "Basic YW5uOnMzY3JldA==", "Cookie": "sid=sess10n-cookie"})
assert answer.status_code == 500
sentry_sdk.flush(5)
"""


def test_real_envelopes_hold_no_planted_secret() -> None:
    Sink.envelopes.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Sink) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            dsn = f"http://public@127.0.0.1:{server.server_port}/1"
            ran = subprocess.run(
                [sys.executable, "-c", REPORTING, dsn], capture_output=True, text=True, timeout=30, check=False
            )
        finally:
            server.shutdown()
            thread.join()
    assert ran.returncode == 0, ran.stderr
    everything = b"\n".join(part for envelope in Sink.envelopes for part in envelope)
    assert not [secret for secret in SECRETS if secret.encode() in everything]
    sent = [json.loads(envelope[3]) for envelope in Sink.envelopes]
    kinds = [event["exception"]["values"][0]["type"] for event in sent if "exception" in event]
    assert kinds == ["ValueError"]
    assert [event["logentry"]["message"] for event in sent if "exception" not in event] == ["refused %s"]
    raised = next(event for event in sent if "exception" in event)
    assert raised["request"]["url"].endswith("/notes")
    assert raised["exception"]["values"][0]["stacktrace"]["frames"][-1]["function"] == "notes"
    crumbs = [crumb["message"] for crumb in raised["breadcrumbs"]["values"]]
    assert "asked for %s" in crumbs
    assert "GET /x?…" in crumbs
    assert [json.loads(line)["log.level"] for line in ran.stderr.splitlines()]


FORKING = """
import logging, os
from sidecar.telemetry.logging import setup_logging

setup_logging("info")
for number in range(100):
    logging.info("parent %d", number)
child = os.fork()
if child == 0:
    for number in range(100):
        logging.info("child %d", number)
    logging.shutdown()
    os._exit(0)
print("forked", flush=True)
logging.info("parent 100")
os.waitpid(child, 0)
"""


def test_a_forked_process_writes_its_own_lines_and_each_is_written_by_its_end() -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    with subprocess.Popen([sys.executable, "-c", FORKING], stdout=subprocess.PIPE, stderr=writing) as process:
        os.close(writing)
        assert process.stdout is not None
        assert process.stdout.readline() == b"forked\n"  # it did not wait for us, who have read nothing yet
        with os.fdopen(reading) as log:
            said = [json.loads(line)["message"] for line in log]
    for who, count in (("parent", 101), ("child", 100)):
        assert [line for line in said if line.startswith(who)] == [f"{who} {number}" for number in range(count)]


def test_a_log_that_nobody_reads_holds_up_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "stderr")
    log = os.open(tmp_path / "stderr", os.O_RDWR | os.O_NONBLOCK)
    fcntl.fcntl(log, fcntl.F_SETPIPE_SZ, 4096)
    within = ("sh", "-c", f'exec "$@" 2<>{tmp_path}/stderr', "sh")
    with Upstream() as upstream, Sidecar(upstream.url, tmp_path / "data", within=within) as sidecar:
        for _ in range(50):
            assert raw(sidecar.port, b"BAD\r\n\r\n").startswith(b"HTTP/1.1 400")
        assert ask(sidecar.port, "GET", "/notes", HOLT).status == 200
        metrics = ask(sidecar.control, "GET", "/metrics").body
        assert b"\nunderstudy_log_lines_dropped_total 0.0\n" in metrics
        read = b""

        def whole() -> bool:
            nonlocal read
            try:
                read += os.read(log, 65536)
            except BlockingIOError:
                pass
            return read.count(b"Invalid request") >= 50

        until(whole, what="every line that waited")
    os.close(log)


def test_where_stderr_does_not_block_what_it_does_not_take_waits() -> None:
    code = "from sidecar.telemetry.log_lines import write; print(write('x' * 300_000), flush=True)"
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    with subprocess.Popen([sys.executable, "-c", code], stderr=writes, stdout=subprocess.PIPE) as child:
        os.close(writes)
        with open(reads, "rb") as pipe:
            assert pipe.read() == b"x" * 300_000 + b"\n"
        assert child.stdout is not None
        assert child.stdout.read() == b"True\n"
