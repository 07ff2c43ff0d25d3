"""Exemplars of the histogram of durations, where there are traces: of each bucket the trace of its latest exchange.

prometheus_client keeps none in the files by which processes add up their counts. So each process keeps its own beside
them: the thread that makes spans writes it, off the request path, and a scrape reads all of them. What a full disk has
no room for is missing, and is no trouble.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from prometheus_client.core import Metric

LABELS: Final = ("endpoint", "client", "outcome", "upstream")
"""Of the histogram, in this order."""
PREFIX: Final = "exemplars_"
DEAD: Final = 0
"""In the place of a process's number: the latest of all that have ended."""
Bucket = tuple[tuple[str, ...], float]
"""The values of LABELS, and the bucket's upper bound (s)."""


class Exemplar(NamedTuple):
    """`seconds` is how long it took, `at` when it ended (Unix seconds)."""

    trace: str
    seconds: float
    at: float


class Exemplars:
    """Of one process; one thread uses it. `bounds`: the histogram's buckets, in order."""

    def __init__(self, directory: Path, pid: int, bounds: Sequence[float]) -> None:
        self._path = _path(directory, pid)
        self._bounds = (*bounds, inf)
        self._kept: dict[Bucket, Exemplar] = {}
        self._changed = False

    def seen(self, labels: tuple[str, ...], exemplar: Exemplar) -> None:
        """An exchange of a trace that is recorded."""
        self._kept[labels, self._bounds[bisect_left(self._bounds, exemplar.seconds)]] = exemplar
        self._changed = True

    def write(self) -> None:
        """For whoever scrapes, if there is anything new."""
        if self._changed:
            self._changed = False
            _write(self._path, self._kept)


def read(directory: Path) -> dict[Bucket, Exemplar]:
    """The latest of all processes."""
    return _latest(directory.glob(f"{PREFIX}*.json"))


def merge_dead(directory: Path, pid: int) -> None:
    """A process has ended: what it knew is kept with that of all such."""
    theirs, ended = _path(directory, pid), _path(directory, DEAD)
    if theirs.exists():
        _write(ended, _latest([theirs, ended]))
        theirs.unlink(missing_ok=True)


def put_in(metrics: Iterable[Metric], name: str, known: Mapping[Bucket, Exemplar]) -> Iterator[Metric]:
    """The metrics, the buckets of the histogram `name` with their exemplars."""
    from prometheus_client.samples import Exemplar as Shown

    for metric in metrics:
        if metric.name == name and known:
            for number, sample in enumerate(metric.samples):
                bound = sample.labels.get("le")
                labels = tuple(sample.labels.get(label, "") for label in LABELS)
                found = None if bound is None else known.get((labels, float(bound)))
                if found is not None:
                    shown = Shown({"trace_id": found.trace}, found.seconds, found.at)
                    metric.samples[number] = sample._replace(exemplar=shown)
        yield metric


def _path(directory: Path, pid: int) -> Path:
    return directory / f"{PREFIX}{pid}.json"


def _write(path: Path, kept: Mapping[Bucket, Exemplar]) -> None:
    new = path.with_name(f"{path.name}.new")
    with suppress(OSError):
        new.write_text(json.dumps([[*labels, bound, *exemplar] for (labels, bound), exemplar in kept.items()]))
        new.replace(path)


def _latest(paths: Iterable[Path]) -> dict[Bucket, Exemplar]:
    """What cannot be read, for it has just been merged, is left out."""
    found: dict[Bucket, Exemplar] = {}
    for path in paths:
        rows: list[list[Any]] = []
        with suppress(OSError, ValueError):
            rows = json.loads(path.read_text())
        for *labels, bound, trace, seconds, at in rows:
            key, exemplar = (tuple(labels), bound), Exemplar(trace, seconds, at)
            if key not in found or found[key].at < at:
                found[key] = exemplar
    return found
