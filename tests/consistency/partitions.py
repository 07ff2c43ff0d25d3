"""Two sidecars on hosts of their own, with the ways between each pair of parts cut in turn, clients and the checker.

`python -m tests.consistency.partitions` (root; in namespaces of its own). The hosts: clients with HAProxy and its
printed configuration; two sidecars; HOSP; PostgreSQL with a synchronous replica. Each cut lasts `--seconds`, then is
mended. Then a sidecar is killed, PostgreSQL restarted, and at last its primary killed and the replica promoted. In the
end all that was acknowledged must be at HOSP, once, and every answer of a sidecar must have been true. (While no
sidecar has the database HAProxy turns to HOSP directly, as it is to: what HOSP then answers is HOSP's.)

With `--events` the event store is an Elasticsearch of three nodes, each on a host of its own; a node is cut off, and
one is killed and stays away. In the end all that each journal holds must be in the store, and nothing else.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from compose.elasticsearch.node import VERSIONS, Node
from compose.hosp.server import Simulator
from sidecar.events.store import Filter, pages
from sidecar.events.store.elasticsearch import ElasticStore
from tests.consistency.checker import check
from tests.consistency.history import History, Operation
from tests.consistency.nemesis import stepped
from tests.consistency.torture import drained
from tests.consistency.upstreams import final_state
from tests.consistency.workload import Client
from tests.stack.front import Front
from tests.support.hosts import Hosts, enter
from tests.support.postgres import Server, programs
from tests.support.stack import Sidecar, until
from tests.support.upstream import basic

NAMES = ("one", "two", "three", "four")
"""Of sidecars: the first so many of them."""
OTHERS = ("hosp", "pg1", "pg2")
CUTS = (
    ("one", "hosp"), ("two", "hosp"), ("one", "pg1"), ("two", "pg1"), ("clients", "one"), ("clients", "two"),
    ("one", "two"), ("clients", "hosp"), ("pg1", "pg2"),
)  # fmt: skip
NODES = ("es1", "es2", "es3")
NODE_CUTS = (("one", "es1"), ("es1", "es2"), ("es1", "es3"))
"""A sidecar from a node; then a node from each of the others in turn."""
LOSS = "loss of an Elasticsearch node"
CLIENTS, PAUSE = 4, 0.15
"""So many write at a time, with so many seconds between two requests of each, on average."""


@dataclass
class Site:
    """Everything that runs."""

    hosts: Hosts
    hosp: Simulator
    sidecars: tuple[Sidecar, ...]
    primary: Server
    replica: Server
    front: Front
    nodes: list[Node]

    def store(self) -> ElasticStore:
        return ElasticStore(*(node.url for node in self.nodes))


@contextmanager
def site(folder: Path, events: bool, sidecars: int = 2, *, clocks: bool = False) -> Iterator[Site]:
    """`clocks`: each sidecar has one that can be stepped (nemesis.py)."""
    names = NAMES[:sidecars]
    where = programs()
    assert where is not None, "PostgreSQL is not installed"
    hosts = Hosts("clients", *names, *OTHERS, *(NODES if events else ()))
    address = hosts.address
    with ExitStack() as stack:
        with hosts.on("hosp"):
            hosp = stack.enter_context(Simulator("calm", time_scale=0.1, host=address["hosp"]))
        primary, replica = (Server(where, address[name], hosts.within(name)) for name in ("pg1", "pg2"))
        for server in (primary, replica):
            stack.callback(server.remove)
        primary.make()
        primary.start()
        stack.callback(_stopped, primary)
        replica.copy(primary)
        replica.start()
        stack.callback(_stopped, replica)
        primary.stop("fast")
        primary.start(synchronous_standby_names="'*'")
        nodes = _cluster(hosts, folder) if events else []
        for node in nodes:
            stack.callback(node.kill)
        servers = "&".join(f"host={address[n]}:{s.port}" for n, s in (("pg1", primary), ("pg2", replica)))
        settings = {
            "database": f"postgresql+psycopg://understudy@/postgres?{servers}&target_session_attrs=read-write",
            "seal_key": str(folder / "seal-key"), "bypass_after": "0s", "workers": "1", "upstream_timeout": "6s",
            "late_effect": "2s", "deadline": "3s", "hedge_after": "3s", "trusted_proxies": address["clients"],
            "backfill_credentials": ":".join(hosp.users[-1]), "backfill_rate": "50",
        }  # fmt: skip
        if nodes:
            settings["elasticsearch"] = ",".join(node.url for node in nodes)
        made = tuple(
            stack.enter_context(
                Sidecar(
                    hosp.url,
                    folder / n,
                    environ=_clock(folder / f"{n}-clock") if clocks else {},
                    host=address[n],
                    within=hosts.within(n),
                    node=n,
                    evidence="compose.hosp",
                    **settings,
                )
            )
            for n in names
        )
        ways = [f"{sidecar.host}:{sidecar.port}/{sidecar.control}" for sidecar in made]
        front = stack.enter_context(Front("haproxy", "inline", made[0], folder / "front", servers=ways))
        assert made[0].cli("backfill").returncode == 0
        yield Site(hosts, hosp, made, primary, replica, front, nodes)


def _clock(folder: Path) -> dict[str, str]:
    folder.mkdir()
    return stepped(folder)


def learn(stage: Site) -> None:
    """Every sidecar sees those who will write, and what they read."""
    for user in stage.hosp.users[:CLIENTS]:
        for path in ("/notes", "/patients", "/staffs", "/hospitals", "/staffs/me"):
            for sidecar in stage.sidecars:
                sidecar.ask("GET", path, {"Authorization": basic(*user)})


@contextmanager
def users(stage: Site, history: History, seed: int) -> Iterator[None]:
    """CLIENTS of them, through the balancer; all have their answers in the end."""
    staff = stage.hosp.users[:CLIENTS]
    clients = [Client(n, staff[n], stage.front.port, history, seed, PAUSE) for n in range(CLIENTS)]
    try:
        yield
    finally:
        for client in clients:
            client.stop()
        for client in clients:
            client.join(70)


def judged(history: History) -> list[Operation]:
    """What the checker is to judge: every answer of a sidecar, and what HOSP did when the balancer had turned to it;
    but not what HOSP itself then said of a record, or that there is none."""
    return [o for o in history.operations if o.by or (o.kind not in ("read", "list") and o.status != 404)]


def _cluster(hosts: Hosts, folder: Path) -> list[Node]:
    """Three nodes that have found each other."""
    members = [hosts.address[name] for name in NODES]
    nodes = [
        Node(VERSIONS[0], folder / name, 9200, host=hosts.address[name], within=hosts.within(name), members=members)
        for name in NODES
    ]
    for node in nodes:
        node.launch()
    for node in nodes:
        node.wait()
    return nodes


def _stopped(server: Server) -> None:
    try:
        server.stop()
    except AssertionError:
        return  # it was stopped by the play


def play(
    folder: Path, cuts: Sequence[tuple[str, str]], blows: Sequence[str], seconds: float, seed: int, events: bool
) -> int:
    """0 when no promise was broken."""
    history, began = History(), time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    with site(folder, events) as stage:
        learn(stage)
        say("all is up")
        with users(stage, history, seed):
            for one, other in cuts:
                say(f"cut: {one} – {other}")
                stage.hosts.cut(one, other)
                time.sleep(seconds)
                stage.hosts.mend(one, other)
                say(f"mended ({len(history.operations)} operations)")
                time.sleep(seconds / 2)
            for blow in blows:
                say(blow)
                BLOWS[blow](stage)
                time.sleep(seconds)
        parked = drained(stage.sidecars[0], say)
        violations: list[object] = [*check(judged(history), final_state(stage.hosp, parked))]
        if events:
            violations += _lost_events(stage, say)
    history.save(folder / "history.jsonl")
    counts = Counter(f"{operation.kind} {operation.outcome}" for operation in history.operations)
    say(f"{counts.total()} operations: " + ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items())))
    for entry in parked:
        say(f"parked: {entry['action']} {entry['record_id']}: {entry['reason']}")
    for violation in violations:
        say(str(violation))
    say(f"{len(violations)} violations, {len(parked)} parked, seed {seed}")
    return 1 if violations else 0


def _lost_events(stage: Site, say: Callable[[str], None]) -> list[str]:
    """What a journal holds and the store does not, or the store and no journal."""
    recorded, store = _recorded(stage), stage.store()
    try:
        until(lambda: recorded <= _shipped(store), 60, "all events are in the store")
    except AssertionError:
        return [f"not in the store: {ident}" for ident in recorded - _shipped(store)]
    there = _shipped(store)
    say(f"{len(there)} events in the store, {len(recorded)} of them recorded before it was asked")
    return [f"in no journal: {ident}" for ident in there - _recorded(stage)]


def _recorded(stage: Site) -> set[str]:
    return {event["event"]["id"] for sidecar in stage.sidecars for event in sidecar.events()}


def _shipped(store: ElasticStore) -> set[str]:
    return {event["event"]["id"] for page in pages(store, Filter(), 1000) for event in page.events}


def _kill_node(stage: Site) -> None:
    """Of the first, whose copies the others have; it does not come back."""
    stage.nodes[0].kill()


def _kill_sidecar(stage: Site) -> None:
    stage.sidecars[0].kill()
    time.sleep(2)
    stage.sidecars[0].start()


def _restart_database(stage: Site) -> None:
    stage.primary.stop("fast")
    stage.primary.start(synchronous_standby_names="'*'")


def _fail_over(stage: Site) -> None:
    """What was acknowledged is on the replica, for the primary waited for it."""
    stage.primary.stop("immediate")
    stage.replica.promote()
    until(lambda: stage.sidecars[0].plane("GET", "/readyz").status == 200, 30, "the sidecars found the new primary")


BLOWS: dict[str, Callable[[Site], None]] = {
    "kill -9 of a sidecar": _kill_sidecar,
    "restart of PostgreSQL": _restart_database,
    "failover of PostgreSQL": _fail_over,
    LOSS: _kill_node,
}


def main(words: list[str]) -> int:
    enter("tests.consistency.partitions", words)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="how long each cut lasts")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument(
        "--cut", action="append", choices=["-".join(cut) for cut in (*CUTS, *NODE_CUTS)], help="only these"
    )
    parser.add_argument("--blow", action="append", choices=[*BLOWS, "none"], help="only these")
    parser.add_argument("--events", action="store_true", help="with an Elasticsearch of three nodes")
    given = parser.parse_args(words)
    cuts = {"-".join(cut): cut for cut in (*CUTS, *(NODE_CUTS if given.events else ()))}
    blows = [blow for blow in BLOWS if given.events or blow != LOSS]
    for name in (given.cut or [], given.blow or []):
        if strange := set(name) - {*cuts, *blows, "none"}:
            parser.error(f"{', '.join(strange)}: only with --events")
    folder = Path(tempfile.mkdtemp(prefix="understudy-partitions-"))
    chosen_cuts = [cut for name, cut in cuts.items() if given.cut is None or name in given.cut]
    chosen_blows = [blow for blow in blows if given.blow is None or blow in given.blow]
    broken = play(folder, chosen_cuts, chosen_blows, given.seconds, given.seed, given.events)
    if not broken:
        shutil.rmtree(folder)  # nobody will look into it
    return broken


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
