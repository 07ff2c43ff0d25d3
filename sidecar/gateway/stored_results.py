"""Stores a call's result as a record (a screening as a note), in the caller's own name, exactly once per answer.

The record is an entry of the outbox, durable before the caller's answer leaves: it is sent at once with the caller's
own credentials, or when the upstream can be asked again, and looked for before it is ever sent twice: the id of the
exchange in its text makes it unlike any other. A failure to store is logged, and never fails the call. While the
database cannot be written, results wait in memory and are tried again; a kill -9 just then loses them, and the log says
which they were.
"""

from __future__ import annotations

import logging
import threading
import time
from queue import SimpleQueue
from typing import Any, Final

import orjson
from sqlalchemy.exc import SQLAlchemyError

from sidecar.access.identities import People
from sidecar.contract import Action, Contract, Endpoint
from sidecar.exchange import Exchange, Identity, Outcome
from sidecar.http.content import Unreadable, decode_body
from sidecar.http.credentials import Credentials, parse_authorization
from sidecar.http.headers import upstream_fields
from sidecar.http.messages import Request, Response
from sidecar.standby.answer import Answer, DontKnow
from sidecar.standby.observations import LIMIT
from sidecar.standby.standby import Standby
from sidecar.standby.writes.intents import Write
from sidecar.takeover.circuit import State
from sidecar.takeover.coordinator import Switchboard
from sidecar.upstream.connection import Call
from sidecar.upstream.internal_client import Errands
from sidecar.upstream.scheduler import Result

log = logging.getLogger(__name__)
AGAIN: Final = 0.5
"""Seconds between tries to store what could not be stored."""
PATIENCE: Final = 5.0
"""Seconds that the end of a worker waits for them."""


class NotNow(Exception):
    """The outbox could not be written."""


