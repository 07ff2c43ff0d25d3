"""One look around beside a real sidecar: it tells all that alerts need; its death is an alert, and no end of any."""

from __future__ import annotations

import time
from pathlib import Path

from alerts.lifecycle.lifecycle import State
from alerts.lifecycle.store import Alerts
from alerts.lifecycle.tables import open_alerts
from alerts.objectives.openslo import load
from alerts.rules import conditions
from alerts.rules.burn_rules import Rule
from alerts.rules.control_plane import failed_sign_ins
from alerts.rules.cycle import Objectives, Watch
from alerts.rules.evaluation import Evaluation, levels
from sidecar.contract import Contract
from sidecar.control.client import Control
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.settings import Settings
from sidecar.timeunits import SECOND
from tests.support.stack import Sidecar, until
from tests.support.upstream import HOLT, Upstream, basic


def test_a_sidecar_tells_all_that_alerts_need_and_its_death_ends_nothing(tmp_path: Path) -> None:
    contract, rules = Contract.load("hosp"), conditions.load()
    promises = load("hosp", [endpoint.name for endpoint in contract.endpoints.values()])
    with Upstream() as upstream:
        upstream.state.patients[17] = {"id": 17, "name": "Rex"}
        with Sidecar(upstream.url, tmp_path / "data") as sidecar:
            store = EmbeddedStore(tmp_path / "data" / "events.db")
            settings = Settings(control_listen=("127.0.0.1", sidecar.control), data=tmp_path / "data")
            evaluation = Evaluation(store, promises, levels(promises), Rule())
            watch = Watch(
                Objectives(promises=promises, levels=levels(promises), evaluation=evaluation), rules, store,
                Control(settings), contract, keep=60,
            )  # fmt: skip
            wrong = {**HOLT, "Authorization": basic("Dr Holt", "wrong")}
            for _ in range(12):
                assert sidecar.ask("GET", "/patients", wrong).status == 401
            until(lambda: failed_sign_ins(store, int(time.time()), {600})[600] == {"Dr Holt": 12}, 10, "the sign-ins")
            found, unknown, unasked = watch(int(time.time()))
            assert not unasked, "nothing stops the heart"
            assert unknown <= {rule.source for rule in rules if rule.increase or rule.until or rule.below == 0.99}
            told = {(each.name, each.severity): each.notes["reason"] for each in found}
            assert ("CredentialsAttacked", "ticket") in told
            assert not {"Unmeasured", "SidecarUnreachable", "DiskFilling", "JournalNotShipping"} & {n for n, _ in told}
            assert {each.labels["endpoint"] for each in found if each.name == "StandbyIncomplete"} >= {"GET /patients"}
            engine = open_alerts(settings)
            clock = [time.time_ns()]
            state = Alerts(engine, lambda: clock[0])
            ready_later = [each for each in found if each.name == "StandbyIncomplete"]
            for _ in range(2):
                state.apply(found, unknown=unknown, repeat=10**15, enqueue=lambda *_: None)
                clock[0] += 901 * SECOND
        firing = {alert.key for alert in state.all() if alert.state is State.FIRING}
        assert {each.key for each in ready_later} <= firing
        found, unknown, _ = watch(int(time.time()))
        assert [each.name for each in found if each.source == conditions.CONTROL] == ["SidecarUnreachable"]
        state.apply(found, unknown=unknown, repeat=10**15, enqueue=lambda *_: None)
        still = {alert.key for alert in state.all() if alert.state is State.FIRING}
        assert {each.key for each in ready_later} <= still, "what cannot be seen has not ended"
        engine.dispose()
        store.close()
