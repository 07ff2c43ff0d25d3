"""Answers HAProxy's agent-check: one line asks, one line answers, in HAProxy's words (its manual, `agent-check`).

An empty line asks about the sidecar itself: `ready up`, or `drain` when it is about to end (setting DRAIN): what is
under way goes on, new requests go elsewhere. An endpoint's id asks whether the standby could answer for it: `ready up`,
or `down` with the reason. What it does not know it says nothing to; HAProxy then keeps what it last heard, and its
health checks decide.
"""

from __future__ import annotations

import logging
import re
import socketserver
import threading
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)
LONGEST: Final = 200
"""Bytes of a question."""
PATIENCE: Final = 2.0
"""Seconds for it to come."""
Ready = Callable[[str], tuple[bool, str]]


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


def start(listen: tuple[str, int], ready: Ready, draining: Callable[[], bool]) -> None:
    """Answers from now on. An address that cannot be had is logged: health checks decide without the agent."""
    try:
        Agent(listen, ready, draining)
    except OSError as error:
        where = f"{listen[0]}:{listen[1]}"
        log.error("no agent at %s: %s", where, error.strerror, extra={"fields": {"event.action": "agent_failed"}})


class Agent(socketserver.ThreadingTCPServer):
    """Listens in a thread of its own."""

    allow_reuse_address = allow_reuse_port = True  # while a new control plane takes over from an old one
    daemon_threads = True

    def __init__(self, listen: tuple[str, int], ready: Ready, draining: Callable[[], bool]) -> None:
        self.ready, self.draining = ready, draining
        super().__init__(listen, _Handler)
        threading.Thread(target=self.serve_forever, name="agent", daemon=True).start()


class _Handler(socketserver.StreamRequestHandler):
    timeout = PATIENCE
    server: Agent

    def handle(self) -> None:
        try:
            question = self.rfile.readline(LONGEST).decode("ascii", "replace")
            said = answer(question, self.server.ready, self.server.draining())
        except OSError:
            return
        except Exception:
            log.exception("the agent cannot say", extra={"fields": {"event.action": "agent_failed"}})
            return
        if said is not None:
            self.wfile.write(f"{said}\n".encode())
