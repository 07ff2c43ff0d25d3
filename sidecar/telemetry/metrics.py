"""Every metric, once. On the request path a count is kept in memory; `flush` writes, four times a second, what was
counted since: who is killed loses that much.

Counters and histograms live in memory-mapped files under PROMETHEUS_MULTIPROC_DIR, one set a process, and are summed
when scraped. Gauges of shared state are read at scrape time in the control process; what is not known is absent,
never 0. prometheus_client decides how it counts when it is first imported, so it is imported here only in functions:
`prepare` must run before them.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from sqlalchemy.exc import SQLAlchemyError

from sidecar.exchange import Client, Exchange, Outcome, Purpose
from sidecar.telemetry import exemplars
from sidecar.telemetry.metric_files import allocate_first, locked, merge_dead

if TYPE_CHECKING:
    from flask import Flask
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

log = logging.getLogger(__name__)
DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 2.5, 3, 5, 7.5, 10, 20, 30)
DURATION: Final = "request_duration_seconds"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_LOST: Final = (OSError, ValueError)
"""What prometheus_client raises when its file cannot grow: a request does not fail for that."""
CIRCUIT: Final = {"closed": 0, "half_open": 1, "open": 2}

Reading = Callable[[], Mapping[str, float | None] | float | None]
"""A value per label value, or one value; None is unknown. Called at every scrape."""

_COUNTERS: Final = {
    "requests": ("Users' requests, by what they got and who answered.",
                 ("endpoint", "method", "code", "outcome", "answered_by", "client")),
    "upstream_requests": ("Users' requests, by what the upstream gave over all attempts, or not_asked.",
                          ("endpoint", "outcome", "client")),
    "upstream_attempts": ("Attempts at the upstream for users' requests.", ("endpoint", "outcome", "client")),
    "takeovers": ("Times the standby began to answer, by circuit or by a person.", ("endpoint",)),
    "verdicts": ("What access policy said of requests.", ("endpoint", "verdict")),
    "journal_syncs": ("Syncs of the journal to disk.", ()),
    "journal_failures": ("Exchanges that could not be recorded.", ()),
    "log_lines_dropped": ("Lines of the log that workers, control plane and background work dropped.", ()),
    "dead_letter_events": ("Documents that the event store will never take.", ()),
    "backfill_requests": ("Backfill's own requests to the upstream.", ("outcome",)),
}  # fmt: skip
_GAUGES: Final = {
    "database_up": ("Whether the database answers: 1, or 0.", None),
    "circuit_state": ("An endpoint's circuit: 0 closed, 1 half-open, 2 open.", "endpoint"),
    "outbox_pending": ("Writes accepted and not yet confirmed by the upstream.", None),
    "outbox_oldest_seconds": ("Age of the oldest write that is not yet confirmed.", None),
    "outbox_parked": ("Writes that wait for a person's decision.", None),
    "parity_ratio": ("Share of compared answers in which the standby agreed with the upstream.", "endpoint"),
    "standby_completeness_ratio": ("Share of a resource's records that the standby knows.", "resource"),
    "certificate_expiry_timestamp_seconds": ("When a certificate of CERTIFICATES ends; absent: unknown.", "file"),
    "standby_ready": ("Whether the standby could answer for an endpoint now; 1: yes.", "endpoint"),
    "background_up": (
        "Whether background work (replay, shipping, signing, backfill) gives signs of life: 1, or 0.",
        None,
    ),
    "build_info": ("What runs here: always 1.", "version"),
    "reload_refused": ("Whether the last reload was refused, so that all goes on as it was: 1, or 0.", None),
    "database_went_back_timestamp_seconds": (
        "When the database was last found to be older than the mark: restored, or a replica; absent: never.",
        None,
    ),
    "journal_verified": ("Whether the journal held when it was last verified: 1, or 0; absent: unknown.", None),
    "clock_jumped_seconds": (
        "By how far the wall clock has jumped, as long as no person trusts it; 0: it has not.",
        None,
    ),
    "clock_skew_seconds": (
        "By how far the wall clock and the shared database's differ; absent: the database is a file.",
        None,
    ),
    "node_silent_seconds": (
        "Since a node that shares the database was last heard of, by the database's clock.",
        "node",
    ),
    "journal_unshipped_events": ("Journalled events that are not yet in the event store.", None),
    "journal_behind_seconds": ("How far the event store may be behind the journal, at the most.", None),
    "data_free_ratio": ("Free share of the disk under DATA.", None),
}


def labels_of(metric: str) -> tuple[str, ...] | None:
    """The labels of a metric by its whole name; None: it is not one of ours."""
    name = metric.removeprefix("understudy_")
    if name in _GAUGES:
        return (label,) if (label := _GAUGES[name][1]) else ()
    known = _COUNTERS.get(name.removesuffix("_total"))
    return known[1] if known else None


def prepare(directory: Path, fresh: bool = True) -> None:
    """Names the directory of this run's counters, and empties it unless the run goes on. In the parent, before
    prometheus_client is imported; then imports it, once for all processes rather than once in each."""
    directory.mkdir(parents=True, exist_ok=True)
    for kind in ("*.db", f"{exemplars.PREFIX}*") if fresh else ():
        for leftover in directory.glob(kind):
            leftover.unlink()
    os.environ[DIRECTORY] = str(directory)
    import_module("prometheus_client.multiprocess")
    import_module("prometheus_flask_exporter.multiprocess")


def forget(pid: int) -> None:
    """A process has ended: its live gauges go, its counts are added to those of all that have ended."""
    if DIRECTORY in os.environ:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid)  # type: ignore[no-untyped-call]
        try:
            merge_dead(Path(os.environ[DIRECTORY]), pid)
            exemplars.merge_dead(Path(os.environ[DIRECTORY]), pid)
        except _LOST as error:  # its file stays, and is summed up as it is
            _say_lost(error)


class Journalled(Protocol):
    """A journal's running totals."""

    syncs: int
    failures: int


