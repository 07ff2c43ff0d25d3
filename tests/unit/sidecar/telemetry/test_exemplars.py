"""Exemplars: of each bucket the latest, of all processes, those that have ended too."""

from __future__ import annotations

from math import inf
from pathlib import Path

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from sidecar.telemetry import exemplars
from sidecar.telemetry.exemplars import LABELS, Exemplar, Exemplars

BOUNDS = (0.1, 0.5, 3)
NOTES = ("GET /notes", "user", "success", "success")


def of(directory: Path, pid: int, *seen: Exemplar, labels: tuple[str, ...] = NOTES) -> None:
    kept = Exemplars(directory, pid, BOUNDS)
    for each in seen:
        kept.seen(labels, each)
    kept.write()


def test_of_each_bucket_the_latest_is_kept_and_a_bound_belongs_to_its_own(tmp_path: Path) -> None:
    first, second, at_bound, slow = (
        Exemplar("a", 0.2, 1), Exemplar("b", 0.3, 2), Exemplar("c", 0.1, 3), Exemplar("d", 99.0, 4),
    )  # fmt: skip
    of(tmp_path, 7, first, second, at_bound, slow)
    assert exemplars.read(tmp_path) == {(NOTES, 0.1): at_bound, (NOTES, 0.5): second, (NOTES, inf): slow}


def test_of_several_processes_the_latest_is_told_and_what_one_knew_outlives_it(tmp_path: Path) -> None:
    late, early, other = Exemplar("late", 0.2, 5), Exemplar("early", 0.2, 4), Exemplar("other", 1, 1)
    of(tmp_path, 7, late, other)
    of(tmp_path, 8, early)
    whole = {(NOTES, 0.5): late, (NOTES, 3): other}
    assert exemplars.read(tmp_path) == whole
    exemplars.merge_dead(tmp_path, 7)
    exemplars.merge_dead(tmp_path, 8)
    exemplars.merge_dead(tmp_path, 9)
    assert exemplars.read(tmp_path) == whole
    assert [path.name for path in tmp_path.iterdir()] == ["exemplars_0.json"], "nothing is left of them"


def test_what_cannot_be_read_or_written_is_missing_and_no_trouble(tmp_path: Path) -> None:
    of(tmp_path, 7, Exemplar("a", 0.2, 1))
    (tmp_path / "exemplars_8.json").write_text('[["GET /no')
    of(tmp_path / "nowhere", 9, Exemplar("b", 0.2, 1))
    assert [each.trace for each in exemplars.read(tmp_path).values()] == ["a"]
    assert exemplars.read(tmp_path / "nowhere") == {}


def test_they_are_put_on_the_buckets_that_they_are_of_alone(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    histogram = Histogram("took_seconds", "Text.", LABELS, buckets=BOUNDS, registry=registry)
    other = Histogram("other_seconds", "Text.", LABELS, buckets=BOUNDS, registry=registry)
    for each in (histogram, other):
        each.labels(*NOTES).observe(0.2)
        each.labels("GET /patients", *NOTES[1:]).observe(0.2)
    of(tmp_path, 7, Exemplar("5af7651916cd43dd8448eb211c80319c", 0.2, 1700000000.5))

    class Shown:
        def collect(self):  # type: ignore[no-untyped-def]
            return exemplars.put_in(registry.collect(), "took_seconds", exemplars.read(tmp_path))

    made = CollectorRegistry()
    made.register(Shown())
    families = text_string_to_metric_families(generate_latest(made).decode())
    told = [sample for family in families for sample in family.samples if sample.exemplar is not None]
    [sample] = told
    assert (sample.name, sample.labels["le"], sample.labels["endpoint"]) == ("took_seconds_bucket", "0.5", "GET /notes")
    assert sample.exemplar.labels == {"trace_id": "5af7651916cd43dd8448eb211c80319c"}
    assert (sample.exemplar.value, float(sample.exemplar.timestamp)) == (0.2, 1700000000.5)
