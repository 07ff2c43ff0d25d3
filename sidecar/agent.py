"""Answers HAProxy's agent-check: one line asks, one line answers, in HAProxy's words (its manual, `agent-check`).

An empty line asks about the sidecar itself: `ready up`, or `drain` once somebody has said that it is to be emptied
before a restart: connections that are there go on, new ones go elsewhere. An endpoint's id asks whether the standby
could answer for it: `ready up`, or `down` with the reason. What it does not know it says nothing to; HAProxy then keeps
what it last heard, and its health checks decide.
"""

from __future__ import annotations

import logging
import re
import socketserver
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)
LONGEST: Final = 200
"""Bytes of a question."""
PATIENCE: Final = 2.0
"""Seconds for it to come."""
Ready = Callable[[str], tuple[bool, str]]


def drain_file(data: Path) -> Path:
    """While it exists, this sidecar is to get no new requests."""
    return data / "drain"


def answer(question: str, ready: Ready, draining: bool) -> str | None:
    """The line that answers, without its end; None: nothing is known of what was asked for. Pure."""
    asked = question.strip()
    if draining:
        return "drain"
    if not asked:
        return "ready up"
    try:
        able, why = ready(asked)
    except LookupError:
        return None
    return "ready up" if able else f"down #{re.sub(r'[^ -~]', ' ', why)}"


class Agent(socketserver.ThreadingTCPServer):
    """Listens in a thread of its own."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, listen: tuple[str, int], ready: Ready, data: Path) -> None:
        self.ready, self.data = ready, data
        super().__init__(listen, _Handler)
        threading.Thread(target=self.serve_forever, name="agent", daemon=True).start()


class _Handler(socketserver.StreamRequestHandler):
    timeout = PATIENCE
    server: Agent

    def handle(self) -> None:
        try:
            question = self.rfile.readline(LONGEST).decode("ascii", "replace")
            said = answer(question, self.server.ready, drain_file(self.server.data).exists())
        except OSError:
            return
        except Exception:
            log.exception("the agent cannot say", extra={"fields": {"event.action": "agent_failed"}})
            return
        if said is not None:
            self.wfile.write(f"{said}\n".encode())
