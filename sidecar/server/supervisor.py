"""The supervisor: starts the sidecar's processes, starts one again that ends, and changes or ends them without loss.

Promises. SIGHUP (reload of settings, contract and program): the supervisor runs itself anew in its own place; the new
gateway serves the same socket, and only when it is ready the old one finishes what it has and ends. Where the new
program or its settings are no good, the old goes on, and says why. SIGTERM: health checks fail first, for `DRAIN`; then
no connection is taken any more, what is under way is finished, for at most `GRACE`, and all ends. All processes share
one process group; a child whose parent dies is killed by the kernel, so that nothing outlives the supervisor.
"""

from __future__ import annotations

import logging
import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sidecar.server.handover import Handover, Left
from sidecar.server.phase import Phase, Service
from sidecar.server.processes import SIGNALS, fault, listen, live, notify, send, unheard

log = logging.getLogger(__name__)
BEHIND: Final = 10.0
"""Seconds that processes which no user waits for get to end by themselves."""
RESTART_AFTER: Final = (0.1, 0.5, 2.0, 5.0)
"""Seconds before a child that ended is started again: the longer, the more often it ended within a minute."""
START_WITHIN: Final = 60.0
"""Seconds for a new child to be ready, where an old one goes on meanwhile."""


@dataclass(frozen=True)
class Role:
    """A kind of child. `run` gets a descriptor: a byte written there by each of its `parts` says that it is ready; and
    whether another of its kind serves until then."""

    name: str
    run: Callable[[int, bool], None]
    parts: int
    grace: float
    alone: bool = False
    """Never two at once: the old ends before the new starts."""


@dataclass
class Child:
    """A running child."""

    pid: int
    role: Role
    ready: int | None = None
    """Where its parts say that they are ready; None once all have."""
    missing: int = 0
    started: float = field(default_factory=time.monotonic)
    until: float | None = None
    """When it is killed, if it was told to end."""