class Results:
    """One per worker; used by threads beside its loop."""

    def __init__(
        self, contract: Contract, people: People, standby: Standby, switchboard: Switchboard, errands: Errands, via: str
    ) -> None:
        self._contract = contract
        self._people = people
        self._standby = standby
        self._switchboard = switchboard
        self._errands = errands
        self._via = via
        self._late: SimpleQueue[tuple[Exchange, Endpoint, Response, Credentials] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="results", daemon=True)
        self._thread.start()

    def are_kept(self, exchange: Exchange, response: Response) -> bool:
        """Whether the contract says that it is the result of a call which is to be stored; from memory."""
        endpoint = self._contract.endpoints.get(exchange.endpoint_id)
        if endpoint is None or not endpoint.stores or not 200 <= response.status < 300:
            return False
        return exchange.identity is Identity.VERIFIED

    def keep(self, exchange: Exchange, response: Response) -> None:
        """Stores the result of a call that succeeded, and that `are_kept`. In a thread. Raises nothing."""
        endpoint = self._contract.endpoints[exchange.endpoint_id]
        caller = parse_authorization(exchange.request.header("authorization"))
        if caller is not None and not self._try(exchange, endpoint, response, caller):
            self._late.put((exchange, endpoint, response, caller))

    def close(self) -> None:
        """Waits a little for what is not stored yet."""
        self._late.put(None)
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        while (late := self._late.get()) is not None:
            while not self._retry(*late):
                time.sleep(AGAIN)

    def _retry(self, exchange: Exchange, endpoint: Endpoint, response: Response, caller: Credentials) -> bool:
        """Stores it unless the outbox has it after all: what failed may have failed after it was written."""
        try:
            stored = self._standby.outbox.has(exchange.id)
        except SQLAlchemyError:
            return False
        return stored or self._try(exchange, endpoint, response, caller)

    def _try(self, exchange: Exchange, endpoint: Endpoint, response: Response, caller: Credentials) -> bool:
        """False: the database could not be written, now. What fails otherwise would fail again."""
        fields = {"event.action": "result_not_stored", "event.id": exchange.id}
        try:
            self._keep(exchange, endpoint, response, caller)
        except (SQLAlchemyError, NotNow) as error:
            kind = type(error).__name__
            log.warning("the result of a call is not stored yet (%s)", kind, extra={"fields": fields})
            return False
        except Exception:
            log.exception("the result of a call could not be stored", extra={"fields": fields})
        return True

    def _keep(self, exchange: Exchange, endpoint: Endpoint, response: Response, caller: Credentials) -> None:
        user = caller.user
        into = self._contract.endpoint_for(endpoint.stores["resource"], Action.CREATE)
        if into is None or exchange.patient_id is None:
            raise LookupError(endpoint.id)
        body = orjson.dumps(self._record(exchange, endpoint, response, user))
        request = _request(exchange.request, into.template, body)
        fields = upstream_fields(request, exchange.id, exchange.traceparent, self._via)
        write = self._standby.begin_write(self._contract.match("POST", into.template), request, user)
        if write is None:
            raise NotNow
        subject = self._contract.resources[write.kind].references.get(endpoint.stores["subject"])
        if subject is not None:  # its call has just succeeded
            write.vouched = frozenset([(subject, exchange.patient_id)])
        now = not write.queued and self._switchboard.state(into.id).circuit.state is not State.OPEN
        now = now and not self._standby.owns(into.resource)
        taken = self._standby.accept(
            write, request, exchange.id, fields, user, caller.password, sent=now, answered=False, under_way=now
        )
        if not isinstance(taken, Answer) or taken.status >= 400:
            self._standby.end_write(write, None, Outcome.FAILURE, user)
            if isinstance(taken, DontKnow) and taken.reason in ("database", "seal_key"):
                raise NotNow
            reason = str(taken.status) if isinstance(taken, Answer) else taken.reason if taken else "nothing to say"
            log.error("the result of a call is not taken: %s", reason, extra={"fields": {"understudy.reason": reason}})
            raise LookupError(reason)
        if now:
            self._send(into, write, Call("POST", into.template, fields, body), user)

    def _send(self, into: Endpoint, write: Write, call: Call, user: str) -> None:
        def settle(result: Result) -> None:
            try:
                self._standby.end_write(write, result.response, result.attempt.outcome, user)
            except Exception:  # the entry stays: replay looks for it when its time has come
                log.exception("a stored result is not settled", extra={"fields": {"event.action": "settle_failed"}})

        self._errands.submit(into, call, settle=settle)

    def _record(self, exchange: Exchange, endpoint: Endpoint, response: Response, user: str) -> dict[str, Any]:
        try:
            result = orjson.loads(decode_body(response, LIMIT))
        except Unreadable:
            raise LookupError("the answer cannot be read") from None
        stores = endpoint.stores
        overall = result.get("overall") if isinstance(result, dict) else None
        machine = {"endpoint": endpoint.id, "exchange": exchange.id, "result": result}
        record: dict[str, Any] = {
            stores["title"]: f"{stores['called']}: {overall}",
            stores["body"]: f"{stores['called']}: {overall}\n\n{orjson.dumps(machine).decode()}",
            stores["subject"]: _number(exchange.patient_id or ""),
        }
        own = self._people.own(user)
        if own is not None and len(own) == 1:
            record[stores["author"]] = _number(next(iter(own)))
        return record


def _request(asked: Request, target: str, body: bytes) -> Request:
    """The caller's own request, turned into the create: their credentials, their host, another body."""
    dropped = ("content-type", "content-encoding", "content-length", "accept")
    kept = [(n, v) for n, v in asked.headers if n.lower() not in dropped]
    fields = [*kept, ("Content-Type", "application/json"), ("Accept", "application/json")]
    return Request("POST", target, fields, body, asked.remote, asked.scheme, asked.host)


def _number(ident: str) -> int | str:
    return int(ident) if ident.isdecimal() else ident
