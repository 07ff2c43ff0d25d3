"""HOSP's records and what its endpoints do with them. No sockets; one lock."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from compose.hosp import casts, twists
from compose.hosp.behaviours import PLAIN
from compose.hosp.data import Data, Row, stamp
from compose.hosp.messages import Asked, BadBody, Reply, fields_of, format_of, parameters

FIELDS = {
    "hospitals": ("name",),
    "staffs": ("name", "hospital_id"),
    "patients": ("name", "hospital_id", "birthdate"),
    "notes": ("title", "body", "patient_id", "staff_id"),
}
REFERENCES = {"hospital_id": "hospitals", "patient_id": "patients", "staff_id": "staffs"}
HOME = "<!DOCTYPE html><html><body><h1>MedicalSystem</h1><p>Server is online.</p></body></html>"
DENIED = "HTTP Basic: Access denied.\n"


@dataclass
class Hosp:
    """The application. `on`: the behaviours that it has; `strays`: what an unknown path is answered (HOSP crashes)."""

    data: Data
    on: frozenset[str] = PLAIN
    strays: int = 500
    applied: list[dict[str, Any]] = field(default_factory=list)
    """Writes that took effect, in order."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    _highest: dict[str, int] = field(default_factory=dict)
    """Ids given so far: a deleted record's id is never given again."""

    def answer(self, asked: Asked) -> Reply:
        """What HOSP answers."""
        form, negotiated = format_of(asked) if "format" in self.on else ("json", False)
        reply = self._answer(asked, form)
        reply.negotiated &= negotiated
        return twists.disguise(asked, reply, self.on)

    def _answer(self, asked: Asked, form: str) -> Reply:
        path = asked.target.partition("?")[0]
        parts = [part for part in path.split("/") if part]
        if not parts:
            return Reply(200, HOME, "html") if asked.method == "GET" else Reply(self._stray(404), format=form)
        last, dot, _ = parts[-1].partition(".")
        if "no-suffix" in self.on and parts[-1].endswith(".json"):
            return Reply(404, format=form)
        if dot and ("format" in self.on or parts[-1].endswith(".json")):
            parts[-1] = last
        if parts[0] not in FIELDS or len(parts) > 3:
            return Reply(self.strays, format=format_of(replace(asked, target="/"))[0])
        method = self._method(asked)
        if "routes" in self.on and not _has_route(method, parts):
            return Reply(404, format=form)
        user = self._user(asked.headers.get("authorization"))
        if user is None:
            denied = DENIED if "access-denied" in self.on else None
            return Reply(401, denied, "html" if denied else form, negotiated=False)
        with self.lock:
            try:
                reply = self._route(method, parts, asked, user, form)
            except BadBody as refused:
                return Reply(refused.status, format=form)
        reply.format = form if reply.format == "json" and not reply.fixed else reply.format
        if "not-acceptable" in self.on and form not in ("json", "html") and reply.status < 400:
            return Reply(500 if parts == ["staffs", "me"] else 406, format=form)
        return reply

    def _stray(self, status: int) -> int:
        return status if "routes" in self.on else 500

    def _method(self, asked: Asked) -> str:
        if asked.method != "POST" or "method-override" not in self.on:
            return asked.method
        given = asked.headers.get("x-http-method-override", "")
        if not given and "form" in asked.headers.get("content-type", ""):
            given = str(parameters(asked, self.on).get("_method", ""))
        return given.upper() or "POST"

    def _route(self, method: str, parts: list[str], asked: Asked, user: str, form: str) -> Reply:
        table = parts[0]
        me = next((row for row in self.data.tables["staffs"].values() if row["name"] == user), None)
        if parts == ["staffs", "me"]:
            return Reply(200, self._shown(table, me, asked)) if me else Reply(401, format=form)
        if len(parts) == 1:
            if method == "GET":
                return self._list(table, asked, me)
            return self._create(table, asked, user, form) if method == "POST" else Reply(500, format=form)
        record = self._record(table, unquote(parts[1]), asked, me)
        if record is None and method == "PUT" and "put-creates" in self.on and parts[1].isdecimal():
            return self._create(table, asked, user, form, int(parts[1]))
        if record is None:
            return Reply(404, format=form)
        if len(parts) == 3:
            if (table, parts[2], method) != ("patients", "screen", "POST"):
                return Reply(500, format=form)
            return _screen(parameters(asked, self.on), self.on)
        if method == "GET":
            return Reply(200, self._shown(table, record, asked))
        if method in ("PATCH", "PUT"):
            return self._update(method, table, record, asked, user, form)
        return self._delete(table, record, asked, user, form) if method == "DELETE" else Reply(500, format=form)

    def _record(self, table: str, written: str, asked: Asked, me: Row | None) -> Row | None:
        if "uuid-ids" in self.on:
            ident = twists.from_uuid(table, written, self.data.tables[table])
        elif "lenient-ids" in self.on:
            ident = casts.to_integer(written)
        else:
            ident = int(written) if written.isdecimal() else None
        record = self.data.tables[table].get(-1 if ident is None else ident)
        return record if record and twists.sees(table, record, asked, me, self.on, True) else None

    def _list(self, table: str, asked: Asked, me: Row | None) -> Reply:
        wanted = asked.query.get("patient_id") if table == "notes" else None
        rows = [row for row in self.data.tables[table].values() if twists.sees(table, row, asked, me, self.on)]
        if wanted is not None and not ("lenient-ids" in self.on and not wanted.strip()):
            rows = [row for row in rows if self._fits(row["patient_id"], wanted)]
        rows.sort(key=lambda row: int(row["id"]), reverse="oldest-first" not in self.on)
        return twists.paged([self._shown(table, row, asked, True) for row in rows], asked, self.on)

    def _fits(self, value: Any, wanted: str) -> bool:
        if "uuid-ids" in self.on:
            value = twists.to_uuid("patients", value)
        elif "lenient-ids" in self.on and not twists.FILTERS & self.on:
            return bool(value == casts.to_integer(wanted))
        return twists.fits(str(value), wanted, self.on)

    def _given(self, table: str, asked: Asked) -> dict[str, Any]:
        given = fields_of(asked, table.removesuffix("s"), FIELDS[table], self.on)
        if "uuid-ids" in self.on:
            given = {k: twists.from_uuid(REFERENCES[k], v, self.data.tables[REFERENCES[k]]) if k in REFERENCES else v
                     for k, v in given.items()}  # fmt: skip
        stored = {k: v for k, v in given.items() if k in FIELDS[table]}
        if "casts" in self.on:
            stored = {name: casts.to_column(name, value) for name, value in stored.items()}
        return twists.stored(table, stored, self.on) | ({"password": given["password"]} if "password" in given else {})

    def _create(self, table: str, asked: Asked, user: str, form: str, number: int = 0) -> Reply:
        given = self._given(table, asked)
        row = {k: given.get(k) for k in FIELDS[table]}
        if wrong := self._invalid(table, row, given):
            return self._refused(wrong, form, f"New {table}")
        rows = self.data.tables[table]
        least = 2_000_000_000 if "big-ids" in self.on else 0
        given_before = 0 if "reused-ids" in self.on else self._highest.get(table, 0)
        ident = number or max(given_before, least, max(rows, default=0)) + 1
        self._highest[table] = max(self._highest.get(table, 0), ident)
        now = stamp(datetime.now(UTC))
        rows[ident] = {"id": ident, **row, "created_at": now, "updated_at": now}
        self._password(table, rows[ident], given)
        path = f"/{table}/{number}" if number else f"/{table}"
        self._note("PUT" if number else "POST", path, ident, user, given)
        twists.ripples(table, rows[ident], self.data.tables, now, self.on)
        if "trims-history" in self.on:
            del rows[min(rows)]
        return self._written(201, table, rows[ident], asked, form)

    def _update(self, method: str, table: str, record: Row, asked: Asked, user: str, form: str) -> Reply:
        given = self._given(table, asked)
        changes = {k: v for k, v in given.items() if k in FIELDS[table]}
        if method == "PUT" and "put-replaces" in self.on:
            changes = dict.fromkeys(FIELDS[table]) | changes
        if wrong := self._invalid(table, {**record, **changes}, changes):
            return self._refused(wrong, form, f"Editing {table}")
        was = record.get("name")
        changed = "password" in given or any(record[k] != v for k, v in changes.items())
        record.update(changes)
        if table == "staffs" and was in self.data.passwords:
            self.data.passwords[record["name"]] = self.data.passwords.pop(was)
        if changed or "unchanged" not in self.on:
            record["updated_at"] = stamp(datetime.now(UTC))
        self._password(table, record, given)
        self._note(method, f"/{table}/{record['id']}", record["id"], user, given)
        twists.ripples(table, record, self.data.tables, stamp(datetime.now(UTC)), self.on)
        return self._written(200, table, record, asked, form)

    def _written(self, status: int, table: str, record: Row, asked: Asked, form: str) -> Reply:
        place = f"{asked.origin}/{table}/{record['id']}"
        if form == "html" and "html-writes" in self.on:
            return _redirect(place)
        shown = self._shown(table, record, asked)
        return Reply(status, shown, headers={"Location": place} if "location" in self.on else {})

    def _refused(self, wrong: dict[str, list[str]], form: str, title: str) -> Reply:
        if form == "html" and "html-writes" in self.on:
            return Reply(200, f"<!DOCTYPE html><html><body><h1>{title}</h1></body></html>", "html", fixed=True)
        return Reply(422, wrong or None)

    def _invalid(self, table: str, row: Row, given: dict[str, Any]) -> dict[str, list[str]]:
        """What is wrong, by field, in Rails' words."""
        wrong: dict[str, list[str]] = {}
        for name in (k for k in FIELDS[table] if k in REFERENCES):
            value, others = row.get(name), self.data.tables[REFERENCES[name]]
            known = isinstance(value, int) and value in others
            if not known and ("must-exist" in self.on or (name in given and value is not None)):
                wrong[name.removesuffix("_id")] = ["must exist"]
        first = FIELDS[table][0]
        if "presence" in self.on and not str(row.get(first) or "").strip():
            wrong[first] = ["can't be blank"]
        return wrong | twists.missing(table, row, self.on)

    def _delete(self, table: str, record: Row, asked: Asked, user: str, form: str) -> Reply:
        ident = record["id"]
        if "delete-500" in self.on:
            return Reply(500, format=form)
        children = self._children(table, ident)
        if children and "foreign-keys" in self.on and "cascades" not in self.on:
            return Reply(500, format=form)
        for child, number in children if table == "patients" else []:
            self._remove(child, number)
        if "soft-delete" in self.on:
            record["deleted_at"] = stamp(datetime.now(UTC))
        else:
            self._remove(table, ident)
        if table == "staffs":
            self.data.passwords.pop(record["name"], None)
        self._note("DELETE", f"/{table}/{ident}", ident, user, {})
        if "delete-applied-500" in self.on:
            return Reply(500, format=form)
        if form == "html" and "html-writes" in self.on:
            return _redirect(f"{asked.origin}/{table}")
        return Reply(204)

    def _children(self, table: str, ident: int) -> list[tuple[str, int]]:
        names = [name for name, of in REFERENCES.items() if of == table]
        return [
            (child, row["id"])
            for child, fields in FIELDS.items()
            for row in self.data.tables[child].values()
            if any(name in fields and row[name] == ident for name in names)
        ]

    def _remove(self, table: str, ident: int) -> None:
        for child, number in self._children(table, ident) if "cascades" in self.on else []:
            self._remove(child, number)
        self._highest[table] = max(self._highest.get(table, 0), ident)
        self.data.tables[table].pop(ident, None)

    def _shown(self, table: str, row: Row, asked: Asked, in_list: bool = False) -> Row:
        shown = {**row, "url": f"{asked.origin}/{table}/{row['id']}.json"}
        return twists.shown(table, shown, self.data.tables, asked, in_list, self.on)

    def _password(self, table: str, record: Row, given: dict[str, Any]) -> None:
        if table == "staffs" and given.get("password"):
            self.data.passwords[record["name"]] = str(given["password"])

    def _note(self, method: str, path: str, ident: int, user: str, given: dict[str, Any]) -> None:
        body = {k: v for k, v in given.items() if k != "password"}
        entry = {"at": time.time(), "method": method, "path": path, "id": ident, "user": user, "body": body}
        self.applied.append(entry)

    def _user(self, authorization: str | None) -> str | None:
        read: Callable[[str], tuple[str, bytes]] = _lenient if "lenient-basic" in self.on else _strict
        try:
            scheme, token = read(authorization or "")
            user, colon, password = token.decode().partition(":")
        except ValueError:
            return None
        known = scheme.lower() == "basic" and bool(colon) and self.data.passwords.get(user) == password
        return user if known else None


