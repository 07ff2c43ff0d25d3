"""Asks the upstream, gently, for what the standby has not seen: every list, then each record still in doubt."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, select

from sidecar.contract import Action, Contract
from sidecar.gateway.exchange import Request, Response
from sidecar.standby.standby import Standby
from sidecar.standby.store import reader, records

Ask = Callable[[str, str], tuple[Response, int, int] | None]
"""(method, target) → answer with its stamps, or None when the upstream failed or users wait."""
Progress = Callable[[str, int, int], None]


class Backfill:
    """One run at a time. `user` is whose credentials `ask` uses; `rate` is requests a second at the most."""

    def __init__(
        self, contract: Contract, engine: Engine, ask: Ask, standby: Standby, rate: float, user: str,
        progress: Progress = lambda name, done, total: None, sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._contract, self._engine, self._ask, self._standby, self._user = contract, engine, ask, standby, user
        self._pause, self._progress, self._sleep = 1 / rate, progress, sleep

    def run(self) -> dict[str, dict[str, Any]]:
        """Goes through the resources once; stops as soon as `ask` gives nothing. Returns completeness."""
        for name in self._contract.resources:
            listing = self._contract.endpoint_for(name, Action.LIST)
            if listing is not None and not self._standby.completeness()[name]["complete"]:
                if "{" not in listing.template and not self._fetch(listing.template):
                    break
            if not self._items(name):
                break
        return self._standby.completeness()

    def _items(self, name: str) -> bool:
        self._standby.flush()
        reading = self._contract.endpoint_for(name, Action.READ)
        with reader(self._engine) as connection, connection.begin():
            missing = list(connection.execute(select(records.c.id).where(
                records.c.type == name, records.c.state == "doubt")).scalars())
        for done, number in enumerate(missing if reading is not None else []):
            assert reading is not None
            self._progress(name, done, len(missing))
            if not self._fetch(reading.template.replace("{" + str(reading.id_param) + "}", quote(number, safe=""))):
                return False
        self._progress(name, len(missing), len(missing))
        return True

    def _fetch(self, target: str) -> bool:
        self._sleep(self._pause)
        given = self._ask("GET", target)
        if given is None or given[0].status >= 500:
            return False
        response, t0, t1 = given
        match = self._contract.match("GET", target)
        self._standby.learn(match, Request("GET", target, []), response, self._user, t0, t1, compare=False)
        return True
