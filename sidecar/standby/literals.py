"""Literal replies: the upstream's own answer to the same question by the same caller, while nothing has happened since
that could have changed it. They need no proof.

A question is the method, the target, who asks by what host and in what manner, what a pure call is given, and the
fields that select: Accept, and those that the answer's Vary named. And what a caller was refused, until it is shown to
them again: nothing from before is. The table is bounded; the oldest go first.
"""

from __future__ import annotations

import time
from hashlib import sha256
from typing import Any, Final

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    String,
    Table,
    Text,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from sidecar.contract import Endpoint, Match
from sidecar.http.content import LARGEST_KEPT, Unreadable, decode_body
from sidecar.http.determining import is_aged, manner, selecting, varies
from sidecar.http.messages import Headers, Request, Response
from sidecar.standby.answer import Answer
from sidecar.standby.observations import LIMIT
from sidecar.storage.database import metadata
from sidecar.storage.encrypted_columns import LockedBytes
from sidecar.storage.remembered import remembered, remembers

KEPT: Final = 10_000
"""Replies that are kept."""
FORBIDDEN: Final = (403, 404, 410)
"""Statuses by which an upstream refuses a caller what is there, or says that it is not."""
LEFT_OUT: Final = frozenset(
    [
        "set-cookie",
        "date",
        "age",
        "content-length",
        "content-encoding",
        "transfer-encoding",
        "connection",
        "cache-status",
        "x-request-id",
        "x-runtime",
        "server-timing",
        "traceparent",
        "via",
        "keep-alive",
    ]
)
"""Fields of an answer that were that answer's alone."""

