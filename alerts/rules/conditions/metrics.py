"""Metrics as the control plane tells them (Prometheus' text format): values by name and labels. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

INSTANCE: Final = "instance"
"""The label that says which sidecar a value is of, where there are several; Prometheus has the same."""
Labels = tuple[tuple[str, str], ...]
"""Sorted."""
Metrics = Mapping[str, Mapping[Labels, float]]


def parse(text: str, wanted: Collection[str], bounds: Collection[float] = ()) -> Metrics:
    """Those of the names wanted, of histograms the buckets of these `bounds`. Raises ValueError where the text is not
    in the format."""
    starts, bucket = tuple(wanted), tuple(f'le="{bound}"' for bound in map(float, bounds))
    lines = "\n".join(line for line in text.splitlines() if line.startswith(starts) and _needed(line, bucket)) + "\n"
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(lines):
        for sample in family.samples:
            if sample.name in wanted:
                found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def _needed(line: str, bounds: tuple[str, ...]) -> bool:
    return "_bucket{" not in line or any(bound in line for bound in bounds)