class Metrics:
    """One per process, made after the fork. No request and no start fails for a count that the disk has no room for."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        from prometheus_client import CollectorRegistry

        allocate_first()
        self.registry = registry if registry is not None else CollectorRegistry()
        self._metrics: dict[str, Any] = {}
        self._children: dict[tuple[str, ...], Any] = {}
        self._requests: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)
        """Of requests since the last `flush`, by all their labels, how long each took (s)."""
        self._attempts: Counter[tuple[str, ...]] = Counter()
        self._noting = threading.Lock()
        self._making = threading.Lock()
        self._journalled = (0, 0)
        self._unread = 0

    def request(self, exchange: Exchange) -> None:
        """A user's request ended; our own traffic is not counted. A client that left is code 499. Needs `flush`."""
        if exchange.purpose is not Purpose.USER:
            return
        response, method = exchange.response, exchange.request.method
        labels = (
            exchange.endpoint,
            method if method in METHODS else "other",
            str(response.status) if response is not None and exchange.reason != "client_aborted" else "499",
            exchange.outcome.value,
            exchange.answered_by.value,
            exchange.client.value,
            exchange.verdict,
            exchange.upstream_said,
        )
        with self._noting:
            self._requests[labels].append(exchange.duration / 1e9)

    def attempt(self, endpoint: str, outcome: Outcome, client: Client) -> None:
        """An attempt for a user ended. `endpoint` is the endpoint's name. Needs `flush`."""
        with self._noting:
            self._attempts[endpoint, outcome.value, client.value] += 1

    def flush(self) -> None:
        """Writes down what requests and attempts were counted. Never raises."""
        with self._noting:
            requests, self._requests = self._requests, defaultdict(list)
            attempts, self._attempts = self._attempts, Counter()
        for labels, took in requests.items():
            endpoint, _, _, outcome, _, client, verdict, upstream = labels
            self._count("requests", *labels[:6], by=len(took))
            self._count("verdicts", endpoint, verdict, by=len(took))
            self._count("upstream_requests", endpoint, upstream, client, by=len(took))
            self._observe(took, endpoint, client, outcome, upstream)
        for key, times in attempts.items():
            self._count("upstream_attempts", *key, by=times)

    def _observe(self, took: Sequence[float], *labels: str) -> None:
        """What `observe` does for each, at once, for which prometheus_client has no word."""
        try:
            duration = self._child(DURATION, *labels)
            duration._sum.inc(sum(took))
            for bucket, times in Counter(bisect_left(BUCKETS, each) for each in took).items():
                duration._buckets[bucket].inc(times)
        except _LOST as error:
            _say_lost(error)

    def takeover(self, endpoint: str, times: int = 1) -> None:
        """`times` is 0 to be told of before there is one: a series that begins at 1 has not risen."""
        self._count("takeovers", endpoint, by=times)

    def journal(self, journal: Journalled) -> None:
        """What this process's journal has done since the last call, from its running totals. One thread calls this."""
        syncs, failures = journal.syncs, journal.failures
        self._count("journal_syncs", by=syncs - self._journalled[0])
        self._count("journal_failures", by=failures - self._journalled[1])
        self._journalled = (syncs, failures)

    def log(self, dropped: int) -> None:
        """How many lines this process's log has dropped in all. One thread calls this."""
        self._count("log_lines_dropped", by=dropped - self._unread)
        self._unread = dropped

    def dead_letter_events(self, count: int = 1) -> None:
        self._count("dead_letter_events", by=count)

    def backfill_request(self, outcome: Outcome) -> None:
        self._count("backfill_requests", outcome.value)

    def _count(self, *key: str, by: int = 1) -> None:
        try:
            self._child(*key).inc(by)
        except _LOST as error:
            _say_lost(error)

    def _child(self, *key: str) -> Any:
        """The child for (metric, *label values); two threads that race make the same one."""
        child = self._children.get(key)
        if child is None:
            metric = self._metric(key[0])
            child = self._children[key] = metric.labels(*key[1:]) if len(key) > 1 else metric
        return child

    def _metric(self, name: str) -> Any:
        """Made when it is first counted: making it takes room in a file."""
        import prometheus_client

        with self._making:
            if name not in self._metrics and name == DURATION:
                self._metrics[name] = prometheus_client.Histogram(
                    f"understudy_{DURATION}",
                    "How long users waited for their answers.",
                    exemplars.LABELS,
                    buckets=BUCKETS,
                    registry=self.registry,
                )
            elif name not in self._metrics:
                text, labels = _COUNTERS[name]
                self._metrics[name] = prometheus_client.Counter(
                    f"understudy_{name}_total", text, labels, registry=self.registry
                )
            return self._metrics[name]


