"""Copies of requests that a balancer sent to the upstream itself (nginx's mirror, in the failover mode).

They come to a path of our own, so that whatever does not know it for what it is cannot take a copy for a request: it is
never sent on, and what it asks for is never done. From a copy we learn who asked for what, which is written down; not
what came of it. A copied write puts in doubt what it may have changed (`standby.mirrored_writes`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from sidecar.contract import Contract, Match
from sidecar.exchange import Exchange, Purpose
from sidecar.http.headers import COPIED, COPY, COPY_TARGET
from sidecar.http.messages import Headers, Request, Response, first
from sidecar.http.problem import problem
from sidecar.standby.standby import Standby

PATH: Final = "/.understudy/copy"
_KEY: Final = re.compile(r"[0-9a-f]{1,32}")


def is_copy(request: Request) -> bool:
    """Whether the request is one, or says so."""
    return request.path == PATH


def key_of(headers: Headers) -> str | None:
    """The key of the copy that was made of this request before it came to us. Framing drops it from strangers."""
    found = first(headers, COPIED) or ""
    return found if _KEY.fullmatch(found) else None


def original(copy: Request) -> Request | None:
    """The request that was copied; None when whoever sent it is no trusted proxy, or has not said what it was."""
    target = copy.header(COPY_TARGET)
    if target is None or not target.startswith("/") or not _KEY.fullmatch(copy.header(COPY) or ""):
        return None
    return replace(copy, target=target)


class Copies:
    """One per worker."""

    def __init__(self, contract: Contract, standby: Standby) -> None:
        self._contract = contract
        self._standby = standby

    def take(self, exchange: Exchange, user: str | None) -> Response:
        """Writes into the exchange what was asked, and heeds that it went past us. The balancer drops the answer."""
        copied = original(exchange.request)
        if copied is None:
            exchange.reason = "bad_copy"
            return problem(403, "Copies are taken from TRUSTED_PROXIES only, with the fields that mark them.")
        key = copied.header(COPY) or ""
        exchange.request, exchange.purpose, exchange.reason = copied, Purpose.COPY, "copy"
        match = self._contract.match(copied.method, copied.path)
        exchange.describe(self._contract, match, user)
        self._heed(match, copied, key, user)
        return Response(204, [("Cache-Status", "understudy; detail=copy")])

    def _heed(self, match: Match, copied: Request, key: str, user: str | None) -> None:
        endpoint = match.endpoint
        if endpoint is not None and endpoint.action.writes:
            self._standby.passed(key, match, copied, user)
        elif endpoint is None and match.known_path and copied.method not in ("GET", "HEAD", "OPTIONS"):
            self._standby.mark_gap("a write outside the contract went past us", under_way=True)
