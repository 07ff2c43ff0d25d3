"""A fake of spring-petclinic-rest's shapes: nested pets, embedded visits, no credentials, lastName a prefix."""

from __future__ import annotations

import json
import time
from typing import Any

from compose.hosp import twists
from compose.hosp.data import Data, Row
from compose.hosp.messages import Asked, Reply
from compose.hosp.records import Hosp

NAMES = ("Davis", "Davison", "Franklin", "Black", "Escobito", "Rodriquez", "Estaban", "Coleman", "davies", "McTavish")
FIELDS = {"owners": ("firstName", "lastName", "city", "telephone"), "pets": ("name", "weight", "ownerId")}


def records() -> Data:
    """Sixty owners, each with one or two pets, whose visits lie within them."""
    data = Data({"owners": {}, "pets": {}})
    for ident in range(1, 61):
        owner = {"id": ident, "firstName": f"Sam{ident}", "lastName": NAMES[ident % len(NAMES)], "city": "Madison",
                 "telephone": f"60855{ident:05}"}  # fmt: skip
        data.tables["owners"][ident] = owner
    for ident in range(1, 91):
        visits = [{"id": ident * 10, "description": "rabies shot"}] if ident % 3 else []
        pet = {
            "id": ident,
            "name": f"Pet{ident}",
            "weight": ident / 4,
            "ownerId": (ident * 7) % 60 + 1,
            "visits": visits,
        }
        data.tables["pets"][ident] = pet
    return data


class Petclinic(Hosp):
    """Served by the simulator in HOSP's place; has the twists that fit it."""

    def _answer(self, asked: Asked, form: str) -> Reply:
        parts = [part for part in asked.target.partition("?")[0].split("/") if part]
        table = "pets" if len(parts) == 4 and parts[2] == "pets" else parts[0] if parts else ""
        if table not in FIELDS or len(parts) == 3:
            return Reply(404, {"detail": "no such path"}, fixed=True)
        with self.lock:
            return self._resource(asked, table, parts)

    def _resource(self, asked: Asked, table: str, parts: list[str]) -> Reply:
        rows = self.data.tables[table]
        if len(parts) == 1:
            return self._create_row(asked, table) if asked.method == "POST" else self._rows(asked, table)
        row = rows.get(int(parts[-1])) if parts[-1].isdecimal() else None
        if row is None or (len(parts) == 4 and str(row["ownerId"]) != parts[1]):
            return Reply(404, {"detail": f"no {table} {parts[-1]}"}, fixed=True)
        if asked.method == "PUT":
            return self._change(asked, table, row)
        if asked.method == "DELETE":
            return self._drop(table, row)
        return Reply(200, self._seen(asked, table, row))

    def _rows(self, asked: Asked, table: str) -> Reply:
        rows, wanted = list(self.data.tables[table].values()), asked.query.get("lastName")
        if wanted is not None and table == "owners":
            plain = twists.FILTERS & self.on
            rows = [row for row in rows if (twists.fits(row["lastName"], wanted, self.on) if plain
                                            else row["lastName"].startswith(wanted))]  # fmt: skip
        rows.sort(key=lambda row: int(row["id"]))
        return twists.paged([self._seen(asked, table, row, True) for row in rows], asked, self.on)

    def _seen(self, asked: Asked, table: str, row: Row, in_list: bool = False) -> Row:
        if table == "owners":
            row = {**row, "pets": [pet for pet in self.data.tables["pets"].values() if pet["ownerId"] == row["id"]]}
        return twists.shown(table, row, self.data.tables, asked, in_list, self.on)

    def _sent(self, asked: Asked, table: str) -> dict[str, Any]:
        given = json.loads(asked.body or b"{}")
        return twists.stored(table, {k: v for k, v in given.items() if k in FIELDS[table]}, self.on)

    def _create_row(self, asked: Asked, table: str) -> Reply:
        row = {name: self._sent(asked, table).get(name) for name in FIELDS[table]}
        if twists.missing(table, row, self.on) or not row.get("lastName", row.get("name")):
            return Reply(400, {"detail": "invalid"}, fixed=True)
        rows = self.data.tables[table]
        ident = max(2_000_000_000 if "big-ids" in self.on else 0, max(rows)) + 1
        rows[ident] = {"id": ident, **row}
        self._applied("POST", f"/{table}", ident, row)
        return Reply(201, self._seen(asked, table, rows[ident]))

    def _change(self, asked: Asked, table: str, row: Row) -> Reply:
        sent = self._sent(asked, table)
        row |= (dict.fromkeys(FIELDS[table]) if "put-replaces" in self.on else {}) | sent
        self._applied("PUT", f"/{table}/{row['id']}", row["id"], sent)
        return Reply(200, self._seen(asked, table, row))

    def _drop(self, table: str, row: Row) -> Reply:
        if "delete-500" in self.on:
            return Reply(500)
        del self.data.tables[table][row["id"]]
        for pet in [
            pet for pet in self.data.tables["pets"].values() if pet["ownerId"] == row["id"] and table == "owners"
        ]:
            del self.data.tables["pets"][pet["id"]]
        self._applied("DELETE", f"/{table}/{row['id']}", row["id"], {})
        return Reply(500 if "delete-applied-500" in self.on else 204)

    def _applied(self, method: str, path: str, ident: int, body: dict[str, Any]) -> None:
        self.applied.append({"at": time.time(), "method": method, "path": path, "id": ident, "user": "", "body": body})
