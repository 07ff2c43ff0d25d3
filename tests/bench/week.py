"""`make bench-week`: the same seeded traffic and faults through HOSP direct, nginx with retries, nginx with retries and
a 2-minute cache (the best public attempt), and Understudy, side by side; what users got is put into a table.

Time runs four times as fast: HOSP's seconds, the 3 s bar, the cache's two minutes and Understudy's settings are all
quartered, and the traffic is four times as dense. Each candidate has a simulated HOSP of its own with the same seed.
Each request that Understudy did not answer well is told on stderr, with what its journal says of it.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

from compose.hosp import client as hosp_api
from compose.hosp.server import Simulator
from tests.bench.readme import put
from tests.consistency.checker import check
from tests.consistency.history import History, Operation, Outcome
from tests.consistency.torture import SCALE, drained
from tests.consistency.upstreams import final_state
from tests.consistency.workload import Client
from tests.support.stack import Sidecar, ask, free_port, until
from tests.support.upstream import basic

BAR = 3.0 * SCALE
USERS = 16
PAUSE = 3.0
"""Seconds between one user's requests: five a second in all, somewhat above HOSP's usual half at this scale."""
TRAFFIC = {"browse": 0.5, "read": 0.15, "list": 0.1, "create": 0.12, "update": 0.08, "screen": 0.05}
BACK = "ordinary again"
PHASES = ("ordinary", "outage", "brownout", BACK)
SHARES = (0.6, 0.15, 0.15, 0.1)
WAYS = ("HOSP direct", "nginx, retries", "nginx, retries and cache", "Understudy")
SIDECAR = {
    "deadline": "600ms", "hedge_after": "250ms", "upstream_timeout": "10s", "late_effect": "10s",
}  # fmt: skip
COLD_START = 120 * SCALE
"""Seconds from a cold start in which backfill has proven what it can."""
NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log crit;
events {{ worker_connections 1024; }}
http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  proxy_cache_path {folder}/cache keys_zone=hosp:10m;
  upstream hosp {{ {servers} }}
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://hosp; proxy_http_version 1.1;
    proxy_set_header Host $host; proxy_set_header Connection ""; proxy_read_timeout 15s;
    proxy_next_upstream error timeout invalid_header http_500 http_502 http_503 http_504;
    proxy_next_upstream_tries 3; {cache} }} }} }}
"""
CACHE = (
    "proxy_cache hosp; proxy_cache_valid 200 30s; proxy_ignore_headers Cache-Control Expires Set-Cookie Vary;"
    'proxy_cache_key "$request_method$request_uri$http_authorization";'
)


@dataclass
class Candidate:
    """One way to HOSP."""

    name: str
    simulator: Simulator
    port: int
    sidecar: Sidecar | None = None
    history: History = field(default_factory=History)
    loads: list[int] = field(default_factory=list)
    """Requests that HOSP had had at the end of each phase."""


@dataclass(frozen=True)
class Row:
    """What users of a candidate got in one phase. Shares are of requests, times in HOSP's own milliseconds."""

    name: str
    phase: str
    within: float
    screened: float
    p50: float
    p99: float
    load: float


class Emptying(threading.Thread):
    """Waits, while users go on, until all that the outbox holds now has reached HOSP."""

    def __init__(self, sidecar: Sidecar) -> None:
        super().__init__(name="emptying", daemon=True)
        self._sidecar = sidecar
        self._began = time.monotonic()
        self._writes = self._pending()
        self._took: float | None = None
        self._ended = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._ended.wait(0.1):
            if not self._writes & self._pending():
                self._took = time.monotonic() - self._began
                return

    def told(self) -> str:
        """In HOSP's own seconds."""
        self._ended.set()
        self.join(10)
        late = "not all had reached it at the end"
        if self._took is not None:
            late = f"{self._took / SCALE:.0f} s later all had reached it"
        return f"When HOSP was back, {len(self._writes)} writes were waiting; {late}."

    def _pending(self) -> set[str]:
        entries = self._sidecar.plane("GET", "/outbox").json()["entries"]
        return {entry["id"] for entry in entries if entry["state"] != "parked"}


