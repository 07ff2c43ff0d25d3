"""Without OTLP there is nothing of traces in a process; with it, metrics name the traces of what they count."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics

from compose import monitoring
from tests.support.collector import Collector
from tests.support.stack import Sidecar, ask, free_port, until
from tests.support.upstream import HOLT, Upstream

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OFF = """
import sys
from pathlib import Path
from tests.support.gateway import InProcess
from tests.support.upstream import HOLT
with InProcess(Path(sys.argv[1])) as gateway:
    gateway.upstream.state.patients[17] = {"id": 17}
    assert gateway.ask("GET", "/patients/17", HOLT).status == 200
    assert gateway.ask("GET", "/patients/17", {**HOLT, "traceparent": sys.argv[2]}).status == 200
    print(dict(gateway.upstream.sent[-1].headers)["traceparent"])
print(sorted(name for name in sys.modules if name.startswith(("opentelemetry", "sidecar.telemetry.spans"))))
"""


def test_off_nothing_of_opentelemetry_is_imported_and_the_clients_context_goes_on_as_it_is(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", OFF, str(tmp_path), GIVEN], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [GIVEN, "[]"]


OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


def exemplified(sidecar: Sidecar) -> list[Any]:
    """The buckets that have an exemplar, as whoever asks for OpenMetrics is told."""
    told = ask(sidecar.control, "GET", "/metrics", OPENMETRICS).body.decode()
    found = (sample for family in openmetrics(told) for sample in family.samples)
    return [sample for sample in found if sample.exemplar is not None]


def test_a_bucket_names_a_trace_that_the_collector_has(tmp_path: Path) -> None:
    """Of two processes that serve, and of one that has ended; of no trace that is not recorded."""
    with (
        Collector() as collector, Upstream() as upstream,
        Sidecar(upstream.url, tmp_path / "data", otlp=collector.url, workers="2") as sidecar,
    ):  # fmt: skip
        upstream.state.patients[17] = {"id": 17, "name": "Rex"}
        ignored = "1" * 32
        sidecar.ask("GET", "/patients/17", {**HOLT, "traceparent": f"00-{ignored}-b7ad6b7169203331-00"})
        sidecar.ask("GET", "/patients/17", {**HOLT, "traceparent": GIVEN})
        found = until(lambda: exemplified(sidecar), 10, "an exemplar")
        traces = {sample.exemplar.labels["trace_id"] for sample in found}
        assert traces == {GIVEN[3:35]}
        until(lambda: traces <= {span.trace for span in collector.spans}, 10, "its spans")
        [sample] = found
        assert sample.name == "understudy_request_duration_seconds_bucket"
        assert (sample.labels["endpoint"], sample.labels["upstream"]) == ("GET /patients/{id}", "success")
        assert 0 < sample.exemplar.value <= float(sample.labels["le"])
        assert sample.value >= 1, "it is counted in that bucket"
        [whole] = [span for span in collector.of(GIVEN[3:35]) if span.kind == "server"]
        assert whole.start / 1e9 <= float(sample.exemplar.timestamp) <= whole.end / 1e9
        assert b"# {" not in ask(sidecar.control, "GET", "/metrics").body, "the older format has none"
        os.kill(sidecar.process.pid, signal.SIGHUP)
        until(lambda: (sidecar.data / "metrics/exemplars_0.json").exists(), 20, "workers that have ended")
        assert GIVEN[3:35] in {sample.exemplar.labels["trace_id"] for sample in exemplified(sidecar)}


@pytest.mark.prometheus
def test_prometheus_keeps_the_exemplars_as_compose_runs_it(tmp_path: Path) -> None:
    with (
        Collector() as collector, Upstream() as upstream,
        Sidecar(upstream.url, tmp_path / "data", otlp=collector.url) as sidecar,
        monitoring.prometheus(
            tmp_path, free_port(), "groups: []", f"127.0.0.1:{sidecar.control}", "127.0.0.1:9", "1s"
        ) as prometheus,
    ):  # fmt: skip
        upstream.state.patients[17] = {"id": 17, "name": "Rex"}

        def kept() -> set[str]:
            sidecar.ask("GET", "/patients/17", {**HOLT, "traceparent": GIVEN})
            asked = {"query": "understudy_request_duration_seconds_bucket", "start": "0", "end": f"{time.time():.0f}"}
            rows = prometheus.get("/api/v1/query_exemplars", **asked)["data"]
            return {each["labels"]["trace_id"] for row in rows for each in row["exemplars"]}

        assert until(kept, 30, "an exemplar in Prometheus") == {GIVEN[3:35]}
