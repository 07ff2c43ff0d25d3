"""Asks the tables what is known for one caller, in one snapshot, and makes an answer of it."""

from __future__ import annotations

import json
import time
from typing import Any

from sqlalchemy import Connection, Engine, select

from sidecar.contract import Action, Contract, Match, Resource
from sidecar.gateway.exchange import Request
from sidecar.standby.answer import JSON, NOT_FOUND, Answer, DontKnow, filter_of, in_order, reply, selects, takes_json
from sidecar.standby.knowledge import Knowledge
from sidecar.standby.learn import MARK
from sidecar.standby.store import (
    collections, identities, reader, records, replies, setting_of, shapes, sightings, views, writes,
)  # fmt: skip


class Inquirer:
    """Reads only. `serve`: unverified knowledge is answered from, and marked."""

    def __init__(self, contract: Contract, engine: Engine, knowledge: Knowledge, serve: bool) -> None:
        self._contract, self._engine, self._knowledge, self._serve = contract, engine, knowledge, serve
        self._cache: dict[str, tuple[int, list[tuple[str, str, dict[str, Any], int, int]]]] = {}

    def answer(self, match: Match, request: Request, user: str | None) -> Answer | DontKnow:
        endpoint = match.endpoint
        if endpoint is None or request.method not in ("GET", "HEAD"):
            return DontKnow("unsupported")
        with reader(self._engine) as connection, connection.begin():
            if endpoint.public and endpoint.action is Action.CALL:
                return self._page(connection, endpoint.id, request)
            if endpoint.resource is None or user is None:
                return DontKnow("no_caller" if user is None else "unsupported")
            if not takes_json(request):
                return DontKnow("not_json")
            resource = self._contract.resources[endpoint.resource]
            if endpoint.action is Action.LIST:
                return self._list(connection, match, resource, request, user)
            if endpoint.action is Action.READ and not request.query:
                return self._item(connection, match, resource, request, user)
        return DontKnow("unsupported")

    def _page(self, connection: Connection, endpoint: str, request: Request) -> Answer | DontKnow:
        row = connection.execute(select(replies).where(replies.c.endpoint == endpoint)).first()
        if row is None or request.query:
            return DontKnow("never_seen")
        return reply(request, row.status, row.media, row.body, _age(row.observed))

    def _item(
        self, connection: Connection, match: Match, resource: Resource, request: Request, user: str
    ) -> Answer | DontKnow:
        assert match.endpoint is not None
        kind, number, generation = resource.name, match.record_id, int(setting_of(connection, "generation", "0"))
        oldest = generation
        if match.endpoint.own:
            own = connection.execute(select(identities).where(
                identities.c.user == user, identities.c.type == kind)).first()
            if own is None:
                return DontKnow("never_seen")
            number, oldest = own.id, own.generation
        row = connection.execute(select(records).where(records.c.type == kind, records.c.id == number)).first()
        tight = self._knowledge.tightened(connection, kind)
        if tight and not connection.execute(select(sightings.c.id).where(
            sightings.c.caller == user, sightings.c.type == kind, sightings.c.id == number)).first():
            return DontKnow("not_shown")
        if row is not None and row.state == "known":
            stale = min(row.generation, oldest) < generation
            if stale and not self._serve:
                return DontKnow("unverified")
            media = self._media(connection, match.endpoint.id)
            return reply(request, 200, media, _body(row.body, request), _age(row.observed), stale)
        if match.endpoint.own or tight or (row is not None and row.state == "doubt"):
            return DontKnow("in_doubt" if row is not None and row.state == "doubt" else "never_seen")
        return self._absent(connection, match, request, row, generation)

    def _absent(
        self, connection: Connection, match: Match, request: Request, row: Any, generation: int
    ) -> Answer | DontKnow:
        assert match.endpoint is not None
        kind = match.endpoint.resource
        whole = connection.execute(select(collections).where(collections.c.type == kind)).first()
        source = row if row is not None else whole if whole is not None and whole.complete else None
        if source is None:
            return DontKnow("never_seen")
        if _creating(connection, str(kind)):
            return DontKnow("in_doubt")
        stale = source.generation < generation
        if stale and not self._serve:
            return DontKnow("unverified")
        shape = connection.execute(select(shapes).where(
            shapes.c.endpoint == match.endpoint.id, shapes.c.status == 404)).first()
        media, body = (shape.media, shape.body) if shape is not None else (JSON, NOT_FOUND)
        return reply(request, 404, media, body, _age(source.observed), stale)

    def _list(
        self, connection: Connection, match: Match, resource: Resource, request: Request, user: str
    ) -> Answer | DontKnow:
        assert match.endpoint is not None
        filters = filter_of(match.endpoint, request.query)
        if filters is None:
            return DontKnow("unknown_query")
        kind, generation = resource.name, int(setting_of(connection, "generation", "0"))
        whole = connection.execute(select(collections).where(collections.c.type == kind)).first()
        if whole is None:
            return DontKnow("incomplete")
        if _creating(connection, kind):
            return DontKnow("in_doubt")
        rows = self._rows(connection, kind, whole.version)
        oldest, observed, chosen = whole.generation, whole.observed, None
        if whole.complete and whole.ordered and rows is not None and not self._knowledge.tightened(connection, kind):
            verdicts = [selects(filters, row[2]) for row in rows]
            order = in_order(resource, [row[2] for row in rows])
            if order is not None and None not in verdicts:
                chosen = [rows[position] for position in order if verdicts[position]]
        if chosen is None:
            view = connection.execute(select(views).where(
                views.c.caller == user, views.c.type == kind, views.c.filters == json.dumps(filters))).first()
            if view is None:
                return DontKnow("incomplete" if rows is not None else "in_doubt")
            chosen = self._viewed(connection, kind, json.loads(view.ids))
            oldest, observed = view.generation, view.observed
        if chosen is None:
            return DontKnow("in_doubt")
        stale = min([oldest, *(row[3] for row in chosen)]) < generation
        if stale and not self._serve:
            return DontKnow("unverified")
        text = "[" + ",".join(row[1] for row in chosen) + "]"
        age = _age(min([observed, *(row[4] for row in chosen)]))
        return reply(request, 200, self._media(connection, match.endpoint.id), _body(text, request), age, stale)

    def _rows(
        self, connection: Connection, kind: str, version: int
    ) -> list[tuple[str, str, dict[str, Any], int, int]] | None:
        """All known records of a resource; None while one is in doubt."""
        cached = self._cache.get(kind)
        if cached is not None and cached[0] == version:
            return cached[1] if cached[1] is not _DOUBT else None
        found = connection.execute(select(records).where(records.c.type == kind, records.c.state != "gone")).all()
        rows = _DOUBT if any(row.state == "doubt" for row in found) else [
            (row.id, row.body, json.loads(row.body), row.generation, row.observed) for row in found]
        self._cache[kind] = (version, rows)
        return rows if rows is not _DOUBT else None

    def _viewed(
        self, connection: Connection, kind: str, ids: list[str]
    ) -> list[tuple[str, str, dict[str, Any], int, int]] | None:
        chosen = select(records).where(records.c.type == kind, records.c.state == "known")
        known = {row.id: row for row in connection.execute(chosen)}
        if not known.keys() >= set(ids):
            return None
        return [(n, known[n].body, {}, known[n].generation, known[n].observed) for n in ids]

    def _media(self, connection: Connection, endpoint: str) -> str:
        found = connection.execute(select(shapes.c.media).where(
            shapes.c.endpoint == endpoint, shapes.c.status == 200)).scalar()
        return str(found) if found else JSON


_DOUBT: list[tuple[str, str, dict[str, Any], int, int]] = []


def _creating(connection: Connection, kind: str) -> bool:
    """Whether a record may be coming into being or going right now."""
    return connection.execute(select(writes.c.id).where(
        writes.c.type == kind, writes.c.kind != "update", writes.c.ended.is_(None))).first() is not None


def _body(text: str, request: Request) -> bytes:
    origin = json.dumps(f"{request.scheme}://{request.host}", ensure_ascii=False)[:-1]
    return text.replace(MARK, origin).encode()


def _age(observed: int) -> float:
    return (time.time_ns() - observed) / 1e9
