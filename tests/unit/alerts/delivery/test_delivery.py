"""Pages are told once, in order, through trouble: real receivers, a real evaluator that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete

from alerts.channels import Slack, Webhook
from alerts.channels.deliverer import Deliverer
from alerts.delivery.grouping import ALONE, Grouping
from alerts.delivery.queue import Queue, Route, Told
from alerts.evaluator import Evaluator, Pace, stuck
from alerts.lifecycle.lifecycle import Condition
from alerts.lifecycle.store import Alerts
from alerts.lifecycle.tables import SCHEMA, alerts, deliveries, messages, open_alerts
from alerts.objectives.openslo import locate
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.settings import Settings
from sidecar.storage.database import open_file
from sidecar.timeunits import SECOND
from tests.support.alerts.receivers import CLOSED, Receiver, heart, receiver
from tests.support.alerts.recorded import exchange
from tests.support.postgres import cluster
from tests.support.stack import free_port, until

GROUPING = Grouping()
LABELS = {"slo": "answered", "objective": "success", "view": "users", "endpoint": "all"}
BURN = Condition(name="ErrorBudgetBurn", severity="page", source="events", labels=LABELS, notes={"reason": "r"})
PAGES = [replace(BURN, labels={**LABELS, "slo": name}) for name in ("answered", "in-time", "front-door")]
TICKET = replace(BURN, severity="ticket")
OTHER = Condition(name="NoTraffic", severity="ticket", source="events", notes={"reason": "nobody"})


class Clock:
    now = 1000 * SECOND

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_alerts(Settings(data=tmp_path))
    yield engine
    engine.dispose()


def told(queue: Queue, channel: Webhook) -> list[Told]:
    found = []
    for delivery in queue.due():
        became, said = channel.send(delivery)
        queue.mark(delivery, became, said)
        found.append(became)
    return found


def test_what_is_resolved_never_overtakes_what_fired(engine: Engine) -> None:
    clock = Clock()
    state, queue = Alerts(engine, clock), Queue(engine, ["webhook"], clock)
    with receiver() as mine:
        channel = Webhook(mine.url, "http://dashboard/alerts")
        mine.answers = [500, 429]
        state.apply([BURN], unknown=set(), repeat=3600 * SECOND, enqueue=queue.enqueue)
        assert told(queue, channel) == [Told.RETRY]
        state.apply([], unknown=set(), repeat=3600 * SECOND, enqueue=queue.enqueue)
        assert told(queue, channel) == []
        clock.now += 2 * SECOND
        assert told(queue, channel) == [Told.RETRY]
        clock.now += 3 * SECOND
        assert told(queue, channel) == [Told.DONE]
        assert told(queue, channel) == [Told.DONE]
        assert told(queue, channel) == []
        assert mine.statuses("ErrorBudgetBurn") == ["firing", "resolved"]


def test_a_message_that_is_refused_holds_up_nothing_and_is_kept(engine: Engine) -> None:
    clock = Clock()
    state, queue = Alerts(engine, clock), Queue(engine, ["webhook"], clock)
    with receiver() as mine:
        mine.answers = [422]
        state.apply([BURN, OTHER], unknown=set(), repeat=3600 * SECOND, enqueue=queue.enqueue)
        assert told(queue, Webhook(mine.url, "")) == [Told.REFUSED, Told.DONE]
    assert [(row["state"], row["said"]) for row in state.deliveries()] == [("done", "200"), ("refused", "422")]


def test_a_receiver_that_is_not_there_is_tried_again(engine: Engine) -> None:
    clock = Clock()
    state, queue = Alerts(engine, clock), Queue(engine, ["webhook"], clock)
    state.apply([BURN], unknown=set(), repeat=3600 * SECOND, enqueue=queue.enqueue)
    assert told(queue, Webhook(f"http://127.0.0.1:{free_port()}/", "")) == [Told.RETRY]
    clock.now += 60 * SECOND
    with receiver() as mine:
        assert told(queue, Webhook(mine.url, "")) == [Told.DONE]


def grouped(engine: Engine, clock: Clock, **more: Route) -> tuple[Alerts, Queue]:
    return Alerts(engine, clock), Queue(engine, {"webhook": Route(), **more}, clock)


def see(state: Alerts, queue: Queue, *holding: Condition) -> None:
    state.apply(holding, unknown=set(), repeat=3600 * SECOND, enqueue=queue.enqueue, group=GROUPING.key)


def test_an_outage_is_one_message_for_each_severity(engine: Engine) -> None:
    clock = Clock()
    state, queue = grouped(engine, clock)
    with receiver() as mine:
        channel = Webhook(mine.url, "")
        see(state, queue, *PAGES[:2], TICKET)
        assert told(queue, channel) == [], "others may join"
        clock.now += 5 * SECOND
        see(state, queue, *PAGES, TICKET)
        clock.now += 5 * SECOND
        assert told(queue, channel) == [Told.DONE, Told.DONE]
        assert [len(payload["alerts"]) for _, payload in mine.got] == [3, 1]
        clock.now += 3589 * SECOND
        see(state, queue, *PAGES, TICKET)
        assert told(queue, channel) == []
        clock.now += 6 * SECOND
        see(state, queue, *PAGES, TICKET)
        assert told(queue, channel) == [Told.DONE, Told.DONE], "all of a group is repeated at once"
        assert [len(payload["alerts"]) for _, payload in mine.got] == [3, 1, 3, 1]
        assert len(set(mine.keys)) == 4
    assert mine.misshapen == []


def test_a_group_that_is_told_waits_for_its_interval_but_a_page_that_begins_does_not(engine: Engine) -> None:
    clock = Clock()
    state, queue = grouped(engine, clock)
    with receiver() as mine:
        channel = Webhook(mine.url, "")
        see(state, queue, *PAGES[:2])
        clock.now += 10 * SECOND
        assert told(queue, channel) == [Told.DONE]
        see(state, queue, PAGES[0])
        clock.now += 299 * SECOND
        assert told(queue, channel) == []
        clock.now += SECOND
        assert told(queue, channel) == [Told.DONE]
        see(state, queue, PAGES[0], PAGES[2])
        clock.now += 10 * SECOND
        assert told(queue, channel) == [Told.DONE]
        see(state, queue)
        clock.now += 300 * SECOND
        assert told(queue, channel) == [Told.DONE]
    of = [[alert["status"] for alert in payload["alerts"]] for _, payload in mine.got]
    assert of == [["firing"] * 2, ["firing", "resolved"], ["firing"] * 2, ["resolved"] * 2]
    assert mine.statuses("ErrorBudgetBurn") == ["firing", "firing", "firing", "resolved"]


def test_a_channel_for_pages_gets_no_ticket(engine: Engine) -> None:
    clock = Clock()
    state, queue = grouped(engine, clock, pager=Route(severities=frozenset({"page"})))
    see(state, queue, PAGES[0], TICKET)
    clock.now += 10 * SECOND
    assert [len(each.content["alerts"]) for each in queue.due("pager")] == [1]
    assert len(queue.due("webhook")) == 2


def test_a_dead_channel_delays_no_other(engine: Engine) -> None:
    state, queue = Alerts(engine), Queue(engine, {"webhook": Route(ALONE), "slack": Route(ALONE)})
    with receiver() as well, receiver("slack") as slow:
        slow.hold.set()
        channels = [Webhook(well.url, "http://d/"), Slack(slow.url, "http://d/")]
        stop = threading.Event()
        threads = Deliverer(queue, state, channels, lambda: True).threads(stop)
        see(state, queue, *PAGES)
        for thread in threads:
            thread.start()
        until(lambda: len(well.got) == 3, 10, "what the other channel gets")
        assert (slow.tried, slow.got) == (1, [])
        slow.hold.clear()
        until(lambda: len(slow.got) == 3, 10, "what the slow one gets in the end")
        stop.set()
        for thread in threads:
            thread.join()


def test_a_channel_that_takes_nothing_is_an_alert_for_the_others(engine: Engine) -> None:
    clock = Clock()
    state, queue = Alerts(engine, clock), Queue(engine, ["webhook"], clock)
    with receiver() as mine:
        mine.answers = [500]
        see(state, queue, BURN)
        assert queue.waiting() == {}
        told(queue, Webhook(mine.url, ""))
        assert stuck(queue.waiting(), clock.now + 300 * SECOND) == []
        [alert] = stuck(queue.waiting(), clock.now + 301 * SECOND)
        assert (alert.name, alert.labels, alert.severity) == ("ChannelStuck", {"channel": "webhook"}, "page")
        clock.now += 10 * SECOND
        told(queue, Webhook(mine.url, ""))
        assert queue.waiting() == {}


def test_a_file_made_before_messages_is_widened(tmp_path: Path) -> None:
    engine = open_file(tmp_path / "alerts.db")
    with engine.begin() as connection:
        SCHEMA.steps(connection, "0001")
        connection.exec_driver_sql(
            "INSERT INTO alert_deliveries (key, channel, line, content, state, tries, made_at, due_at, done_at, said)"
            " VALUES ('webhook:a-1-firing', 'webhook', 'webhook:a', '{}', 'done', 1, 1, 1, 1, '200')"
        )
    engine.dispose()
    engine = open_alerts(Settings(data=tmp_path))
    state, queue = Alerts(engine), Queue(engine, ["webhook"])
    see(state, queue, BURN)
    assert [each.key for each in queue.due()] == [f"webhook:{BURN.key}-1-firing"]
    assert [row["state"] for row in state.deliveries()] == ["waiting", "done"]
    engine.dispose()


def test_what_was_told_long_ago_is_forgotten_and_what_waits_never(engine: Engine) -> None:
    clock = Clock()
    state, queue = Alerts(engine, clock), Queue(engine, ["webhook", "slack"], clock)
    see(state, queue, BURN)
    with receiver() as mine:
        channel = Webhook(mine.url, "")
        for delivery in queue.due("webhook"):
            queue.mark(delivery, *channel.send(delivery))
        for delivery in queue.due("slack"):
            queue.mark(delivery, Told.RETRY, "503")
        queue.forget(clock.now)
        assert len(state.deliveries()) == 2
        clock.now += 60 * SECOND
        queue.forget(clock.now)
        assert [row["channel"] for row in state.deliveries()] == ["slack"]
        assert [each.key for each in queue.due()] == [f"slack:{BURN.key}-1-firing"]


@pytest.mark.postgresql
def test_postgresql_keeps_groups_as_the_file_does(tmp_path: Path) -> None:
    with cluster() as url:
        engine = open_alerts(Settings(data=tmp_path, database=url))
        test_an_outage_is_one_message_for_each_severity(engine)
        for table in (alerts, deliveries, messages):
            with engine.begin() as connection:
                connection.execute(delete(table))
        test_what_was_told_long_ago_is_forgotten_and_what_waits_never(engine)
        engine.dispose()


class Sight:
    """What an evaluator sees."""

    unknown: frozenset[str] = frozenset()
    broken = False

    def __call__(self, _now: int) -> tuple[list[Condition], frozenset[str]]:
        if self.broken:
            raise RuntimeError("evaluation")
        return [], self.unknown


def test_the_heart_beats_only_after_a_whole_evaluation(engine: Engine) -> None:
    beats: list[int] = []
    sight = Sight()
    with heart(lambda: beats.append(1)) as url:
        pace = Pace(every=1, repeat=SECOND, keep=lambda _: 0, grouping=GROUPING)
        evaluator = Evaluator(engine, sight, [], {}, pace, url)
        evaluator.evaluate()
        assert beats == [], "another evaluator has the lease, or none"
        evaluator.lease.hold()
        evaluator.evaluate()
        assert len(beats) == 1
        sight.unknown = frozenset({"events"})
        evaluator.evaluate()
        sight.unknown, sight.broken = frozenset(), True
        evaluator.evaluate()
        assert len(beats) == 1, "blind or broken"
        sight.broken = False
        evaluator.evaluate()
        assert len(beats) == 2


def test_the_heart_stands_still_where_no_channel_takes_anything(engine: Engine) -> None:
    beats: list[int] = []
    clock = Clock()
    queue = Queue(engine, ["webhook"], clock)
    see(Alerts(engine, clock), queue, BURN)
    [delivery] = queue.due()
    queue.mark(delivery, Told.RETRY, "500")
    with heart(lambda: beats.append(1)) as url:
        pace = Pace(every=1, repeat=SECOND, keep=lambda _: 0, grouping=GROUPING)
        evaluator = Evaluator(engine, Sight(), [], {"webhook": Route(ALONE)}, pace, url)
        evaluator.lease.hold()
        evaluator.evaluate()
        assert beats == []
        queue.mark(delivery, Told.DONE, "200")
        evaluator.evaluate()
    assert len(beats) == 1


class Failing:
    """Users' requests that fail, ten a second, until it is left."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._count = 0

    def __enter__(self) -> Failing:
        self._add(25 * SECOND)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _add(self, back: int) -> None:
        now = time.time_ns()
        events = []
        for at in range(now - back, now, SECOND // 10):
            self._count += 1
            events.append(
                exchange(
                    self._count, at, outcome="failure", status=503, answered_by="understudy", upstream=("failure",)
                )
            )
        self._store.append(events)

    def _run(self) -> None:
        while not self._over.wait(0.2):
            self._add(SECOND // 5)


@contextmanager
def evaluator(data: Path, slos: Path, **channels: str) -> Iterator[subprocess.Popen[bytes]]:
    environ = {
        **{k: v for k, v in os.environ.items() if not k.startswith("UNDERSTUDY_")},
        "UNDERSTUDY_UPSTREAM": "http://127.0.0.1:9", "UNDERSTUDY_DATA": str(data), "UNDERSTUDY_SLOS": str(slos),
        "UNDERSTUDY_ALERT_EVERY": "250ms", "UNDERSTUDY_CONTROL_LISTEN": f"127.0.0.1:{free_port()}",
        "UNDERSTUDY_ALERT_KEEP": "2s", "UNDERSTUDY_ALERT_GROUP_WAIT": "500ms", "UNDERSTUDY_ALERT_GROUP_INTERVAL": "1s",
        **{f"UNDERSTUDY_ALERT_{name}": value for name, value in channels.items()},
    }  # fmt: skip
    with (data.parent / "alerts.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "sidecar", "alerts"], env=environ, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_killed_while_firing_it_tells_nothing_twice_and_loses_nothing(tmp_path: Path) -> None:
    """On three channels, of which one is slow to come up and one answers 500 now and then."""
    store = EmbeddedStore(tmp_path / "data" / "events.db")
    store.install()
    slos = tmp_path / "hosp.yaml"
    slos.write_text(locate("hosp").read_text().replace("duration: 30d", "duration: 6h"))
    with receiver() as mine, receiver("pagerduty") as pager, receiver("slack") as slack:
        pager.answers = [500, CLOSED, 200, 500]
        given = {"WEBHOOK": mine.url, "PAGERDUTY_KEY": "0" * 32, "PAGERDUTY": pager.url, "SLACK": slack.url}
        slack.answers = [503] * 6
        with Failing(store):
            with evaluator(tmp_path / "data", slos, **given) as process:
                until(lambda: mine.statuses("ErrorBudgetBurn", "page"), 30, "a page")
                until(lambda: incidents(pager) and slack.got, 30, "the same on the other channels")
                _kill(process)
            before, open_ = mine.keys, under_way(tmp_path / "data")
            with evaluator(tmp_path / "data", slos, **given) as process:
                time.sleep(9)  # longer than the dead one's lease
                _kill(process)
            open_ += under_way(tmp_path / "data")
        with evaluator(tmp_path / "data", slos, **given):
            until(lambda: mine.statuses("ErrorBudgetBurn", "page")[-1] == "resolved", 40, "the page is resolved")
            until(lambda: incidents(pager) and incidents(pager) <= resolved(pager), 20, "PagerDuty's incident too")
            until(lambda: len(slack.got) >= 2, 20, "Slack's messages")
    assert before
    assert set(before) <= set(mine.keys)
    triggers = [body for body in _bodies(pager) if "trigger" in body]
    for channel, said in ((mine, mine.keys), (pager, triggers), (slack, _bodies(slack))):
        twice = len(said) - len(set(said))
        # Only what was taken and not yet marked when the sender died may come again.
        assert twice <= sum(key.startswith(channel.name) for key in open_), f"{channel.name} was told twice"
        assert channel.misshapen == []
    store.close()


def under_way(data: Path) -> list[str]:
    """The keys of messages that were not marked as taken when the sender died."""
    engine = open_alerts(Settings(data=data))
    rows = Alerts(engine).deliveries(10_000)
    engine.dispose()
    return sorted({row["message"] for row in rows if row["state"] == Told.RETRY and row["message"]})


def incidents(pager: Receiver) -> set[str]:
    """Those that page of a budget (nobody runs a sidecar here, which may be a page as well)."""
    told = [event for _, event in pager.got if event["event_action"] == "trigger"]
    pages = [event for event in told if event["payload"]["severity"] == "critical"]
    return {event["dedup_key"] for event in pages if event["payload"]["class"] == "ErrorBudgetBurn"}


def resolved(pager: Receiver) -> set[str]:
    return {each["dedup_key"] for _, each in pager.got if each["event_action"] == "resolve"}


def _bodies(of: Receiver) -> list[str]:
    return [json.dumps(content) for _, content in of.got]