@contextmanager
def nginx(upstream: int, cache: str = "") -> Iterator[int]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        servers = f"server 127.0.0.1:{upstream} max_fails=0; " * 3
        config = Path(folder) / "nginx.conf"
        config.write_text(NGINX.format(folder=folder, port=port, servers=servers, cache=cache))
        process = subprocess.Popen([shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(config)])
        try:
            until(lambda: ask(port, "GET", "/").status, what="nginx")
            yield port
        finally:
            process.terminate()
            process.wait(10)


def candidates(stack: ExitStack, seed: int, names: Sequence[str]) -> list[Candidate]:
    """Those named, warm: every user has looked at everything once."""
    hosps = [stack.enter_context(Simulator("calm", seed=seed, time_scale=SCALE)) for _ in names]
    found = [candidate(stack, name, hosp) for name, hosp in zip(names, hosps, strict=True)]
    for each in found:
        for user in hosp_api.users(each.simulator.control_url)[:USERS]:
            for path in ("/", "/notes", "/patients", "/hospitals", "/staffs", "/staffs/me"):
                ask(each.port, "GET", path, {"Authorization": basic(*user)})
    time.sleep(COLD_START)
    return found


def candidate(stack: ExitStack, name: str, hosp: Simulator) -> Candidate:
    if name == "HOSP direct":
        return Candidate(name, hosp, hosp.port)
    if name != "Understudy":
        return Candidate(name, hosp, stack.enter_context(nginx(hosp.port, CACHE if name.endswith("cache") else "")))
    keeper = ":".join(hosp_api.users(hosp.control_url)[-1])
    data = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "data"
    sidecar = stack.enter_context(Sidecar(hosp.url, data, backfill_credentials=keeper, evidence=None, **SIDECAR))
    return Candidate(name, hosp, sidecar.port, sidecar)


def run(
    seconds: float, seed: int, names: Sequence[str] = WAYS, shares: Sequence[float] = SHARES
) -> tuple[list[Row], list[str], str]:
    """The rows of the table, a line of promises for each candidate, and how long the outbox took to empty."""
    with ExitStack() as stack:
        found = candidates(stack, seed, names)
        clients, marks = [], []
        for candidate in found:
            staff = hosp_api.users(candidate.simulator.control_url)
            clients += [
                Client(n, staff[n], candidate.port, candidate.history, seed, PAUSE, TRAFFIC) for n in range(USERS)
            ]
            candidate.simulator.forget_requests()
        marks.append(time.monotonic())
        emptying = None
        for phase, share in zip(PHASES, shares, strict=True):
            print(f"{phase}: {seconds * share:.0f} s", file=sys.stderr, flush=True)
            for candidate in found:
                candidate.simulator.set_profile(phase.split()[0])
            if phase == BACK:
                emptying = next((Emptying(each.sidecar) for each in found if each.sidecar is not None), None)
            time.sleep(seconds * share)
            marks.append(time.monotonic())
            for candidate in found:
                candidate.loads.append(sum(candidate.simulator.requests()["counts"].values()))
        for client in clients:
            client.stop()
        for candidate in found:
            candidate.simulator.set_profile("calm")
        for client in clients:
            client.join(60)
        for line in (line for candidate in found for line in _missed(candidate, marks)):
            print(line, file=sys.stderr, flush=True)
        rows = [row for candidate in found for row in _rows(candidate, marks)]
        return rows, [_promises(candidate) for candidate in found], emptying.told() if emptying else ""


