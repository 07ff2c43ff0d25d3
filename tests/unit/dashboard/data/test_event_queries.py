"""What pages ask of the store: how events ended, as the facets' filters would find them."""

from __future__ import annotations

import random
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dashboard.data.event_queries import Queries
from dashboard.values.filters import OUTCOMES, View
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.timeunits import SECOND
from tests.support.dashboard import seed

NOW = 1_800_000_000 * SECOND


@pytest.mark.parametrize("chosen", ["", "refused", "worked", "failed", "signin"])
def test_each_ending_has_as_many_as_its_filter_finds(tmp_path: Path, chosen: str) -> None:
    store, dice = EmbeddedStore(tmp_path / "events.db"), random.Random(4)
    store.install()
    endings = [(200, "success"), (201, "success"), (401, "success"), (404, "success"), (503, "failure"),
               (422, "failure"), (502, "unknown")]  # fmt: skip
    made = []
    for number in range(300):
        status, outcome = dice.choice(endings)
        made.append(seed.event(NOW - number * SECOND, dice, kind="patient", status=status, outcome=outcome)[0])
    store.append(made)
    queries, view = Queries(store), View(period="1h", outcome=chosen)
    where = view.filter(NOW, ZoneInfo("UTC"))
    found = queries.endings(where)
    assert sum(found.values()) == queries.total(where)
    statuses = [str(code) for code in range(400, 500)]
    refused = [each for each in made if str(each["http"]["response"]["status_code"]) in statuses]
    if not chosen:
        assert found["refused"] == len(refused) > 0
        assert found["worked"] == sum(
            each["event"]["outcome"] == "success" and each["http"]["response"]["status_code"] < 400 for each in made
        )
        assert found["uncertain"] == sum(each["event"]["outcome"] == "unknown" for each in made)
    elif chosen == "refused":
        assert found == {"refused": len(refused)}
    elif chosen == "worked":
        assert set(found) == {"worked"}
    assert set(found) <= OUTCOMES.keys()
    store.close()
