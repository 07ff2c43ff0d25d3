"""Pages are told once, in order, through trouble: real receivers, a real evaluator that is killed."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection, Engine, event

from alerts.channels import Alertmanager, Slack, Webhook
from alerts.channels.deliverer import Deliverer
from alerts.delivery.grouping import ALONE, Grouping
from alerts.delivery.queue import Queue, Route, Told
from alerts.evaluator import Evaluator, Pace, stuck
from alerts.lifecycle.lifecycle import Condition
from alerts.lifecycle.store import Alerts
from alerts.lifecycle.tables import SCHEMA, open_alerts
from alerts.message import headline, paragraphs
from alerts.rules.outlook import Outlook
from sidecar.settings import Settings
from sidecar.storage.database import open_file
from sidecar.timeunits import SECOND
from tests.support.alerts.clock import Clock
from tests.support.alerts.receivers import heart, receiver
from tests.support.stack import free_port, until

GROUPING = Grouping()
LABELS = {"slo": "answered", "objective": "success", "view": "users", "endpoint": "all"}
BURN = Condition(name="ErrorBudgetBurn", severity="page", source="events", labels=LABELS, notes={"reason": "r"})
PAGES = [replace(BURN, labels={**LABELS, "slo": name}) for name in ("answered", "in-time", "front-door")]
TICKET = replace(BURN, severity="ticket")
OTHER = Condition(name="NoTraffic", severity="ticket", source="events", notes={"reason": "nobody"})


def told(queue: Queue, channel: Webhook) -> list[Told]:
    found = []
    for delivery in queue.due():
        answer = channel.send(delivery)
        queue.mark(delivery, *answer)
        found.append(answer.told)
    return found


def test_what_is_resolved_never_overtakes_what_fired(engine: Engine) -> None:
    clock = Clock(1000 * SECOND)
    state, queue = Alerts(engine, clock), Queue(engine, ["webhook"], clock)
    with receiver() as mine:
        channel = Webhook(mine.url, "http://dashboard/alerts")
        see(state, queue, BURN)
        assert told(queue, channel) == [Told.DONE]
        clock.now += 2 * 3600 * SECOND
        mine.answers = [500, 429]
        see(state, queue, BURN)
        assert told(queue, channel) == [Told.RETRY], "that it goes on"
        see(state, queue)
        assert told(queue, channel) == [], "it waits as long as what it takes the place of"
        clock.now += 2 * SECOND
        assert told(queue, channel) == [Told.RETRY]
        clock.now += 3 * SECOND
        assert told(queue, channel) == [Told.DONE]
        assert told(queue, channel) == []
        assert mine.statuses("ErrorBudgetBurn") == ["firing", "resolved"]


def test_what_is_over_before_a_channel_came_back_is_one_message_of_the_past(engine: Engine) -> None:
    """It wakes nobody; what burns again meanwhile does."""
    clock = Clock(1000 * SECOND)
    state, queue = Alerts(engine, clock), Queue(engine, ["webhook"], clock)
    with receiver() as mine:
        channel = Webhook(mine.url, "http://dashboard/alerts")
        mine.answers = [503] * 100
        see(state, queue, BURN)
        for _ in range(3):
            clock.now += 3600 * SECOND
            assert told(queue, channel) == [Told.RETRY]
            see(state, queue, BURN)
        see(state, queue)
        told(queue, channel)
        mine.answers = []
        clock.now += 60 * SECOND
        [late] = queue.due()
        assert headline(late.content).startswith("past page: ")
        assert all("over before this channel could be told" in said for said in paragraphs(late.content, "x")
                   if "key" in said)  # fmt: skip
        assert told(queue, channel) == [Told.DONE]
        assert mine.statuses("ErrorBudgetBurn") == ["resolved"]
        mine.answers = [503]
        see(state, queue, BURN)
        told(queue, channel)
        see(state, queue)
        see(state, queue, BURN)
        for _ in range(2):
            clock.now += 60 * SECOND
            told(queue, channel)
        assert mine.statuses("ErrorBudgetBurn") == ["resolved", "firing", "firing"], "it burns again: that is a page"


def test_what_was_refused_while_it_burned_is_of_the_past_when_it_is_taken(engine: Engine) -> None:
    clock = Clock(1000 * SECOND)
    state, queue = Alerts(engine, clock), Queue(engine, ["webhook"], clock)
    with receiver() as mine:
        channel = Webhook(mine.url, "http://dashboard/alerts")
        mine.answers = [410, 410]
        see(state, queue, BURN)
        assert told(queue, channel) == [Told.REFUSED]
        see(state, queue)
        assert told(queue, channel) == [Told.REFUSED]
        clock.now += 300 * SECOND
        [late] = queue.due()
        assert late.content["past"]


def test_what_was_taken_and_cannot_be_marked_is_not_told_again(engine: Engine) -> None:
    """A full disk, as SQLite sees it: the file may not be written."""
    clock = Clock(1000 * SECOND)
    state, queue = Alerts(engine, clock), Queue(engine, ["webhook"], clock)
    full = [False]

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA query_only = {int(full[0])}")

    with receiver() as mine:
        channel = Webhook(mine.url, "http://dashboard/alerts")
        deliverer = Deliverer(queue, state, [channel], lambda: True, steady=clock)
        mine.answers = [503, 503]
        see(state, queue, BURN)
        queue.due()  # it is a message before the disk is full
        event.listen(engine, "begin", begin)
        full[0] = True
        for seconds, tries in ((0, 1), (1, 1), (5, 1), (5, 2), (10, 3), (1, 3), (3600, 3)):
            clock.now += seconds * SECOND
            deliverer.look(channel)
            assert mine.tried == tries, "what may pass is tried again now and then; what was taken is not"
        full[0] = False
        deliverer.look(channel)
        assert mine.tried == 3
        assert [row["state"] for row in state.deliveries()] == ["done"]


def test_a_message_that_is_refused_holds_up_nothing_and_is_kept(engine: Engine) -> None:
    clock = Clock(1000 * SECOND)
    state, queue = Alerts(engine, clock), Queue(engine, ["webhook"], clock)
    with receiver() as mine:
        mine.answers = [422]
        state.apply([BURN, OTHER], unknown=set(), repeat=3600 * SECOND, enqueue=queue.enqueue)
        assert told(queue, Webhook(mine.url, "")) == [Told.REFUSED, Told.DONE]
    assert [(row["state"], row["said"]) for row in state.deliveries()] == [("done", "200"), ("refused", "422")]


def test_a_channel_that_refuses_for_good_is_told_of_at_once_and_tried_again_later(engine: Engine) -> None:
    """PagerDuty's 400 for a key that was rotated, Slack's 410 for a room that is archived."""
    clock = Clock(1000 * SECOND)
    state, queue = Alerts(engine, clock), Queue(engine, ["webhook"], clock)
    with receiver() as mine:
        channel = Webhook(mine.url, "")
        mine.answers = [410]
        see(state, queue, BURN)
        assert told(queue, channel) == [Told.REFUSED]
        [alert] = stuck(queue.waiting(), queue.refused(), clock.now)
        assert (alert.name, alert.labels) == ("ChannelStuck", {"channel": "webhook"})
        assert "410" in alert.notes["reason"]
        assert told(queue, channel) == [], "not again at once"
        clock.now += 300 * SECOND
        assert told(queue, channel) == [Told.DONE], "its key was set anew"
        assert queue.refused() == {}
        clock.now += 300 * SECOND
        assert told(queue, channel) == []
        assert mine.statuses("ErrorBudgetBurn") == ["firing"]


def test_a_channel_is_not_told_that_it_is_stuck(engine: Engine) -> None:
    """When it can hear of it, it is over."""
    clock = Clock(1000 * SECOND)
    state, queue = Alerts(engine, clock), Queue(engine, ["webhook", "slack"], clock)
    see(state, queue, *stuck({}, {"slack": "410"}, clock.now))
    assert [delivery.channel for delivery in queue.due()] == ["webhook"]


def test_what_a_channel_is_not_told_it_is_not_told_again_either(engine: Engine) -> None:
    """Alertmanager is told of all that fires, again and again; of what no message tells it nothing would end there."""
    clock = Clock(1000 * SECOND)
    state = Alerts(engine, clock)
    pages = Route(severities=frozenset({"page"}))
    queue = Queue(engine, {"webhook": Route(), "alertmanager": pages}, clock)
    own, others = stuck({}, {"alertmanager": "503", "webhook": "503"}, 0)
    see(state, queue, own, others, TICKET)
    with receiver("alertmanager") as there:
        channel = Alertmanager(there.url, "", 3600, clock)
        Deliverer(queue, state, [channel], lambda: True).look(channel)
        posted = [alert["labels"] for _, body in there.got for alert in body]
    assert posted
    assert {each.get("channel") for each in posted} == {"webhook"}


def test_a_channel_that_does_not_know_us_is_told_of_at_once(engine: Engine) -> None:
    clock = Clock(1000 * SECOND)
    state, queue = Alerts(engine, clock), Queue(engine, ["webhook"], clock)
    with receiver() as mine:
        mine.answers = [404]
        see(state, queue, BURN)
        assert told(queue, Webhook(mine.url, "")) == [Told.RETRY]
        assert list(queue.refused().items()) == [("webhook", "404")]
        clock.now += SECOND
        told(queue, Webhook(mine.url, ""))
        assert queue.refused() == {}


def test_a_message_that_is_wrong_is_not_tried_again_where_others_are_taken(engine: Engine) -> None:
    clock = Clock(1000 * SECOND)
    state, queue = Alerts(engine, clock), Queue(engine, ["webhook"], clock)
    with receiver() as mine:
        channel = Webhook(mine.url, "")
        mine.answers = [413]
        see(state, queue, BURN)
        told(queue, channel)
        clock.now += SECOND
        see(state, queue, BURN, OTHER)
        assert told(queue, channel) == [Told.DONE]
        assert queue.refused() == {}
        clock.now += 600 * SECOND
        assert told(queue, channel) == []


def test_a_heart_that_answers_404_has_not_taken_the_beat(engine: Engine) -> None:
    with receiver() as mine:  # it takes POST only
        pace = Pace(every=1, repeat=SECOND, keep=lambda _: 0, grouping=GROUPING)
        evaluator = Evaluator(engine, Sight(), [], {}, pace, mine.url)
        evaluator.lease.hold()
        evaluator.evaluate()
        evaluator.evaluate()
    assert [alert.name for alert in Alerts(engine).all()] == ["HeartbeatFailing"]


def test_a_receiver_that_is_not_there_is_tried_again(engine: Engine) -> None:
    clock = Clock(1000 * SECOND)
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


def test_an_outage_is_one_message(engine: Engine) -> None:
    clock = Clock(1000 * SECOND)
    state, queue = grouped(engine, clock)
    with receiver() as mine:
        channel = Webhook(mine.url, "")
        see(state, queue, *PAGES[:2], TICKET)
        assert told(queue, channel) == [], "others may join"
        clock.now += 5 * SECOND
        see(state, queue, *PAGES, TICKET)
        clock.now += 5 * SECOND
        assert told(queue, channel) == [Told.DONE], "the ticket is told within"
        assert [len(payload["alerts"]) for _, payload in mine.got] == [4]
        clock.now += 3589 * SECOND
        see(state, queue, *PAGES, TICKET)
        assert told(queue, channel) == []
        clock.now += 6 * SECOND
        see(state, queue, *PAGES, TICKET)
        assert told(queue, channel) == [Told.DONE], "all of a group is repeated at once"
        assert [len(payload["alerts"]) for _, payload in mine.got] == [4, 4]
        assert len(set(mine.keys)) == 2
    assert mine.misshapen == []


def test_a_group_that_is_told_waits_for_its_interval_but_a_page_that_begins_does_not(engine: Engine) -> None:
    clock = Clock(1000 * SECOND)
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
        clock.now += 10 * SECOND
        assert told(queue, channel) == [Told.DONE], "the end of all waits for no interval"
    of = [[alert["status"] for alert in payload["alerts"]] for _, payload in mine.got]
    assert of == [["firing"] * 2, ["firing", "resolved"], ["firing"] * 2, ["resolved"] * 2]
    assert mine.statuses("ErrorBudgetBurn") == ["firing", "firing", "firing", "resolved"]


def test_a_channel_for_pages_gets_no_ticket(engine: Engine) -> None:
    clock = Clock(1000 * SECOND)
    state, queue = grouped(engine, clock, pager=Route(severities=frozenset({"page"})))
    see(state, queue, PAGES[0], OTHER)
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
        until(lambda: slow.tried == 1, 10, "the slow one is tried")
        assert slow.got == []
        slow.hold.clear()
        until(lambda: len(slow.got) == 3, 10, "what the slow one gets in the end")
        stop.set()
        for thread in threads:
            thread.join()


def test_a_channel_that_takes_nothing_is_an_alert_for_the_others(engine: Engine) -> None:
    clock = Clock(1000 * SECOND)
    state, queue = Alerts(engine, clock), Queue(engine, ["webhook"], clock)
    with receiver() as mine:
        mine.answers = [500]
        see(state, queue, BURN)
        assert queue.waiting() == {}
        told(queue, Webhook(mine.url, ""))
        assert stuck(queue.waiting(), queue.refused(), clock.now + 300 * SECOND) == []
        [alert] = stuck(queue.waiting(), queue.refused(), clock.now + 301 * SECOND)
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
    clock = Clock(1000 * SECOND)
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


class Sight:
    """What an evaluator sees."""

    unknown: frozenset[str] = frozenset()
    unasked: frozenset[str] = frozenset()
    broken = False

    def __call__(self, _now: int) -> Outlook:
        if self.broken:
            raise RuntimeError("evaluation")
        return Outlook([], self.unknown | self.unasked, self.unasked)


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
        sight.unasked = frozenset({"events"})
        evaluator.evaluate()
        sight.unasked, sight.broken = frozenset(), True
        evaluator.evaluate()
        assert len(beats) == 1, "blind or broken"
        sight.broken = False
        evaluator.evaluate()
        assert len(beats) == 2
        sight.unknown = frozenset({"rule:CertificateExpiring:page"})
        evaluator.evaluate()
        assert len(beats) == 3, "what is not used here, or not known yet, is no blindness"


def test_the_heart_stands_still_where_no_channel_takes_anything(engine: Engine) -> None:
    beats: list[int] = []
    clock = Clock(1000 * SECOND)
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
