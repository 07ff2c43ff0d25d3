"""What a message tells beside the figures: who fails and how, what changed, whether users are covered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alerts.lifecycle.lifecycle import Condition
from alerts.rules.context import Context, changed, covered, failing, kinds
from alerts.rules.coverage import Cover
from sidecar.control.client import ControlError
from sidecar.events.store import Bucket, EventStore, Filter, StoreUnavailable
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.timeunits import SECOND
from tests.support.alerts.recorded import SCREEN, exchange

NOW = 1_764_000_000
NOTES, LIST = "GET /notes", "GET /patients"


def burning(view: str) -> Condition:
    labels = {"slo": "answered", "objective": "99%", "view": view, "endpoint": "all"}
    notes = {"reason": "r", "window": "3600s-300s"}
    return Condition(name="ErrorBudgetBurn", severity="page", source="events", labels=labels, notes=notes)


def row(name: str, *, ready: bool = True, by: str = "upstream", why: str = "ready") -> dict[str, Any]:
    return {"name": name, "ready": ready, "ready_reason": why, "answered_by": by}


class Control:
    """A control plane that says this; None: it does not answer."""

    def __init__(self, answers: dict[str, Any] | None) -> None:
        self._answers = answers

    def get(self, path: str) -> Any:
        if self._answers is None:
            raise ControlError("it does not answer")
        return self._answers[path]


class Away(EmbeddedStore):
    def count(self, *_: Any, **__: Any) -> list[Bucket]:
        raise StoreUnavailable("away")

    def search(self, _where: Filter, *_: Any) -> Any:
        raise StoreUnavailable("away")


def explained(store: EventStore, control: Control, *views: str) -> list[Condition]:
    rows = [row(NOTES, by="standby"), row(SCREEN, ready=False, why="only the upstream can answer this", by="standby")]
    return Context(store, control).explain([burning(view) for view in views], rows, NOW)  # type: ignore[arg-type]


def test_it_tells_who_fails_and_how_in_each_view(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "events.db")
    store.install()
    at = (NOW - 100) * SECOND
    events = [exchange(n, at, endpoint=NOTES, outcome="failure", status=503, upstream=("failure",)) for n in range(3)]
    events += [exchange(10, at, endpoint=LIST, duration=4 * SECOND), exchange(11, at, endpoint=LIST)]
    events += [exchange(20, at, endpoint="other", outcome="failure", status=500, upstream=("failure",))]
    events += [exchange(21, at, client="test", outcome="failure", status=500), exchange(22, at, left=True)]
    events += [exchange(30, (NOW - 4000) * SECOND, endpoint=LIST, outcome="failure", status=500)]
    for event, how in zip(events, ("refused", "refused", "timeout"), strict=False):
        event["understudy"]["reason"] = how
        event["understudy"]["attempts"] = [{"outcome": "failure", "error": how}]
    store.append(events)
    control = Control(
        {"/transitions": [{"at": at, "endpoint": "notes.list", "before": "closed", "after": "open", "reason": "refused",
                           "by": "circuit"}],
         "/marks": [{"at": at + SECOND, "text": "release 7", "by": "Pell"}, {"at": 1, "text": "old", "by": "Pell"}]}
    )  # fmt: skip
    users, hosp = explained(store, control, "users", "hosp")
    assert users.notes["failing"] == f"{NOTES}: 3 (503 refused 2, 503 timeout 1); {LIST}: 1 took over 3 s"
    assert hosp.notes["failing"].startswith(f"of the latest 4 failures {NOTES}: refused 2, timeout 1")
    for each in (users, hosp):
        assert each.notes["changed"] == (
            "2025-11-24T15:58:21Z mark by Pell: release 7; 2025-11-24T15:58:20Z notes.list closed → open (refused)"
        )
        assert each.notes["covered"] == (
            f"the standby can answer 1 of 2 endpoints, and answers now for {NOTES}; "
            f"not covered: {SCREEN} (only the upstream can answer this)"
        )
        assert each.key == burning(each.labels["view"]).key
    store.close()


def test_what_cannot_be_asked_is_said_to_be_unknown(tmp_path: Path) -> None:
    store = Away(tmp_path / "events.db")
    store.install()
    [users] = explained(store, Control(None), "users")
    assert users.notes["failing"] == "unknown: the event store does not answer"
    assert users.notes["changed"] == "unknown: the sidecar does not answer"
    assert covered(None) == "unknown: the sidecar does not answer"
    other = Condition(name="WriteParked", severity="ticket", source="x")
    assert Context(store, Control(None)).explain([other], None, NOW) == [other], "nothing is asked"  # type: ignore[arg-type]
    store.close()


def test_nothing_and_much_are_said_shortly() -> None:
    assert failing([], [], []) == kinds([]) == "none now"
    assert changed([], [], 0) == "nothing in the last hour"
    many = [Bucket(0, (f"GET /{n}", "500", ""), n + 1) for n in range(9)]
    assert failing(many, [], []).endswith("; and 3 more")
    assert failing(many, [], []).startswith("GET /8: 9 (500 9); GET /7: 8")


def test_readiness_that_is_lost_for_moments_wakes_nobody() -> None:
    cover = Cover([NOTES, LIST], keep=60)
    assert not cover.seen(None, NOW)(None), "nothing is known yet"
    both = [row(NOTES), row(LIST), row(SCREEN, ready=False)]
    seen = cover.seen(both, NOW)
    assert (seen(None), seen(NOTES), seen(SCREEN)) == (True, True, False)
    unsettled = [row(NOTES, ready=False), row(LIST)]
    assert cover.seen(unsettled, NOW + 60)(None)
    lost = cover.seen(unsettled, NOW + 61)
    assert (lost(None), lost(NOTES), lost(LIST)) == (False, False, True)
    assert cover.seen(None, NOW + 121)(LIST)
    assert not cover.seen(None, NOW + 122)(LIST), "unknown is not covered"
