"""Traces by OpenTelemetry, where OTLP names a collector: a span for each exchange, with children for its steps.

Off, this costs a comparison a request, and nothing of opentelemetry is imported. On, the request path notes times and
puts a few facts into a queue; spans are made of them in a thread (`spans`), after the answer, and sent in batches. What
the queue has no room for is lost, and said: a collector that is slow or away disturbs nobody.

Spans hold no path, query, body, name, address or header of a request: `understudy.event.id` leads to the audit trail,
which holds them and knows who may look.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Final, Protocol

from sidecar.exchange import Exchange, Purpose
from sidecar.http import identifiers
from sidecar.settings import PREFIX, SettingError, Settings
from sidecar.telemetry.exemplars import Exemplar, Exemplars
from sidecar.telemetry.metrics import BUCKETS, DIRECTORY
from sidecar.telemetry.trace_facts import Facts, Step

log = logging.getLogger(__name__)
MAX_WAITING: Final = 4096
"""Exchanges whose spans are not made yet."""
EVERY: Final = 0.5
"""Seconds between looks at what waits."""
SAMPLED: Final = "01"


class Spans(Protocol):
    """Makes spans of facts, and sends them."""

    def make(self, facts: Facts) -> None: ...

    def flush(self) -> None:
        """Sends what was made."""

    def close(self) -> None:
        """Sends what is left, within a moment."""


class Tracing:
    """One per process. `sample`: the share of traces that begin here which are recorded. `exemplars`: where metrics
    are told of them."""

    def __init__(
        self, spans: Spans, sample: float, dice: random.Random | None = None, exemplars: Exemplars | None = None
    ) -> None:
        self._spans = spans
        self._exemplars = exemplars
        self._sample = sample
        self._dice = dice or random.Random()
        self._waiting: deque[Facts] = deque()
        self._lost = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def begin(self, given: str | None) -> str:
        """A traceparent for an exchange: a child of the client's, sampled as that is; else a new trace."""
        known = given is not None and identifiers.traceparent(given) == given
        if known and given is not None:
            trace, flags = given[3:35], SAMPLED if int(given[53:55], 16) & 1 else "00"
        else:
            trace = f"{self._dice.getrandbits(128) or 1:032x}"
            flags = SAMPLED if self._dice.random() < self._sample else "00"
        made = f"00-{trace}-{self._dice.getrandbits(64) or 1:016x}-{flags}"
        _CURRENT.set(_Current(trace, [] if flags == SAMPLED else None))
        return made

    def recorded(self, exchange: Exchange, since: int) -> None:
        """An exchange was recorded, which began at `since`. Never waits, never raises."""
        current = _CURRENT.get()
        if current is None or current.trace != exchange.trace_id:
            return
        _CURRENT.set(None)  # what this thread does next is no part of it
        if current.steps is None or exchange.purpose is not Purpose.USER:
            return
        if len(self._waiting) >= MAX_WAITING:
            self._lost += 1
            return
        response = exchange.response
        self._waiting.append(
            Facts(
                exchange.traceparent, exchange.request.header("traceparent"), exchange.id, exchange.started,
                exchange.ended, (since, time.time_ns()), exchange.request.method, exchange.endpoint,
                exchange.endpoint_id, exchange.request.scheme, None if response is None else response.status,
                exchange.outcome.value, exchange.answered_by.value, exchange.reason, exchange.circuit, exchange.verdict,
                exchange.identity.value, tuple(exchange.attempts), tuple(current.steps), exchange.client.value,
                exchange.upstream_said,
            )
        )  # fmt: skip

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        self._spans.close()

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            self._work()
        self._work()

    def _work(self) -> None:
        try:
            while self._waiting:
                facts = self._waiting.popleft()
                self._tell(facts)
                self._spans.make(facts)
            if self._exemplars is not None:
                self._exemplars.write()
            self._spans.flush()
        except Exception:
            log.exception("a trace could not be made", extra={"fields": {"event.action": "trace_failed"}})
        lost, self._lost = self._lost, 0
        if lost:
            fields = {"event.action": "traces_lost", "count": lost}
            log.warning("%d exchanges have no trace: there were too many at once", lost, extra={"fields": fields})

    def _tell(self, facts: Facts) -> None:
        if self._exemplars is not None:
            labels = facts.endpoint, facts.client, facts.outcome, facts.upstream
            took = (facts.ended - facts.started) / 1e9
            self._exemplars.seen(labels, Exemplar(facts.traceparent[3:35], took, facts.ended / 1e9))


@dataclass(slots=True)
class _Current:
    """What is under way in this context: the trace, and its steps where it is sampled."""

    trace: str
    steps: list[Step] | None


_CURRENT: ContextVar[_Current | None] = ContextVar("understudy_trace", default=None)
_tracing: Tracing | None = None
"""This process's; None: there are no traces."""


def setup_tracing(settings: Settings) -> Tracing | None:
    """Traces of this process go to OTLP; None, and nothing happens, where it is unset. Call it after the fork. Raises
    SettingError where the extra is not installed."""
    global _tracing
    _tracing = None
    if settings.otlp:
        directory = os.environ.get(DIRECTORY)
        told = Exemplars(Path(directory), os.getpid(), BUCKETS) if directory else None
        _tracing = Tracing(_exporting(settings), settings.traces_sample, exemplars=told)
    return _tracing


def refuse_without_extra(settings: Settings) -> None:
    """Raises SettingError where OTLP is set and opentelemetry is not installed."""
    if settings.otlp:
        _module()


def _exporting(settings: Settings) -> Spans:
    spans: Spans = _module().Exported(settings)
    return spans


def _module() -> Any:
    try:
        from sidecar.telemetry import spans
    except ImportError as error:
        raise SettingError(f"{PREFIX}OTLP: needs the extra otel (pip install 'understudy[otel]'): {error}") from None
    return spans


def traceparent(given: str | None) -> str:
    """The trace context of an exchange: the client's as it is, or a new one; where there are traces, our span of it."""
    return identifiers.traceparent(given) if _tracing is None else _tracing.begin(given)


def recorded(exchange: Exchange, since: int) -> None:
    """An exchange is in the journal; its recording began at `since` (ns since the epoch)."""
    if _tracing is not None:
        _tracing.recorded(exchange, since)


def trace_id() -> str | None:
    """Of what is under way here, where there are traces."""
    current = _CURRENT.get()
    return None if current is None else current.trace


def time_steps(part: object, names: Iterable[tuple[str, str]]) -> None:
    """From now on this object's methods note their times as steps of the exchange under way: (method, step)."""
    for method, step in names:
        setattr(part, method, _timed(getattr(part, method), step, f"{type(part).__name__}.{method}"))


def _timed(function: Callable[..., Any], step: str, called: str) -> Callable[..., Any]:
    @wraps(function)
    def timed(*words: Any, **named: Any) -> Any:
        current = _CURRENT.get()
        if current is None or current.steps is None:
            return function(*words, **named)
        began = time.time_ns()
        try:
            done = function(*words, **named)
        except Exception:
            current.steps.append((step, called, began, time.time_ns()))
            raise
        current.steps.append((step, called, began, time.time_ns()))
        return done  # what only begins here goes on in a thread (NeedsDatabase is no Exception), and is a step there

    return timed
