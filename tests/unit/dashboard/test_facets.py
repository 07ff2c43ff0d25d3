"""Facets: what is chosen is marked as such, and a click on it takes it away."""

from __future__ import annotations

import json
import random
import time

import pytest
from plotly.utils import PlotlyJSONEncoder

from dashboard.context import Parts
from dashboard.values.filters import View
from dashboard.widgets import facets
from sidecar.timeunits import SECOND
from tests.support.dashboard import seed


@pytest.fixture
def parts(parts: Parts) -> Parts:
    dice, now = random.Random(1), time.time_ns()
    parts.store.install()
    people = ("Dr Holt", "Nurse Tan")
    made = [
        seed.event(now - n * SECOND, dice, kind="patient", user=people[n % 2], patient=str(17 + n % 2), status=200)
        for n in range(1, 9)
    ]
    parts.store.append([event for event, _ in made])
    return parts


@pytest.mark.parametrize(
    ("view", "chosen"),
    [
        (View(), []),
        (View(person="Dr Holt"), ["Dr Holt"]),
        (View(patient="17", action="read"), ["Patient 17", "looked at one record"]),
        (View(outcome="worked"), ["worked"]),
    ],
)
def test_what_is_chosen_is_marked(parts: Parts, view: View, chosen: list[str]) -> None:
    where = parts.queries.where(view, parts.clock(), parts.zone)
    drawn = [facets.facet(parts, name, view, where) for name in facets.NAMES]
    shown = json.loads(json.dumps(drawn, cls=PlotlyJSONEncoder))
    rows = [row["props"] for row in _all(shown, "Li")]
    marked = [row["children"][0]["props"] for row in rows if row.get("aria-current") == "true"]
    assert [link["children"] for link in marked] == chosen
    assert all("person=" not in link["href"] for link in marked if link["children"] == "Dr Holt")


def _all(part: object, kind: str) -> list[dict[str, dict[str, object]]]:
    if isinstance(part, list):
        return [found for each in part for found in _all(each, kind)]
    if not isinstance(part, dict):
        return []
    own = [part] if part.get("type") == kind else []
    return [*own, *(found for each in part.values() for found in _all(each, kind))]
