"""HOSP and its control endpoint: a threaded server that can fail in every way that HOSP was seen to."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from compose.hosp.behaviours import PLAIN
from compose.hosp.client import vandalise
from compose.hosp.control_server import control_server
from compose.hosp.data import generate
from compose.hosp.messages import Asked, Reply
from compose.hosp.profiles import PROFILES, Act, Profile, draw
from compose.hosp.records import Hosp
from compose.hosp.wire import HospHandler, HospServer, reset

KINDS = ("hang", "reset", "status500", "applied_500", "applied_hang", "applied_reset", "truncated", "invalid_json")
LAGS = 1.5
"""The same of the twist `lagging`, which does not say so."""
STALE_FOR = 6.0
"""Seconds for which the twist `stale` answers as before."""


@dataclass
class Fault:
    """A fault that a test asked for, for the next `times` requests that it fits."""

    kind: str
    path_prefix: str = "/"
    method: str = ""
    times: int = 1


class Simulator:
    """HOSP and its control endpoint, in threads of this process. Records outlive a change of profile."""

    def __init__(
        self, profile: str = "calm", seed: int = 1, port: int = 0, control_port: int = 0, time_scale: float = 1.0,
        host: str = "127.0.0.1", behaviours: frozenset[str] = PLAIN, strays: int = 500,
    ) -> None:  # fmt: skip
        """`host`: where it listens; its control does so on the same address. `behaviours`: names of
        compose.hosp.behaviours; `strays`: what an unknown path is answered."""
        self.hosp = Hosp(generate(seed), behaviours, strays)
        self.counts: Counter[str] = Counter()
        self.most_in_flight = self.in_flight = self.most_awaited = 0
        self.faults: list[Fault] = []
        self._kept: dict[tuple[str, str, str], tuple[float, Reply]] = {}
        self._scale = time_scale
        self._dice = random.Random(seed)
        self.lock = threading.Lock()
        self._released = threading.Event()
        self.connections: set[socket.socket] = set()
        self.serving: set[socket.socket] = set()
        self._server: HospServer | None = None
        self._reserved: socket.socket | None = None
        self.port = port
        self._host = host
        self._control = control_server(self, control_port, host)
        self.control_url = f"http://{host}:{self._control.server_address[1]}"
        self._closing = threading.Event()
        threading.Thread(target=self._vandals, daemon=True).start()
        self.door: str | None = None
        """Where the vandal writes: the front door, as everybody; None: straight at HOSP."""
        self.profile_name = ""
        self.set_profile(profile)

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self.port}"

    @property
    def profile(self) -> Profile:
        return PROFILES[self.profile_name]

    @property
    def users(self) -> list[tuple[str, str]]:
        return list(self.hosp.data.passwords.items())

    def set_profile(self, name: str) -> None:
        """Behaves so from now on. Raises KeyError for a name that is no profile's."""
        down = PROFILES[name].down
        self.profile_name = name
        self._released.set()
        self._released = threading.Event()
        if down or self._server is None:
            self._listen(not down)

    def fault(self, kind: str, path_prefix: str = "/", method: str = "", times: int = 1) -> None:
        """Scripts one: hang, reset, status500, applied_500, applied_reset, truncated, invalid_json, slow:SECONDS."""
        word, _, seconds = kind.partition(":")
        if kind not in KINDS and not (word == "slow" and float(seconds) >= 0):
            raise ValueError(f"no fault {kind}")
        with self.lock:
            self.faults.append(Fault(kind, path_prefix, method, times))

    def requests(self) -> dict[str, Any]:
        """Requests that came, by method and path, and the most that were under way at once."""
        with self.lock:
            return {"counts": dict(self.counts), "max_in_flight": self.most_in_flight}

    def forget_requests(self) -> None:
        with self.lock:
            self.counts.clear()
            self.most_in_flight = self.in_flight

    def close(self) -> None:
        self._closing.set()
        self._released.set()
        self._stop()
        if self._reserved is not None:
            self._reserved.close()
        self._control.shutdown()
        self._control.server_close()

    def __enter__(self) -> Simulator:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _listen(self, up: bool) -> None:
        if not up and self._server is not None:
            self._stop()
            self._keep_port()
        elif up and self._server is None:
            self._server = HospServer((self._host, self.port), type("Handler", (HospHandler,), {"simulator": self}))
            self.port = self._server.server_address[1]
            threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
            if self._reserved is not None:
                self._reserved.close()
                self._reserved = None
        elif self.port == 0:
            self._keep_port()

    def _stop(self) -> None:
        if self._server is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        for connection in list(self.connections):
            reset(connection)

    def _keep_port(self) -> None:
        """Nobody else is given it while nobody listens there: connections are refused."""
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind((self._host, self.port))
        self.port = self._reserved.getsockname()[1]

    def act(self, method: str, path: str) -> Act:
        """What the next request gets, by a scripted fault or by the profile."""
        with self.lock:
            self.counts[f"{method} {path}"] += 1
            for fault in self.faults:
                if path.startswith(fault.path_prefix) and fault.method in ("", method):
                    fault.times -= 1
                    if fault.times <= 0:
                        self.faults.remove(fault)
                    word, _, seconds = fault.kind.partition(":")
                    return Act(float(seconds)) if word == "slow" else Act(0, word.replace("status", ""))
            return draw(self.profile, self._dice, path, method not in ("GET", "HEAD") and not path.endswith("/screen"))

    def pause(self, seconds: float) -> None:
        """Sleeps, unless the profile changes meanwhile."""
        if seconds:
            self._released.wait(seconds * self._scale)

    def answer(self, asked: Asked) -> Reply:
        """What the application answers, or, with the twist `stale`, what it answered lately."""
        late = STALE_FOR if "stale" in self.hosp.on else LAGS if "lagging" in self.hosp.on else 0.0
        if not late or asked.method != "GET":
            return self.hosp.answer(asked)
        key = (asked.origin + asked.target, asked.headers.get("authorization", ""), asked.headers.get("accept", ""))
        kept = self._kept.get(key)
        if kept is not None and time.monotonic() - kept[0] < late:
            aged = {"Age": "100"} if "stale" in self.hosp.on else {}
            return replace(kept[1], headers={**kept[1].headers, **aged})
        reply = self.hosp.answer(asked)
        self._kept[key] = (time.monotonic(), replace(reply))
        return reply

    def crowd(self) -> float:
        """Seconds that the crowd in flight adds."""
        return max(0, self.in_flight - self.profile.capacity) * self.profile.crowd_delay

    def _vandals(self) -> None:
        while not self._closing.wait(1):
            if self._dice.random() < self.profile.vandals:
                vandalise(self.door or self.url, self.users[-1], self._dice)
