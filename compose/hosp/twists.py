# pure
"""Further ways in which an API may differ, each by its name in `behaviours`. A name that is not on changes nothing."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

from compose.hosp.messages import Asked, Reply

PAGE = 20
PAGES = frozenset({"page-link", "page-total", "page-has-more", "page-envelope", "page-206", "page-silent"})
FILTERS = frozenset({"filter-prefix", "filter-substring", "filter-case", "filter-ignored"})
PARENT = {
    "staffs": "hospital_id",
    "patients": "hospital_id",
    "notes": "patient_id",
    "pets": "ownerId",
    "visits": "petId",
}
"""The reference that is embedded, and that X-Tenant selects by."""
OF = {"hospital_id": "hospitals", "patient_id": "patients", "staff_id": "staffs", "ownerId": "owners", "petId": "pets"}
REQUIRED = {"notes": "body", "patients": "birthdate", "owners": "telephone", "visits": "description"}
DROPPED = {"notes": "body", "patients": "birthdate", "owners": "city", "visits": "description"}
LONGEST = 12
SHOWN = 40
"""Characters of a text in a list that cuts it."""
Row = dict[str, Any]


def paged(rows: list[Row], asked: Asked, on: frozenset[str]) -> Reply:
    """A list, or the page of it that `?page=` names, from 1."""
    if not PAGES & on:
        return Reply(200, rows)
    written = asked.query.get("page", "1")
    number = max(1, int(written) if written.isdecimal() else 1)
    start, end = (number - 1) * PAGE, number * PAGE
    page = rows[start:end]
    reply = Reply(200, page)
    if "page-link" in on and end < len(rows):
        reply.headers["Link"] = f'<{asked.origin}{asked.target.partition("?")[0]}?page={number + 1}>; rel="next"'
    if "page-total" in on:
        reply.headers["X-Total-Count"] = str(len(rows))
    if "page-has-more" in on:
        reply.value = {"data": page, "has_more": end < len(rows)}
    if "page-envelope" in on:
        reply.value = {"items": page, "total": len(rows), "page": number}
    if "page-206" in on and len(page) < len(rows):
        reply.status = 206
        reply.headers["Content-Range"] = f"items {start}-{start + len(page) - 1}/{len(rows)}"
    return reply


def fits(value: str, wanted: str, on: frozenset[str]) -> bool:
    """Whether a filter takes the value."""
    if "filter-ignored" in on:
        return True
    if "filter-prefix" in on:
        return value.startswith(wanted)
    if "filter-substring" in on:
        return wanted in value
    return value.casefold() == wanted.casefold() if "filter-case" in on else value == wanted


def sees(
    table: str, row: Row, asked: Asked, me: Row | None, on: frozenset[str], by_id: bool = False
) -> bool:  # fmt: skip
    """Whether the record is there for this caller and these headers."""
    if "private" in on and me is not None:
        mine = row.get("staff_id", me["id"]) == me["id"] if table == "notes" else True
        return bool(mine and (table != "patients" or row["hospital_id"] == me["hospital_id"]))
    tenant = asked.headers.get("x-tenant")
    if row.get("deleted_at") and not by_id or "archived" in on and not by_id and row["id"] % 17 == 0:
        return False
    if "tenant" in on and tenant is not None and table in PARENT:
        return int(row.get(PARENT[table]) or 0) % 2 == len(tenant) % 2
    return True


def stored(table: str, given: Row, on: frozenset[str]) -> Row:
    """What is kept of what was sent."""
    kept = dict(given)
    if "ignores-field" in on:
        kept.pop(DROPPED.get(table, ""), None)
    for name, value in kept.items():
        if isinstance(value, str):
            value = value.lower() if "lower-case" in on else value
            value = value.strip() if "trimmed" in on else value
            kept[name] = value[:LONGEST] if "truncated" in on else value
        elif isinstance(value, float) and "rounded" in on:
            kept[name] = float(int(value))
    return kept


def missing(table: str, row: Row, on: frozenset[str]) -> dict[str, list[str]]:
    name = REQUIRED.get(table)
    return {name: ["can't be blank"]} if "required" in on and name and not row.get(name) else {}


def shown(table: str, row: Row, tables: Mapping[str, Mapping[int, Row]], asked: Asked, in_list: bool,
          on: frozenset[str]) -> Row:  # fmt: skip
    """The record as this request shows it."""
    row = dict(row)
    reference = PARENT.get(table)
    if "embedded" in on and reference:
        parent = tables[OF[reference]].get(row.get(reference) or 0)
        row[reference.removesuffix("_id").removesuffix("Id")] = parent and {
            k: v for k, v in parent.items() if k in ("id", "name", "lastName")
        }
    if "copies" in on and reference:
        parent = tables[OF[reference]].get(row.get(reference) or 0) or {}
        row[f"{reference[:-2].rstrip('_')}_name"] = parent.get("name", parent.get("lastName"))
    if "counts" in on:
        row |= _counts(table, row["id"], tables)
    if "computed" in on:
        row["age"] = int(time.time() * 2)
    if {"language", "language-silent"} & on and asked.headers.get("accept-language", "").startswith("de"):
        row |= {k: f"[de] {v}" for k, v in row.items() if k in ("title", "name", "description") and v}
    if "cookie-silent" in on and asked.headers.get("cookie"):
        row |= {k: f"[{asked.headers['cookie']}] {v}" for k, v in row.items() if k in ("title", "name", "city") and v}
    if "uuid-ids" in on:
        row = {**row, **{k: to_uuid(OF[k], v) for k, v in row.items() if k in OF and v is not None},
               "id": to_uuid(table, row["id"])}  # fmt: skip
    if "null-absent" in on:
        row = {k: v for k, v in row.items() if v is not None}
    if "short-lists" in on and in_list:
        row = {k: v for k, v in row.items() if k in ("id", "name", "title", "lastName", "url")}
    if {"cut-texts", "excerpts"} & on and in_list:
        row = {k: _cut(v, on) if isinstance(v, str) else v for k, v in row.items()}
    names = asked.query.get("fields")
    if "fields" in on and names:
        row = {k: v for k, v in row.items() if k in names.split(",")}
    return row


def _cut(text: str, on: frozenset[str]) -> str:
    if len(text) <= SHOWN:
        return text
    return text[:SHOWN] if "cut-texts" in on else text[: SHOWN - 3].rsplit(" ", 1)[0] + "..."


def _counts(table: str, ident: int, tables: Mapping[str, Mapping[int, Row]]) -> Row:
    children = [(child, name) for child, name in PARENT.items() if OF[name] == table and child in tables]
    return {f"{child}_count": sum(row.get(name) == ident for row in tables[child].values()) for child, name in children}


def to_uuid(table: str, ident: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{table}/{ident}"))


def from_uuid(table: str, written: Any, rows: Mapping[int, Row]) -> int | None:
    return next((ident for ident in rows if to_uuid(table, ident) == written), None)


def ripples(table: str, row: Row, tables: Mapping[str, Mapping[int, Row]], at: str, on: frozenset[str]) -> None:
    """What else a write to the record changes."""
    reference = PARENT.get(table)
    if "touches" in on:
        for name in OF.keys() & row.keys():
            parent = tables[OF[name]].get(row[name] or 0)
            if parent is not None and "updated_at" in parent:
                parent["updated_at"] = at
    if "siblings" in on and reference:
        before = [each for each in tables[table].values() if each.get(reference) == row.get(reference)
                  and each["id"] < row["id"]]  # fmt: skip
        name = "title" if table == "notes" else "name"
        for each in sorted(before, key=lambda each: int(each["id"]))[-1:]:
            each[name] = f"{each[name]}'"


def disguise(asked: Asked, reply: Reply, on: frozenset[str]) -> Reply:
    """What is changed about an answer as a whole."""
    if "text-404" in on and reply.status == 404:
        reply.value, reply.format, reply.fixed = "Not found", "text", True
    if "create-empty" in on and reply.status == 201:
        reply.value, reply.format = "", "empty"
    if "accepted" in on and asked.method != "GET" and reply.status < 300:
        reply.status, reply.value, reply.format, reply.fixed = 202, "", "empty", True
    for name, header in (("tenant", "X-Tenant"), ("language", "Accept-Language")):
        if name in on and asked.method == "GET":
            reply.headers["Vary"] = ", ".join(filter(None, (reply.headers.get("Vary"), header)))
    return reply
