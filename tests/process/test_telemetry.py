"""What the Sentry SDK really sends."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

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