literals: Final = Table(
    "literals",
    metadata,
    Column("question", String(64), primary_key=True),
    Column("endpoint", String(200), nullable=False, index=True),
    Column("selected", String(64), nullable=False),
    Column("vary", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("headers", Text, nullable=False),
    Column("body", LockedBytes, nullable=False),
    Column("stamp", BigInteger, nullable=False),
    Column("observed", BigInteger, nullable=False, index=True),
)
"""`question` and `selected` are digests: of the question, and of the fields that `vary` names as they were sent."""
_ASKED: Final = literals.c.question == bindparam("asked")
_FIND: Final = select(literals).where(_ASKED, literals.c.stamp >= bindparam("since"))
_REFUSED: Final = select(literals.c.status, literals.c.stamp).where(_ASKED)
_ADD: Final = insert(literals)
_SET: Final = update(literals).where(_ASKED)
_FORGET: Final = delete(literals).where(_ASKED)
REFUSED: Final = "refused"
"""In place of an endpoint: what a caller was refused."""
_ANY_REFUSED: Final = remembered(
    select(literals.c.question).where(literals.c.endpoint == REFUSED).limit(1), despite=(_ADD, _SET)
)


def remember(
    connection: Connection, endpoint: Endpoint, request: Request, response: Response, caller: str, t0: int,
    secrets: frozenset[str],
) -> None:  # fmt: skip
    """Keeps an answer that may be given again word for word; nothing that holds a secret."""
    names = varies(response)
    if not _is_question(endpoint, request) or request.method == "HEAD" or names is None:
        return
    if response.status not in ((200, 404, 410) if endpoint.safe else (200,)):
        return
    if is_aged(response) or request.header("range") is not None:
        return
    body = _plain(response, public=endpoint.public, secrets=secrets)
    if body is None:
        return
    key = _question(endpoint, request, caller)
    row: dict[str, Any] = {
        "endpoint": endpoint.id,
        "selected": _selected(request, names),
        "vary": orjson.dumps(names).decode(),
        "status": response.status,
        "headers": orjson.dumps(_kept(response)).decode(),
        "body": body,
        "stamp": t0,
        "observed": time.time_ns(),
    }
    if connection.execute(_SET, {**row, "asked": key}).rowcount == 0:
        connection.execute(_ADD, {**row, "question": key})
        if row["observed"] % 64 == 0:
            _bound(connection)


def words(endpoint: Endpoint, request: Request, response: Response) -> int:
    """Tells an answer from others to the same target, by what is kept of it beside its body: its fields, and those of
    the question."""
    asked = [request.scheme, request.host, request.header("accept"), *selecting(request, endpoint.headers)]
    asked += [request.header(name) for name in varies(response) or ()]
    return hash((*asked, *_kept(response)))


def _kept(response: Response) -> Headers:
    return [(name, value) for name, value in response.headers if name.lower() not in LEFT_OUT]


def recall(connection: Connection, endpoint: Endpoint, request: Request, caller: str, since: int) -> Answer | None:
    """The upstream's words to the same question, asked at the stamp `since` or later."""
    if not _is_question(endpoint, request) or request.header("range") is not None:
        return None
    key = _question(endpoint, request, caller)
    row = connection.execute(_FIND, {"asked": key, "since": since}).one_or_none()
    if row is None or row.selected != _selected(request, orjson.loads(row.vary)):
        return None
    age = max(0.0, (time.time_ns() - row.observed) / 1e9)
    return Answer(row.status, [(name, value) for name, value in orjson.loads(row.headers)], bytes(row.body), age)


def note_refusal(connection: Connection, match: Match, request: Request, status: int, caller: str, t0: int) -> None:
    """Keeps that the upstream refused this caller what is asked for, by the stamp `t0`."""
    if match.endpoint is None or match.endpoint.public or status not in FORBIDDEN:
        return
    if refused(connection, match, request, caller)[1] < t0:
        forget_refusal(connection, match, request, caller)
        row = {"selected": "", "vary": "[]", "status": status, "headers": "[]", "body": b"", "stamp": t0}
        row |= {"question": _asked_for(match, request, caller), "endpoint": REFUSED, "observed": time.time_ns()}
        connection.execute(insert(literals).values(**row))


def forget_refusal(connection: Connection, match: Match, request: Request, caller: str) -> None:
    """This caller has been shown what was asked for."""
    if connection.scalar(_ANY_REFUSED) is not None:
        connection.execute(_FORGET, {"asked": _asked_for(match, request, caller)})


def refused(connection: Connection, match: Match, request: Request, caller: str) -> tuple[int, int]:
    """The status with which this caller was last refused what is asked for, and its stamp; zeros: they were not."""
    return _refusal(connection, _asked_for(match, request, caller))


def refused_record(connection: Connection, kind: str, record: str, caller: str) -> int:
    """The stamp at which this caller was last refused the record itself, or 0."""
    return _refusal(connection, _digest("refused", caller, kind, record))[1]


def _refusal(connection: Connection, key: str) -> tuple[int, int]:
    if remembers(connection) and connection.scalar(_ANY_REFUSED) is None:
        return 0, 0
    row = connection.execute(_REFUSED, {"asked": key}).one_or_none()
    return (0, 0) if row is None else (row.status, row.stamp)


def has_any(connection: Connection, endpoint: str) -> bool:
    """Whether any reply of the endpoint is kept."""
    return connection.scalar(select(literals.c.status).where(literals.c.endpoint == endpoint).limit(1)) is not None


def _question(endpoint: Endpoint, request: Request, caller: str) -> str:
    accept = request.header("accept") or ""
    parts = [endpoint.id, caller, request.scheme, request.host, request.path, _query(request), accept]
    if manner(request):
        parts.append(manner(request))
    asked = sha256("\0".join([*parts, *selecting(request, endpoint.headers)]).encode("utf-8", "surrogateescape"))
    if not endpoint.safe:
        asked.update(b"\0\0" + (request.header("content-type") or "").encode("utf-8", "surrogateescape") + b"\0")
        asked.update(request.body)
        for piece in request.spool.pieces() if request.spool is not None else ():
            asked.update(piece)
    return asked.hexdigest()


def _is_question(endpoint: Endpoint, request: Request) -> bool:
    """Whether the same may be asked again and mean the same: a read without a body, or a call that is pure."""
    return not request.size and request.method in ("GET", "HEAD") if endpoint.safe else endpoint.pure


def _asked_for(match: Match, request: Request, caller: str) -> str:
    """Tells what a caller may be refused: a record, by whichever endpoint reads it; else the endpoint, by its path's
    parameters and, of a list or a page, its query."""
    endpoint = match.endpoint
    assert endpoint is not None
    if endpoint.safe and match.record_id is not None:
        return _digest("refused", caller, endpoint.resource or "", match.record_id)
    params = [value for _, value in sorted(match.params.items())]
    return _digest("refused", caller, endpoint.id, *params, _query(request) if endpoint.safe else "")


def _digest(*parts: str) -> str:
    return sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _query(request: Request) -> str:
    """In the order of its names; of one that is given again the order counts, and how it is written: what another
    spelling means is the upstream's to say."""
    return "&".join(sorted(request.query.split("&"), key=lambda pair: pair.partition("=")[0]))


def _selected(request: Request, names: list[str]) -> str:
    return _digest(*(f"{name}={request.header(name) or ''}" for name in names))


def _plain(response: Response, *, public: bool, secrets: frozenset[str]) -> bytes | None:
    """The body, decoded; None for one that is not kept."""
    try:
        body = decode_body(response, LIMIT)
    except Unreadable:
        return None
    if len(body) > LARGEST_KEPT:
        return None
    if "json" not in (response.header("content-type") or ""):
        return body if public else None
    if any(f'"{name}"'.encode() in body for name in secrets):
        return None
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return body


def _bound(connection: Connection) -> None:
    if (connection.scalar(select(func.count()).select_from(literals)) or 0) > KEPT:
        oldest = select(literals.c.observed).order_by(literals.c.observed).offset(KEPT // 10).limit(1).scalar_subquery()
        connection.execute(delete(literals).where(literals.c.observed < oldest))