def _strict(written: str) -> tuple[str, bytes]:
    scheme, _, token = written.partition(" ")
    return scheme, base64.b64decode(token, validate=True)


def _lenient(written: str) -> tuple[str, bytes]:
    """Ruby's unpack("m"): what is no base64 is passed over, and padding may be missing."""
    scheme, *rest = written.split(None, 1) or [""]
    token = "".join(c for c in (rest[0] if rest else "") if c.isascii() and (c.isalnum() or c in "+/"))
    return scheme, base64.b64decode(token + "=" * (-len(token) % 4))


def _has_route(method: str, parts: list[str]) -> bool:
    if len(parts) == 3:
        return parts[0] == "patients" and parts[2] == "screen" and method == "POST"
    return method in (("GET", "POST") if len(parts) == 1 else ("GET", "PATCH", "PUT", "DELETE"))


def _redirect(place: str) -> Reply:
    page = f'<html><body>You are being <a href="{place}">redirected</a>.</body></html>'
    return Reply(302, page, "html", {"Location": place}, negotiated=False, fixed=True)


def _screen(given: dict[str, Any], on: frozenset[str]) -> Reply:
    """A pure function of the images; what HOSP's real values mean is not known."""
    images = given.get("images")
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        return Reply(400 if "required-root" in on else 422)
    if "required-root" in on and not images:
        return Reply(400)
    results = [hashlib.sha256(image.encode()).digest()[0] % 5 == 0 for image in images]
    words = ["abnormal" if found else "normal" for found in results]
    return Reply(200, {"overall": "abnormal" if any(results) else "normal", "results": words}, fixed=True)
