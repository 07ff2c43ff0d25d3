"""Writes exchanges down: exchange → event → journal, and waits for the disk where the settings say so."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from sidecar.contract import Contract
from sidecar.events.document import to_event
from sidecar.events.subject import subject
from sidecar.exchange import Exchange
from sidecar.journal.writer import PATIENCE, Journal, RecordingFailed, Ticket
from sidecar.storage.encryption import Vault
from sidecar.telemetry import tracing

__all__ = ["Recorder", "RecordingFailed"]
AT_ONCE: Final = 32 << 10
"""Bytes of bodies that an event loop looks through for secrets itself: of more it is the client who says how long."""


class Recorder:
    """One per worker."""

    def __init__(self, journal: Journal, contract: Contract, node: str, body_cap: int, vault: Vault) -> None:
        self._journal = journal
        self._contract = contract
        self._secrets = contract.secrets
        self._node = node
        self._body_cap = body_cap
        self._vault = vault

    def record(self, exchange: Exchange) -> None:
        """Returns when the exchange is where RECORD wants it. Raises RecordingFailed."""
        ticket, since = self._append(exchange), time.time_ns()
        ticket.wait(PATIENCE)
        tracing.recorded(exchange, since)

    async def recorded(self, exchange: Exchange) -> None:
        """The same on an event loop."""
        if _takes_long(exchange):
            ticket = await asyncio.get_running_loop().run_in_executor(None, self._append, exchange)
        else:
            ticket = self._append(exchange)
        since = time.time_ns()
        await ticket.on_disk()
        tracing.recorded(exchange, since)

    def _append(self, exchange: Exchange) -> Ticket:
        exchange.patient_id = subject(self._contract, exchange)
        event, bodies = to_event(
            exchange, node=self._node, contract_secrets=self._secrets, body_cap=self._body_cap, vault=self._vault
        )
        held = sum(len(side["body"]["content"]) for side in bodies["http"].values()) if bodies else 0
        return self._journal.append(event, bodies, len(exchange.request.target) + held)

    def ready(self) -> bool:
        """Whether what is done now can be recorded, as far as that can be known before it is done."""
        return self._journal.ready()

    def close(self) -> None:
        self._journal.close()


def _takes_long(exchange: Exchange) -> bool:
    """Whether to see what may be written down of it may take long. What was packed by a client may be of any size."""
    request, response = exchange.request, exchange.response
    if request.body and request.header("content-encoding") is not None:
        return True
    return len(request.body) + (0 if response is None else len(response.body)) > AT_ONCE
