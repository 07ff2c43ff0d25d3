"""What measurements are said to be of."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bench.scale import tables

KEPT = json.loads(Path("tests/bench/plots/scale.json").read_text())


def test_the_capacity_section_tells_what_was_measured_and_of_how_many_workers() -> None:
    made = [line for line in tables(KEPT).splitlines() if not line.startswith("Measured by")]
    assert "\n".join(made) in Path("compose/README.md").read_text()
    other = tables({"space": {**KEPT["space"], "workers": 4}})
    assert (" 1 worker." in "\n".join(made), " 4 workers." in other) == (True, True)
