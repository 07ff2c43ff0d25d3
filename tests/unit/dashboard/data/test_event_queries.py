"""What pages ask of the store: how events ended, as the facets' filters would find them."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event
from zoneinfo import ZoneInfo

import pytest

from dashboard.data.event_queries import Queries
from dashboard.values.filters import OUTCOMES, View
from sidecar.events.store import StoreUnavailable
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.timeunits import SECOND
from tests.support.dashboard import seed

NOW = 1_800_000_000 * SECOND


@pytest.mark.parametrize("chosen", ["", "refused", "worked", "failed", "uncertain", "signin"])
def test_each_ending_has_as_many_as_its_filter_finds(tmp_path: Path, chosen: str) -> None:
    store, dice = EmbeddedStore(tmp_path / "events.db"), random.Random(4)
    store.install()
    endings = [(200, "success"), (201, "success"), (401, "success"), (404, "success"), (503, "failure"),
               (422, "failure"), (502, "unknown"), (499, "unknown"), (409, "unknown"), (None, "failure"),
               (None, "unknown")]  # fmt: skip
    ended, made = [dice.choice(endings) for _ in range(300)], []
    for number, (status, outcome) in enumerate(ended):
        event, _ = seed.event(NOW - number * SECOND, dice, kind="patient", status=status or 0, outcome=outcome)
        if status is None:
            del event["http"]["response"]  # nobody was answered
        made.append(event)
    store.append(made)
    queries, view = Queries(store), View(period="1h", outcome=chosen)
    where = view.filter(NOW, ZoneInfo("UTC"))
    found = queries.endings(where)
    assert sum(found.values()) == queries.total(where)
    refused = sum(status in range(400, 499) for status, _ in ended)
    if not chosen:
        others = Counter(outcome for status, outcome in ended if status not in range(400, 499))
        told = {"worked": others["success"], "failed": others["failure"], "uncertain": others["unknown"]}
        assert found == {"refused": refused, **told}
        for name in found:
            assert found[name] == queries.total(View(period="1h", outcome=name).filter(NOW, ZoneInfo("UTC")))
    elif chosen == "refused":
        assert found == {"refused": refused}
    elif chosen in ("worked", "failed", "uncertain"):
        assert set(found) == {chosen}
    assert set(found) <= OUTCOMES.keys()
    store.close()


@pytest.mark.parametrize("many", [3, 2100])
def test_when_each_was_there_last_is_found_however_long_ago(tmp_path: Path, many: int) -> None:
    """Dr Holt was there before `many` events of others; who has no name is nobody."""
    store, dice = EmbeddedStore(tmp_path / "events.db"), random.Random(4)
    store.install()
    made = [seed.event(NOW - n * SECOND, dice, kind="patient", user="Nurse Tan", patient="17") for n in range(1, many)]
    made += [seed.event(NOW - 4000 * SECOND - n, dice, kind="patient", user="Dr Holt", patient="17") for n in range(2)]
    made.append(seed.event(NOW - 5000 * SECOND, dice, kind="patient", user="Dr Sato", patient="18"))
    store.append([event for event, _ in made])
    where = View(period="24h", patient="17").filter(NOW, ZoneInfo("UTC"))
    found = Queries(store).lasts(where, ["Dr Holt", "Nurse Tan", "Dr Sato", ""])
    assert found == {"Dr Holt": NOW - 4000 * SECOND, "Nurse Tan": NOW - SECOND, "Dr Sato": 0, "": 0}
    store.close()


@pytest.mark.parametrize("fails", [False, True], ids=["counted", "away"])
@pytest.mark.parametrize("how", ["kept", "while_same"])
def test_what_several_want_at_once_is_made_once_and_told_to_all(tmp_path: Path, how: str, fails: bool) -> None:
    """Its error too: not each of them waits for a store that does not answer."""
    queries, begun, go, made = Queries(EmbeddedStore(tmp_path / "events.db")), Event(), Event(), []

    def make() -> str:
        begun.set()
        made.append("once")
        assert go.wait(20)
        if fails:
            raise StoreUnavailable("no answer")
        return "found"

    def want(which: str) -> str:
        return str(getattr(queries, how)(which, 60.0, make))

    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(want, "this")
        assert begun.wait(20)
        others = [pool.submit(want, "this") for _ in range(3)]
        another = pool.submit(want, "that")
        wait([first, *others], 0.5)  # until they wait, too
        go.set()
        ended = [each.exception() or each.result() for each in (first, *others)]
        assert another.exception() or another.result()
    assert {str(each) for each in ended} == {"no answer" if fails else "found"}
    assert len(made) == 2
    if fails:
        assert isinstance(first.exception(), StoreUnavailable)
        fails = False  # it is back
    assert want("this") == "found", "an error is not kept"
