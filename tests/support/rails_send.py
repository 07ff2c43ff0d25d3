"""Sends a case of `rails_cases` to an upstream, and says what is compared of an answer."""

from __future__ import annotations

import http.client
import json
import re
from dataclasses import dataclass
from typing import Any

from tests.support.rails_cases import Case
from tests.support.upstream import basic

NOW = re.compile(r"^20\d\d-\d\d-\d\dT[\d:.]+Z$")
COMPARED = (
    "Location",
    "Vary",
    "Cache-Control",
    "Transfer-Encoding",
    "WWW-Authenticate",
    "X-Frame-Options",
    "Referrer-Policy",
)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def kind(self) -> str:
        return self.headers.get("Content-Type", "")

    def content(self, since: str = "9") -> Any:
        """What is to be equal of the body: JSON without times from `since` on; errors' lengths; of pages nothing."""
        if "json" in self.kind and self.body:
            return _timeless(json.loads(self.body), since)
        if self.status >= 400:
            return self.body if len(self.body) < 200 else len(self.body)
        return None

    def compared(self, since: str) -> dict[str, Any]:
        """Everything in which two Rails applications agree."""
        fields = {name: re.sub(r"127.0.0.1:\d+", "HOST", self.headers.get(name, "")) for name in COMPARED}
        has = {name: name in self.headers for name in ("ETag", "Content-Length")}
        return {"status": self.status, "type": self.kind, "content": self.content(since), **fields, **has}


def send(port: int, case: Case, user: tuple[str, str], etag: str = "", host: str = "hosp.test") -> Answer:
    """`etag` stands where the case says `{etag}`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=40)
    headers = {name: value.replace("{etag}", etag) for name, value in case.headers.items()}
    if case.accept is not None:
        headers["Accept"] = case.accept
    if case.user:
        headers["Authorization"] = basic(*user) if case.user is True else str(case.user)
    if case.body is not None:
        headers["Content-Length"] = str(len(case.body))
    try:
        connection.putrequest(case.method, case.target, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Host": host, **headers}.items():
            connection.putheader(name, value)
        connection.endheaders(case.body)
        got = connection.getresponse()
        return Answer(got.status, dict(got.getheaders()), got.read())
    finally:
        connection.close()


def _timeless(value: Any, since: str) -> Any:
    if isinstance(value, list):
        return [_timeless(each, since) for each in value]
    if isinstance(value, dict):
        return {name: _timeless(each, since) for name, each in value.items()}
    return "now" if isinstance(value, str) and NOW.match(value) and value >= since else value
