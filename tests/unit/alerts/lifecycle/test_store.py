"""Alerts outlive their evaluator: what became of them and what is to be told change together, or not at all."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import Connection, Engine

from alerts.lifecycle.lifecycle import Condition, Kind, Notice, State
from alerts.lifecycle.store import Alerts, Superseded
from sidecar.timeunits import SECOND
from tests.support.alerts.clock import Clock

BURN = Condition(name="ErrorBudgetBurn", severity="page", source="events", labels={"slo": "hosp"}, notes={"what": "x"})


def nothing(_connection: Connection, _notices: Sequence[Notice], _now: int) -> None:
    return


def died(_connection: Connection, _notices: Sequence[Notice], _now: int) -> None:
    raise RuntimeError("killed here")


def test_what_could_not_be_queued_has_not_happened(engine: Engine) -> None:
    state = Alerts(engine, Clock(SECOND))
    with pytest.raises(RuntimeError):
        state.apply([BURN], unknown=set(), repeat=SECOND, enqueue=died)
    assert state.all() == []
    notices = Alerts(engine, Clock(SECOND)).apply([BURN], unknown=set(), repeat=SECOND, enqueue=nothing)
    assert [notice.kind for notice in notices] == [Kind.FIRING]


def test_a_new_evaluator_goes_on_where_the_last_one_was(engine: Engine) -> None:
    clock = Clock(SECOND)
    Alerts(engine, clock).apply([BURN], unknown=set(), repeat=100 * SECOND, enqueue=nothing)
    clock.now = 16 * SECOND
    again = Alerts(engine, clock)
    assert again.apply([BURN], unknown=set(), repeat=100 * SECOND, enqueue=nothing) == []
    assert again.all()[0].labels == {"slo": "hosp"}
    notices = again.apply([], unknown=set(), repeat=100 * SECOND, enqueue=nothing)
    assert [notice.kind for notice in notices] == [Kind.RESOLVED]


def test_one_who_lost_the_lease_changes_nothing(engine: Engine) -> None:
    state = Alerts(engine, Clock(SECOND))
    with pytest.raises(Superseded):
        state.apply([BURN], unknown=set(), repeat=SECOND, enqueue=nothing, fence=lambda _: False)
    assert state.all() == []


def test_what_people_did_is_kept_with_who_and_why(engine: Engine) -> None:
    state = Alerts(engine, Clock(SECOND))
    state.apply([BURN], unknown=set(), repeat=SECOND, enqueue=nothing)
    state.acknowledge(BURN.key[:6], "Ms Pell", "on it")
    state.silence(BURN.key, "Ms Pell", "HOSP is being mended", 9 * SECOND)
    assert state.find(BURN.key).state is State.SILENCED
    told = [(row["state"], row["by"], row["reason"]) for row in state.history()]
    assert told == [
        ("silenced", "Ms Pell", "HOSP is being mended"), ("acknowledged", "Ms Pell", "on it"), ("firing", "", ""),
    ]  # fmt: skip
    with pytest.raises(LookupError, match="no alert"):
        state.acknowledge("nobody", "Ms Pell", "x")
