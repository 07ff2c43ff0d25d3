"""What requests count in is written down together, as if each had been written alone."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import Metric

from sidecar.exchange import AnsweredBy, Client, Exchange, Outcome
from sidecar.http.messages import Request, Response
from sidecar.telemetry.metrics import BUCKETS, Metrics

TOOK = [0.0, 0.004, 0.005, 0.0051, 0.4, 2.9, 3.0, 30.0, 31.0]


def ended(took: float, status: int = 200, endpoint: str = "GET /notes") -> Exchange:
    return Exchange(
        "i", 0, Request("GET", "/notes", []), "r", "t", endpoint=endpoint, response=Response(status),
        outcome=Outcome.SUCCESS, answered_by=AnsweredBy.UPSTREAM, ended=round(took * 1e9),
    )  # fmt: skip


def samples(registry: CollectorRegistry, name: str) -> Iterator[tuple[str, dict[str, str], float]]:
    family: Metric
    for family in registry.collect():
        for sample in family.samples:
            if sample.name.startswith(name) and not sample.name.endswith("_created"):
                yield sample.name.removeprefix(name), dict(sample.labels), sample.value


def test_many_at_once_are_observed_as_each_alone_would_be() -> None:
    metrics, alone = Metrics(CollectorRegistry()), CollectorRegistry()
    each = Histogram("alone", "Each.", buckets=BUCKETS, registry=alone)
    for took in TOOK:
        each.observe(took)
        metrics.request(ended(took))
    metrics.flush()
    found = [
        (kind, labels.get("le"), value)
        for kind, labels, value in samples(metrics.registry, "understudy_request_duration_seconds")
    ]
    assert found == [(kind, labels.get("le"), value) for kind, labels, value in samples(alone, "alone")]


def test_a_count_is_written_once() -> None:
    metrics = Metrics(CollectorRegistry())
    for status in (200, 200, 404):
        metrics.request(ended(0.1, status, "GET /once"))
        metrics.attempt("GET /once", Outcome.SUCCESS, Client.USER)
    metrics.flush()
    metrics.flush()
    counted = {
        labels["code"]: value
        for _, labels, value in samples(metrics.registry, "understudy_requests_total")
        if labels["endpoint"] == "GET /once"
    }
    assert counted == {"200": 2.0, "404": 1.0}
    attempts = samples(metrics.registry, "understudy_upstream_attempts_total")
    assert [value for _, labels, value in attempts if labels["endpoint"] == "GET /once"] == [3.0]
