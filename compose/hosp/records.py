"""HOSP's records and what its endpoints do with them. No sockets; one lock."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from compose.hosp.data import Data, Row, stamp

FIELDS = {
    "hospitals": ("name",),
    "staffs": ("name", "hospital_id"),
    "patients": ("name", "hospital_id", "birthdate"),
    "notes": ("title", "body", "patient_id", "staff_id"),
}
REFERENCES = {"hospital_id": "hospitals", "patient_id": "patients", "staff_id": "staffs"}
Reply = tuple[int, Any]
"""Status, and a JSON value, a page (str) or nothing (None)."""


@dataclass
class Hosp:
    """The application."""

    data: Data
    applied: list[dict[str, Any]] = field(default_factory=list)
    """Writes that took effect, in order."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    _highest: dict[str, int] = field(default_factory=dict)
    """Ids given so far: a deleted record's id is never given again."""

    def answer(self, method: str, target: str, authorization: str | None, body: bytes, origin: str) -> Reply:
        """What HOSP answers. `origin` is `scheme://host` for `url` fields."""
        path, _, query = target.partition("?")
        parts = [part for part in path.removesuffix(".json").split("/") if part]
        if not parts:
            return 200, "<!DOCTYPE html><html><body><h1>MedicalSystem</h1><p>Server is online.</p></body></html>"
        if parts[0] not in FIELDS or len(parts) > 3:
            return 500, None
        user = self._user(authorization)
        if user is None:
            return 401, None
        try:
            given = json.loads(body) if body else {}
        except ValueError:
            return 400, None
        with self.lock:
            return self._route(method, parts, query, given, user, origin)

    def _route(self, method: str, parts: list[str], query: str, given: Any, user: str, origin: str) -> Reply:
        table = parts[0]
        if parts == ["staffs", "me"]:
            row = next((row for row in self.data.tables["staffs"].values() if row["name"] == user), None)
            return (200, _shown(table, row, origin)) if row else (401, None)
        if len(parts) == 1:
            if method == "GET":
                wanted = {k: v[0] for k, v in parse_qs(query).items() if table == "notes" and k == "patient_id"}
                rows = [r for r in self.data.tables[table].values() if all(str(r[k]) == v for k, v in wanted.items())]
                return 200, [_shown(table, row, origin) for row in sorted(rows, key=lambda r: -int(r["id"]))]
            return self._create(table, given, user, origin) if method == "POST" else (500, None)
        record = self.data.tables[table].get(int(parts[1])) if parts[1].isdecimal() else None
        if record is None:
            return 404, None
        if len(parts) == 3:
            return _screen(given) if (table, parts[2], method) == ("patients", "screen", "POST") else (500, None)
        if method == "GET":
            return 200, _shown(table, record, origin)
        if method in ("PATCH", "PUT"):
            return self._update(method, table, record, given, user, origin)
        return self._delete(table, record, user) if method == "DELETE" else (500, None)

    def _create(self, table: str, given: Any, user: str, origin: str) -> Reply:
        if not isinstance(given, dict) or not self._refers(given):
            return 422, None
        rows = self.data.tables[table]
        ident = self._highest[table] = max(self._highest.get(table, 0), max(rows, default=0)) + 1
        now = stamp(datetime.now(UTC))
        rows[ident] = {"id": ident, **{k: given.get(k) for k in FIELDS[table]}, "created_at": now, "updated_at": now}
        self._password(table, rows[ident], given)
        self._note("POST", f"/{table}", ident, user, given)
        return 201, _shown(table, rows[ident], origin)

    def _update(self, method: str, table: str, record: Row, given: Any, user: str, origin: str) -> Reply:
        if not isinstance(given, dict) or not self._refers(given):
            return 422, None
        was = record.get("name")
        record.update({k: v for k, v in given.items() if k in FIELDS[table]})
        if table == "staffs" and was in self.data.passwords:
            self.data.passwords[record["name"]] = self.data.passwords.pop(was)
        record["updated_at"] = stamp(datetime.now(UTC))
        self._password(table, record, given)
        self._note(method, f"/{table}/{record['id']}", record["id"], user, given)
        return 200, _shown(table, record, origin)

    def _delete(self, table: str, record: Row, user: str) -> Reply:
        ident = record["id"]
        self._highest[table] = max(self._highest.get(table, 0), ident)
        del self.data.tables[table][ident]
        if table == "staffs":
            self.data.passwords.pop(record["name"], None)
        if table == "patients":
            notes = self.data.tables["notes"]
            for note in [note for note in notes.values() if note["patient_id"] == ident]:
                self._highest["notes"] = max(self._highest.get("notes", 0), note["id"])
                del notes[note["id"]]
        self._note("DELETE", f"/{table}/{ident}", ident, user, {})
        return 204, None

    def _refers(self, given: dict[str, Any]) -> bool:
        named = [(given[k], self.data.tables[t]) for k, t in REFERENCES.items() if given.get(k) is not None]
        return all(isinstance(ident, int) and ident in table for ident, table in named)

    def _password(self, table: str, record: Row, given: dict[str, Any]) -> None:
        if table == "staffs" and given.get("password"):
            self.data.passwords[record["name"]] = str(given["password"])

    def _note(self, method: str, path: str, ident: int, user: str, given: dict[str, Any]) -> None:
        body = {k: v for k, v in given.items() if k != "password"}
        entry = {"at": time.time(), "method": method, "path": path, "id": ident, "user": user, "body": body}
        self.applied.append(entry)

    def _user(self, authorization: str | None) -> str | None:
        scheme, _, token = (authorization or "").partition(" ")
        try:
            user, colon, password = base64.b64decode(token, validate=True).decode().partition(":")
        except ValueError:
            return None
        known = scheme.lower() == "basic" and bool(colon) and self.data.passwords.get(user) == password
        return user if known else None


def _shown(table: str, row: Row, origin: str) -> Row:
    return {**row, "url": f"{origin}/{table}/{row['id']}.json"}


def _screen(given: Any) -> Reply:
    """A pure function of the images; what HOSP's real values mean is not known."""
    images = given.get("images") if isinstance(given, dict) else None
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        return 422, None
    results = [hashlib.sha256(image.encode()).digest()[0] % 5 == 0 for image in images]
    words = ["abnormal" if found else "normal" for found in results]
    return 200, {"overall": "abnormal" if any(results) else "normal", "results": words}