class Supervisor:
    """`roles` in the order in which they start; they end in the opposite one."""

    def __init__(self, roles: list[Role], service: Service, drain: float, left: list[Left]) -> None:
        self._roles = {role.name: role for role in roles}
        self._service = service
        self._drain = drain
        self._children = {
            child.pid: Child(child.pid, self._roles[child.role], until=child.until)
            for child in left
            if child.role in self._roles
        }
        self._due: dict[str, float] = {}
        self._ended: dict[str, list[float]] = {name: [] for name in self._roles}
        self._asked: set[int] = set()
        self.on_reload: Callable[[str | None], None] = lambda refused: None
        """Told what became of a reload: None, or why all goes on as it was."""
        self.renewed = False
        """This is a new generation, of which nobody was told yet."""

    def run(self, close: Callable[[], None], handover: Callable[[list[Left]], Handover]) -> None:
        """Works until SIGTERM or SIGINT. `close` stops listening for users; `handover` is asked before an exec."""
        for number in SIGNALS:
            signal.signal(number, lambda number, _frame: self._asked.add(number))
        listen()
        for role in self._roles.values():
            if role.alone and self._running(role.name):
                self._dismiss(role.name, but=None)
            else:
                self._start(role)
        while not self._asked & {signal.SIGTERM, signal.SIGINT}:
            self._look()
            if signal.SIGHUP in self._asked and not self._changing():
                self._asked.discard(signal.SIGHUP)
                self._renew(handover)
            self._wait(0.05)
        self._end(close)

    # Children -------------------------------------------------------------------------------------------------------

    def _start(self, role: Role) -> None:
        self._due.pop(role.name, None)
        parent, (reading, writing) = os.getpid(), os.pipe()
        relieves = any(c.role is role and not c.missing and c.until is None for c in self._children.values())
        with unheard():
            pid = os.fork()
            if pid == 0:
                os.close(reading)
                live(role.name, lambda: role.run(writing, relieves), parent)
        os.close(writing)
        self._children[pid] = Child(pid, role, reading, role.parts)

    def _wait(self, seconds: float) -> None:
        """For so long, or until a child says that it is ready."""
        select.select([child.ready for child in self._children.values() if child.ready is not None], [], [], seconds)

    def _look(self) -> None:
        """What ended, what is ready, what is overdue."""
        self._reap()
        for child in list(self._children.values()):
            self._hear(child)
            if time.monotonic() > (child.until or self._late(child)):
                send(child.pid, signal.SIGKILL)
        draining = self._service.phase is Phase.DRAINING
        for name, at in list(self._due.items()):
            if not draining and time.monotonic() >= at and not (self._roles[name].alone and self._running(name)):
                self._start(self._roles[name])

    def _late(self, child: Child) -> float:
        """When a child that is still not ready is given up: never, if there is no other."""
        others = any(c.role is child.role and not c.missing for c in self._children.values())
        return child.started + START_WITHIN if child.missing and others else math.inf

    def _hear(self, child: Child) -> None:
        if child.ready is None or not select.select([child.ready], [], [], 0)[0]:
            return
        said = os.read(child.ready, child.missing)
        child.missing -= len(said)
        if said and child.missing:
            return
        os.close(child.ready)
        child.ready = None
        if not child.missing:
            self._dismiss(child.role.name, but=child.pid)
            self._tell()

    def _tell(self) -> None:
        """Users may come once what serves them is ready; background work stands in nobody's way."""
        if self._service.phase is Phase.DRAINING:
            return
        able = {child.role.name for child in self._children.values() if not child.missing and child.until is None}
        serving = {role.name for role in self._roles.values() if not role.alone}
        now = Phase.SERVING if able >= serving else Phase.STARTING
        if self.renewed and now is Phase.SERVING and not self._changing():
            self.renewed = False
            notify("READY=1")
            self.on_reload(None)
        if now is not self._service.phase:
            self._service.phase = now
            log.info("the sidecar is %s", now.name.lower(), extra={"fields": {"event.action": now.name.lower()}})
            if now is Phase.SERVING:
                notify("READY=1")

    def _running(self, name: str) -> bool:
        return any(child.role.name == name for child in self._children.values())

    def _changing(self) -> bool:
        return bool(self._due) or any(child.missing for child in self._children.values())

    def _dismiss(self, name: str, but: int | None) -> None:
        """Tells the role's other children to end."""
        for child in self._children.values():
            if child.role.name == name and child.pid != but and child.until is None:
                child.until = time.monotonic() + child.role.grace
                send(child.pid, signal.SIGTERM)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self._children.pop(pid, None)
            if child is not None:
                if child.ready is not None:
                    os.close(child.ready)
                self._over(child, os.waitstatus_to_exitcode(status))

    def _over(self, child: Child, status: int) -> None:
        """One ended: was it to, does another of its role go on, or is it started again?"""
        name = child.role.name
        if self._service.phase is Phase.DRAINING:
            return
        if child.until is not None:
            if child.role.alone and not self._running(name):
                self._due[name] = time.monotonic()
            return
        fields = {"event.action": "process_ended", "role": name, "status": status}
        if any(other.role.name == name and other.until is None for other in self._children.values()):
            said = "did not start: the old one goes on" if child.missing else "ended: the new one is about to start"
            log.error("a process of the sidecar %s", said, extra={"fields": fields})
            for other in self._children.values():
                if other.role is child.role and other.missing and not child.missing:
                    send(other.pid, signal.SIGKILL)  # it was told that another serves until it is ready: it begins anew
            if self.renewed and child.missing:
                self.renewed = False
                notify("READY=1")
                self.on_reload(f"the new {name} {said}")
            return
        now = time.monotonic()
        self._ended[name] = [t for t in self._ended[name] if now - t < 60] + [now]
        pause = RESTART_AFTER[min(len(self._ended[name]), len(RESTART_AFTER)) - 1]
        self._due[name] = now + pause
        log.error(
            "a process of the sidecar ended and is started again", extra={"fields": {**fields, "restart_in": pause}}
        )
        self._tell()

    # A new program in this place --------------------------------------------------------------------------------------

    def _renew(self, handover: Callable[[list[Left]], Handover]) -> None:
        """Runs the program anew in this process, once a rehearsal of its start went well. Else goes on as it is."""
        command = [sys.executable, *sys.orig_argv[1:]]
        if said := fault([*command, "--rehearse"]):
            fields = {"event.action": "reload_refused", "reason": said}
            log.error("not reloaded, all goes on as it was: %s", said, extra={"fields": fields})
            self.on_reload(said)
            return
        # Until the new program listens for them, signals wait: unheard, they would end it.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        if self._asked & {signal.SIGTERM, signal.SIGINT}:
            return  # there was one while the start was rehearsed
        notify("RELOADING=1")
        log.info("reloading", extra={"fields": {"event.action": "reload"}})
        left = [Left(child.pid, child.role.name, child.until) for child in self._children.values()]
        handover(left).leave(os.environ)
        logging.shutdown()
        os.execv(command[0], command)

    # The end --------------------------------------------------------------------------------------------------------

    def _end(self, close: Callable[[], None]) -> None:
        self._service.phase = Phase.DRAINING
        notify("STOPPING=1")
        pause = self._drain if signal.SIGTERM in self._asked else 0.0
        log.info("the sidecar ends", extra={"fields": {"event.action": "draining", "seconds": pause}})
        until = time.monotonic() + pause
        while time.monotonic() < until and signal.SIGINT not in self._asked:
            self._look()
            time.sleep(0.05)
        close()
        first, *others = self._roles
        for names in ([first], others):
            for name in names:
                self._dismiss(name, but=None)
            while any(self._running(name) for name in names):
                self._look()
                time.sleep(0.02)
