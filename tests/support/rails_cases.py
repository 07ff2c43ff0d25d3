"""Requests that show how a Rails scaffold application behaves, row by row of HOSP.md's description. Data only.

Sent in this order to the real application and to the simulator with the same records: each answer is to be the same.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
AXIOS = "application/json, text/plain, */*"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"
MULTIPART = (
    b'--B\r\nContent-Disposition: form-data; name="patient[name]"\r\n\r\nMulti\r\n'
    b'--B\r\nContent-Disposition: form-data; name="patient[hospital_id]"\r\n\r\n2\r\n--B--\r\n'
)


@dataclass(frozen=True)
class Case:
    """`row`: of the description in HOSP.md. `user`: False sends no Authorization; a str sends it as it is."""

    row: int
    method: str
    target: str
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    accept: str | None = JSON
    user: bool | str = True

    @property
    def name(self) -> str:
        sent = (self.body or b"").decode("latin-1")[:50]
        extra = " ".join(f"{k}={v}" for k, v in self.headers.items() if k != "Content-Type" or v != JSON)
        return f"{self.row}: {self.method} {self.target} {sent} accept={self.accept} {extra}".strip()


def _json(row: int, method: str, target: str, value: Any, **more: Any) -> Case:
    headers = {"Content-Type": JSON, **more.pop("headers", {})}
    return Case(row, method, target, value if isinstance(value, bytes) else json.dumps(value).encode(), headers, **more)


def _form(row: int, method: str, target: str, body: str, kind: str = FORM, **more: Any) -> Case:
    return Case(row, method, target, body.encode(), {"Content-Type": kind, **more.pop("headers", {})}, **more)


FORMAT = [
    Case(1, "GET", target, accept=accept)
    for target in ("/patients/3", "/hospitals", "/staffs/me")
    for accept in (None, "*/*", AXIOS, BROWSER, JSON, "application/xml", "text/plain",
                   "application/json;q=0.5, text/html",
                   "text/html, application/json", "application/json, text/javascript, */*; q=0.01")
] + [
    Case(1, "GET", "/patients/3.json", accept=None),
    Case(1, "GET", "/patients/3?format=json", accept="*/*"),
    Case(1, "GET", "/patients/3.html"),
    Case(1, "GET", "/patients/3.xml"),
    Case(1, "GET", "/patients.json", accept="text/html"),
]  # fmt: skip
ERRORS = [
    _json(2, "POST", "/patients", {"name": "", "hospital_id": 1}),
    _json(2, "POST", "/patients", {"hospital_id": 1}),
    _json(2, "POST", "/notes", {"title": "T", "patient_id": 99_999, "staff_id": 1}),
    _json(2, "POST", "/notes", {"body": "no title"}),
    _json(2, "PATCH", "/patients/3", {"name": None}),
    _json(2, "PATCH", "/patients/3", {"hospital_id": 77_777}),
    _json(2, "POST", "/hospitals", {}),
    _json(2, "PATCH", "/patients/3", {}),
    _json(2, "PATCH", "/patients/3", b""),
    Case(2, "POST", "/patients"),
    _json(2, "POST", "/patients", b"{"),
    _json(2, "POST", "/patients", [1]),
    _json(2, "POST", "/patients/3/screen", {}),
    _json(2, "POST", "/patients/3/screen", {"images": ["AAA", "BBB"]}),
    _json(2, "POST", "/patients/99999/screen", {"images": ["AAA"]}),
    _form(2, "PATCH", "/patients/3", '{"name":"x"}', "text/plain"),
    _form(2, "PATCH", "/patients/3", '{"name":"x"}'),
    _form(2, "PATCH", "/patients/3", "name=x"),
    Case(2, "GET", "/patients/99999"),
    Case(2, "GET", "/patients/99999", accept="text/html"),
    Case(2, "GET", "/patients/99999", accept="*/*"),
    Case(2, "DELETE", "/patients/99999"),
    _json(2, "PATCH", "/patients/99999", {"name": "x"}),
    Case(2, "GET", "/patients/3", user=False),
    Case(2, "GET", "/patients/3", user=False, accept="text/html"),
    Case(2, "GET", "/patients/99999", user=False),
    _json(2, "PATCH", "/patients/3", {"unknown": 1}),
]
BODIES = [
    _json(3, "PATCH", "/patients/4", {"patient": {"name": "Wrapped"}}),
    _json(3, "PATCH", "/patients/4", {"patient": {"name": "Wrapped 2"}, "name": "ignored"}),
    _json(3, "PATCH", "/patients/4", {"name": "Flat", "id": 9, "created_at": "2000-01-01"}),
    _form(3, "PATCH", "/patients/4", "patient[name]=Form"),
    _form(3, "PATCH", "/patients/4", "patient%5Bname%5D=Escaped+form"),
    Case(3, "PATCH", "/patients/4", MULTIPART, {"Content-Type": "multipart/form-data; boundary=B"}),
    _form(3, "POST", "/patients/4", "_method=patch&patient[name]=By+method"),
    _json(3, "POST", "/patients/4", {"name": "By header"}, headers={"X-HTTP-Method-Override": "PATCH"}),
    _json(3, "PUT", "/patients/4", {"name": "By put"}),
    _json(3, "POST", "/patients", {"patient": {"name": "New", "hospital_id": 1, "birthdate": "2020-02-03"}}),
    _form(3, "POST", "/patients", "patient[name]=New+form&patient[hospital_id]=2"),
]
HTML_WRITES = [
    _form(4, "POST", "/patients", "patient[name]=H&patient[hospital_id]=2", accept="text/html"),
    _form(4, "PATCH", "/patients/5", "patient[name]=H5", accept="text/html"),
    _form(4, "PATCH", "/patients/5", "patient[name]=", accept="text/html"),
    _form(4, "POST", "/patients", "patient[name]=", accept="text/html"),
    _json(4, "POST", "/patients", {"name": "axios", "hospital_id": 1}, accept=AXIOS),
    _json(4, "POST", "/hospitals", {"name": "Located"}),
    _json(4, "PATCH", "/hospitals/7", {"name": "Located again"}),
    Case(4, "DELETE", "/hospitals/7"),
    _json(4, "POST", "/hospitals", {"name": "To go"}),
    Case(4, "DELETE", "/hospitals/8", accept="text/html"),
    Case(4, "POST", "/patients/3/screen", b'{"images":["A"]}', {"Content-Type": JSON}, accept="text/html"),
]
CASTS = [
    _json(5, "PATCH", "/patients/6", {name: value})
    for name, values in {
        "birthdate": ("2019-12-31T00:00:00.000Z", "2019-1-2", "31/02/2020", "", None, "not a date", "2020-02-30",
                      "2020-06-07 12:00", "31/01/2020", "1 March 2020"),
        "name": (123, 12.5, True, "  spaced  ", "Zoë 🐕", "a\tb\nc"),
        "hospital_id": ("2", 2.9, " 3 ", "4abc", True),
    }.items()
    for value in values
] + [
    *(Case(5, "GET", f"/patients/{ident}") for ident in ("17abc", "017", "17%20", "+17", "17.5", "abc", "-1", "0x11")),
    *(Case(5, "GET", f"/notes?patient_id={value}")
      for value in ("", "17", "017", "17abc", "abc", "99999", "17&patient_id=18")),
    Case(5, "GET", "/notes?other=1&patient_id=17"),
    _json(5, "PATCH", "/patients/6", {"name": {"a": 1}}),
    _json(5, "PATCH", "/patients/6", {"name": ["a"]}),
]  # fmt: skip
REFERENCES = [
    Case(6, "DELETE", "/patients/3"),
    Case(6, "DELETE", "/hospitals/1"),
    Case(6, "DELETE", "/staffs/2", accept="text/html"),
    Case(6, "GET", "/patients/3"),
    Case(6, "DELETE", "/notes/10"),
    Case(6, "GET", "/notes/10"),
]
UNCHANGED = [
    _json(7, "PATCH", "/patients/7", {"hospital_id": None, "name": "x"}),
    _json(7, "PATCH", "/notes/20", {"title": "Once"}),
    _json(7, "PATCH", "/notes/20", {"title": "Once"}),
    Case(7, "GET", "/notes/20"),
]
ESCAPES = [
    _json(8, "PATCH", "/notes/21", {"title": '<b>&\u2028 \u00e9 \U0001f415 / " \\ \x7f'}),
    Case(8, "GET", "/notes/21"),
]
HEADERS = [
    *(Case(9, method, "/patients/3") for method in ("GET", "HEAD", "OPTIONS")),
    Case(9, "HEAD", "/patients/99999"),
    Case(9, "GET", "/patients/3", headers={"If-None-Match": '"never"'}),
    Case(9, "GET", "/patients/3", headers={"If-None-Match": "{etag}"}),
    Case(9, "GET", "/patients", headers={"If-None-Match": "{etag}"}),
    Case(9, "GET", "/patients/3", accept="text/html"),
    Case(9, "OPTIONS", "/patients", accept="text/html"),
    Case(9, "GET", "/"),
    Case(9, "GET", "/", accept=None, user=False),
    Case(9, "POST", "/"),
    Case(9, "PATCH", "/patients"),
]


def spellings(user: str, password: str) -> list[Case]:
    """Row 10: Basic as leniently written as Rails reads it, and not."""
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    bare = token.rstrip("=")
    written = [
        f"Basic\t{token}", f"Basic {bare}", f"Basic {token[:6]}!{token[6:]}", f"basic {token}", f"BASIC {token}",
        f"Basic  {token}", f"Basic {token} ", f"Basic {token[:8]} {token[8:]}", f"Bearer {token}", token, "Basic",
        "Basic " + base64.b64encode(user.encode()).decode(),
        "Basic " + base64.b64encode(f"{user}:wrong".encode()).decode(),
    ]  # fmt: skip
    return [Case(10, "GET", "/staffs/me", user=value) for value in written]


CASES = [*FORMAT, *ERRORS, *BODIES, *HTML_WRITES, *CASTS, *REFERENCES, *UNCHANGED, *ESCAPES, *HEADERS]