def _say_lost(error: Exception) -> None:
    log.error("a count was lost: %s", type(error).__name__, extra={"fields": {"event.action": "count_lost"}})


@dataclass(frozen=True, eq=False)
class SharedState:
    """A collector of the gauges; `readings` by metric name without the prefix, as `_GAUGES` lists them."""

    readings: Mapping[str, Reading]

    def __post_init__(self) -> None:
        if strangers := self.readings.keys() - _GAUGES.keys():
            raise ValueError(f"no such gauge: {', '.join(sorted(strangers))}")

    def describe(self) -> Iterable[Metric]:
        """Nothing: so that registering reads nothing."""
        return ()

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        for name, reading in self.readings.items():
            text, label = _GAUGES[name]
            family = GaugeMetricFamily(f"understudy_{name}", text, labels=[label] if label else [])
            try:
                value = reading()
            except SQLAlchemyError:
                continue  # unknown, and so absent; `database_up` says why
            values = value if isinstance(value, Mapping) else {"": value}
            for key, number in values.items():
                if number is not None:
                    family.add_metric([key] if label else [], number)
            if family.samples:
                yield family


def serve_metrics(app: Flask, shared: SharedState) -> None:
    """GET /metrics on `app`: all processes' counts, and the shared state. Needs `prepare`'s directory."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.multiprocess import MultiProcessCollector
    from prometheus_flask_exporter.multiprocess import GunicornInternalPrometheusMetrics

    class Counted(MultiProcessCollector):
        def __init__(self) -> None:
            super().__init__(None)  # type: ignore[no-untyped-call]

        def collect(self) -> Iterator[Metric]:
            counted = super().collect()  # type: ignore[no-untyped-call]
            return exemplars.put_in(counted, f"understudy_{DURATION}", exemplars.read(Path(os.environ[DIRECTORY])))

    class Exposition(GunicornInternalPrometheusMetrics):  # type: ignore[misc]
        def generate_metrics(self, accept_header: str | None = None, names: Any = None) -> tuple[bytes, str]:
            """The exporter makes a fresh registry at each scrape; the shared state belongs in it."""
            registry: Any = CollectorRegistry()
            registry.register(Counted())
            registry.register(shared)
            encode, content_type = choose_encoder(accept_header or "")
            with locked(Path(os.environ[DIRECTORY]), fcntl.LOCK_SH):
                return encode(registry.restricted_registry(names) if names else registry), content_type

    Exposition(app, export_defaults=False)