def _rows(candidate: Candidate, marks: Sequence[float]) -> Iterator[Row]:
    for number, (phase, mine) in enumerate(_by_phase(candidate, marks)):
        screens, others = [o for o in mine if o.kind == "screen"], [o for o in mine if o.kind != "screen"]
        times = quantiles([(o.ended - o.began) * 1000 / SCALE for o in others], n=100)
        load = candidate.loads[number] - (candidate.loads[number - 1] if number else 0)
        yield Row(candidate.name, phase, _share(others), _share(screens), times[49], times[98], load / len(mine))


def _by_phase(candidate: Candidate, marks: Sequence[float]) -> Iterator[tuple[str, list[Operation]]]:
    for number, phase in enumerate(PHASES):
        began, ended = marks[number : number + 2]
        yield phase, [o for o in candidate.history.operations if began <= o.began < ended]


def _missed(candidate: Candidate, marks: Sequence[float]) -> Iterator[str]:
    """A line for each request that Understudy did not answer well; screenings aside, which HOSP alone can answer."""
    if candidate.sidecar is None:
        return
    events = {event["http"]["request"]["id"]: event["understudy"] for event in candidate.sidecar.events()}
    for phase, mine in _by_phase(candidate, marks):
        for o in (o for o in mine if o.kind != "screen" and not _good(o)):
            told = events.get(o.request, {})
            attempts = [each.get("error", each.get("status")) for each in told.get("attempts", ())]
            took, why = (o.ended - o.began) / SCALE, told.get("reason", "")
            yield f"{phase}: {o.kind} {o.target}: {o.status} after {took:.2f} s; {o.by or why}; attempts {attempts}"


def _good(o: Operation) -> bool:
    return o.outcome is not Outcome.UNKNOWN and 0 < o.status < 500 and o.ended - o.began <= BAR


def _share(operations: Sequence[Operation]) -> float:
    return sum(map(_good, operations)) / len(operations) if operations else float("nan")


def _promises(candidate: Candidate) -> str:
    """Untrue answers, lost and doubled writes."""
    parked = drained(candidate.sidecar, lambda _: None) if candidate.sidecar is not None else []
    time.sleep(1)
    state = final_state(candidate.simulator, parked)
    found = [violation.promise for violation in check(candidate.history.operations, state)]
    counts = {promise: found.count(promise) for promise in ("untrue", "lost", "doubled")}
    told = f"{counts['untrue']} | {counts['lost']} | {counts['doubled']} | {candidate.simulator.most_in_flight}"
    return f"| {candidate.name} | {told} |"


def table(rows: Sequence[Row], promises: Sequence[str], emptied: str, seconds: float, seed: int) -> str:
    lines = [f"Measured by `make bench-week` ({seconds:.0f} s at four times HOSP's speed, seed {seed}):", ""]
    lines += ["| way to HOSP | phase | within 3 s | screening within 3 s | p50 ms | p99 ms | load on HOSP |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for row in rows:
        screened = "" if row.screened != row.screened else f"{row.screened:.1%}"
        times = f"{row.p50:.0f} | {row.p99:.0f}"
        lines.append(f"| {row.name} | {row.phase} | {row.within:.2%} | {screened} | {times} | {row.load:.2f} |")
    lines += ["", "| way to HOSP | untrue answers | lost writes | doubled writes | most in flight at HOSP |"]
    return "\n".join([*lines, "|---|---|---|---|---|", *promises, "", emptied])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="of traffic, over all phases")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--only", choices=WAYS, nargs="+", default=WAYS, help="these ways to HOSP")
    parser.add_argument("--shares", type=float, nargs=len(PHASES), default=SHARES, help="of the phases, of the seconds")
    parser.add_argument("--readme", type=Path, help="a file to put the table into")
    given = parser.parse_args()
    os.environ.pop("UNDERSTUDY_UPSTREAM", None)
    made = table(*run(given.seconds, given.seed, given.only, given.shares), given.seconds, given.seed)
    print(made)
    if given.readme:
        put(given.readme, "bench-week", made)


if __name__ == "__main__":
    main()
