"""What every event store promises, as one suite: subclass EventStoreContract and give it a `store` fixture.

Conventions that the suite fixes:
- percentiles are asked and answered in percent (50.0, 99.0), of `event.duration` in nanoseconds, within 3%;
- a bucket's `start` is a multiple of `interval` since the epoch; without an interval it is `where.since`, or 0;
- only buckets that hold events are returned, ordered by start, then group;
- a group's values are text ("200"), "" where the event lacks the field;
- text search: every word must occur, each in any of the fields, in any case; words are letters and digits;
- of events of one instant, the greater `event.id` comes first.
"""

from __future__ import annotations

import hashlib
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from sidecar.events.store import Checkpoint, EventStore, Filter, Hold

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
NOON = int(datetime(2026, 3, 10, 12, tzinfo=UTC).timestamp()) * SECOND


def iso(at: int) -> str:
    return f"{datetime.fromtimestamp(at // SECOND, UTC):%Y-%m-%dT%H:%M:%S}.{at % SECOND:09d}Z"


def name(number: int, salt: str = "") -> str:
    """A UUID-shaped id that depends on its arguments only."""
    digits = hashlib.sha256(f"{salt}{number}".encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-7{digits[13:16]}-8{digits[17:20]}-{digits[20:32]}"


def event(number: int, at: int = NOON, **given: Any) -> dict[str, Any]:
    """An event as the sidecar makes them; `given`: endpoint, outcome, answered_by, user, status, duration, path, …"""
    document: dict[str, Any] = {
        "@timestamp": iso(at),
        "event": {
            "id": given.get("id", name(number)),
            "kind": "event",
            "category": ["api"],
            "type": ["access"],
            "action": "read",
            "outcome": given.get("outcome", "success"),
            "duration": given.get("duration", 5_000_000),
            "start": iso(at),
            "end": iso(at + 5_000_000),
            "sequence": number + 1,
            "hash": hashlib.sha256(str(number).encode()).hexdigest(),
        },
        "http": {
            "request": {"id": f"r-{number}", "method": "GET", "bytes": 0},
            "response": {"status_code": given.get("status", 200), "bytes": 300, "mime_type": "application/json"},
        },
        "url": {"path": given.get("path", "/notes/7"), "query": given.get("query", "")},
        "source": {"ip": "192.0.2.7"},
        "user_agent": {"original": given.get("agent", "curl/8.5")},
        "trace": {"id": "0af7651916cd43dd8448eb211c80319c"},
        "service": {"name": "understudy"},
        "understudy": {
            "endpoint": given.get("endpoint", "GET /notes/{id}"),
            "endpoint_id": "notes.read",
            "resource": {"type": "notes", "id": "7"},
            "answered_by": given.get("answered_by", "upstream"),
            "attempts": [{"start": iso(at), "duration": 4_000_000, "outcome": "success", "status": 200}],
            "circuit": "closed",
            "verdict": "allow",
            "findings": given.get("findings", []),
            "client": "user",
            "identity": "verified",
            "purpose": "user",
            "outcome": "success",
        },
    }
    if "patient" in given:
        document["understudy"]["patient"] = {"id": given["patient"]}
    if (user := given.get("user", "Dr Holt")) is not None:
        document["user"] = {"name": user}
    return document


def bodies(number: int, at: int = NOON, content: str = '{"id":7}') -> dict[str, Any]:
    return {
        "@timestamp": iso(at),
        "event": {"id": name(number)},
        "understudy": {"endpoint": "GET /notes/{id}"},
        "http": {"response": {"body": {"content": content}}},
    }


def ids(events: Any) -> list[str]:
    return [each["event"]["id"] for each in events]


def everything(store: EventStore, where: Filter, size: int) -> list[str]:
    """The ids of all pages."""
    page = store.search(where, size)
    found = ids(page.events)
    while page.cursor is not None:
        page = store.search(where, size, page.cursor)
        found += ids(page.events)
    return found


class EventStoreContract:
    """The suite. `store` must be empty and installed; `settle` makes what was appended visible (a refresh)."""

    @pytest.fixture
    def store(self) -> EventStore:
        raise NotImplementedError("give the suite a store")

    def settle(self, store: EventStore) -> None:
        """Nothing to do where writes are seen at once."""

    def put(self, store: EventStore, *events: dict[str, Any]) -> None:
        appended = store.append(events)
        assert (appended.stored, list(appended.retry), list(appended.rejected)) == (len(events), [], [])
        self.settle(store)

    def test_install_again_changes_nothing(self, store: EventStore) -> None:
        self.put(store, event(1))
        store.install()
        assert ids(store.search(Filter()).events) == [name(1)]

    def test_what_was_appended_is_found_whole(self, store: EventStore) -> None:
        given = event(1, NOON + 123_456_789, query="patient_id=3")
        self.put(store, given)
        assert list(store.search(Filter()).events) == [given]

    def test_an_empty_store_answers(self, store: EventStore) -> None:
        assert list(store.search(Filter()).events) == []
        assert store.search(Filter()).cursor is None
        assert list(store.count(Filter(), HOUR, ["user.name"], [50.0])) == []
        assert store.body(name(1)) is None
        assert list(store.drop_before(NOON, NOON)) == []

    def test_appending_again_changes_nothing(self, store: EventStore) -> None:
        self.put(store, event(1), event(2))
        again = store.append([event(1, user="Someone Else"), event(2), event(3)])
        self.settle(store)
        assert again.stored == 3
        assert sorted(everything(store, Filter(), 10)) == sorted([name(1), name(2), name(3)])
        assert list(store.search(Filter(terms={"user.name": ["Someone Else"]})).events) == []

    def test_twice_in_one_batch_is_once(self, store: EventStore) -> None:
        store.append([event(1), event(1)])
        self.settle(store)
        assert sum(bucket.count for bucket in store.count(Filter())) == 1

    def test_appending_nothing(self, store: EventStore) -> None:
        assert store.append([]).stored == 0

    def test_concurrent_appends_of_the_same_events_store_each_once(self, store: EventStore) -> None:
        batch = [event(number, NOON + number) for number in range(100)]
        threads = [threading.Thread(target=store.append, args=(batch,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.settle(store)
        assert everything(store, Filter(), 30) == [name(number) for number in reversed(range(100))]

    def test_a_document_that_can_never_be_stored_blocks_nothing(self, store: EventStore) -> None:
        bad_time, bad_ip, bad_status, no_id = event(1), event(2), event(3), event(4)
        bad_time["@timestamp"] = "yesterday"
        bad_ip["source"]["ip"] = "the gateway"
        bad_status["http"]["response"]["status_code"] = "five hundred"
        del no_id["event"]["id"]
        appended = store.append([event(5), bad_time, bad_ip, event(6), bad_status, no_id, event(7)])
        self.settle(store)
        assert appended.stored == 3
        assert list(appended.retry) == []
        assert all(rejected.why for rejected in appended.rejected)
        for document in (bad_time, bad_ip, bad_status, no_id):
            assert document in [rejected.document for rejected in appended.rejected]
        assert sorted(everything(store, Filter(), 10)) == sorted([name(5), name(6), name(7)])

    def test_newest_first_and_the_window_is_half_open(self, store: EventStore) -> None:
        self.put(store, *(event(number, NOON + number * SECOND) for number in (2, 0, 3, 1)))
        assert everything(store, Filter(), 10) == [name(3), name(2), name(1), name(0)]
        assert everything(store, Filter(since=NOON + SECOND, until=NOON + 3 * SECOND), 10) == [name(2), name(1)]

    @pytest.mark.parametrize(
        ("terms", "found"),
        [
            ({"understudy.endpoint": ["GET /notes"]}, {1}),
            ({"understudy.endpoint": ["GET /notes", "POST /notes"]}, {1, 2}),
            ({"understudy.endpoint": ["GET /notes", "POST /notes"], "event.outcome": ["failure"]}, {2}),
            ({"user.name": ["Dr Holt"]}, {1, 3}),
            ({"user.name": ["dr holt"]}, set()),
            ({"http.response.status_code": ["503"]}, {2}),
            ({"understudy.answered_by": ["standby"]}, {3}),
            ({"http.request.id": ["r-2"]}, {2}),
            ({"understudy.resource.type": ["notes"], "understudy.resource.id": ["7"]}, {1, 2, 3}),
            ({"event.id": [name(3), name(9)]}, {3}),
            ({"understudy.findings": ["foreign-staff", "night"]}, {3}),
            ({"trace.id": ["0af7651916cd43dd8448eb211c80319c"]}, {1, 2, 3}),
            ({"source.ip": ["192.0.2.8"]}, set()),
            ({"source.ip": ["192.0.2.7"]}, {1, 2, 3}),
            ({"user.name": []}, set()),
        ],
    )
    def test_terms(self, store: EventStore, terms: dict[str, list[str]], found: set[int]) -> None:
        self.put(
            store,
            event(1, endpoint="GET /notes"),
            event(2, endpoint="POST /notes", outcome="failure", status=503, user="Nurse Abara"),
            event(3, endpoint="GET /patients", answered_by="standby", findings=["own-hospital", "foreign-staff"]),
        )
        assert set(everything(store, Filter(terms=terms), 10)) == {name(number) for number in found}
        assert sum(bucket.count for bucket in store.count(Filter(terms=terms))) == len(found)

    def test_at_most(self, store: EventStore) -> None:
        self.put(store, *(event(n, duration=n * SECOND, outcome="failure" if n == 2 else "success") for n in range(5)))
        where = Filter(at_most={"event.duration": 3 * SECOND})
        assert set(everything(store, where, 10)) == {name(n) for n in range(4)}
        counted = store.count(where, HOUR, ["event.outcome"])
        assert [(bucket.group, bucket.count) for bucket in counted] == [(("failure",), 1), (("success",), 3)]
        assert store.count(Filter(at_most={"event.sequence": 2}))[0].count == 2

    def test_counts_by_what_the_upstream_gave(self, store: EventStore) -> None:
        given = [event(n) for n in range(4)]
        for each, outcome in zip(given, ("success", "not_asked", "success", None), strict=True):
            each["understudy"] |= {"upstream_outcome": outcome} if outcome else {}
        self.put(store, *given)
        counted = store.count(Filter(), None, ["understudy.upstream_outcome"])
        assert [(bucket.group, bucket.count) for bucket in counted] == [
            (("",), 1),
            (("not_asked",), 1),
            (("success",), 2),
        ]

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("holt", {1, 3}),
            ("HOLT", {1, 3}),
            ("abara notes", {2}),
            ("42", {3}),
            ("patient_id=42", {3}),
            ("firefox", {2}),
            ("/patients", {3}),
            ("nothing", set()),
            ("holt abara", set()),
            ('"; DROP holt', set()),
        ],
    )
    def test_text(self, store: EventStore, text: str, found: set[int]) -> None:
        self.put(
            store,
            event(1, path="/hospitals"),
            event(2, user="Nurse Abara", agent="Firefox 140"),
            event(3, path="/patients", query="patient_id=42"),
        )
        assert set(everything(store, Filter(text=text), 10)) == {name(number) for number in found}

    def test_paging_takes_everything_once_when_times_are_equal(self, store: EventStore) -> None:
        self.put(store, *(event(number, NOON + number // 10) for number in range(45)))
        found = everything(store, Filter(), 7)
        by_time = sorted(range(45), key=lambda number: (number // 10, name(number)), reverse=True)
        assert found == [name(number) for number in by_time]

    def test_paging_is_stable_while_events_are_added(self, store: EventStore) -> None:
        self.put(store, *(event(number, NOON + number * SECOND) for number in range(30)))
        page = store.search(Filter(), 10)
        found, added = ids(page.events), 100
        while page.cursor is not None:
            self.put(store, *(event(added + each, NOON + (added + each) * SECOND) for each in range(7)))
            added += 7
            page = store.search(Filter(), 10, page.cursor)
            found += ids(page.events)
        assert found == [name(number) for number in reversed(range(30))]

    def test_a_last_full_page_may_be_followed_by_an_empty_one_only(self, store: EventStore) -> None:
        self.put(store, *(event(number, NOON + number) for number in range(10)))
        page = store.search(Filter(), 10)
        assert len(page.events) == 10
        if page.cursor is not None:
            assert store.search(Filter(), 10, page.cursor) == type(page)([], None)

    def test_counts_in_one_bucket(self, store: EventStore) -> None:
        self.put(store, *(event(number, NOON + number) for number in range(12)))
        (bucket,) = store.count(Filter())
        assert (bucket.start, bucket.group, bucket.count, dict(bucket.percentiles)) == (0, (), 12, {})
        (bucket,) = store.count(Filter(since=NOON + 2))
        assert (bucket.start, bucket.count) == (NOON + 2, 10)

    def test_counts_per_bucket_of_time(self, store: EventStore) -> None:
        thirds = [event(number, NOON + number * 20 * 60 * SECOND) for number in range(5)]
        self.put(store, *thirds, event(9, NOON + 9 * HOUR))
        buckets = [(bucket.start, bucket.count) for bucket in store.count(Filter(), HOUR)]
        assert buckets == [(NOON, 3), (NOON + HOUR, 2), (NOON + 9 * HOUR, 1)]

    def test_counts_of_time_alone_stay_true_as_events_come_again_and_go(self, store: EventStore) -> None:
        """Stores may keep these by themselves: they must equal what is there."""
        times = (NOON - 2 * DAY, NOON - 1, NOON, NOON + 59 * SECOND, NOON + HOUR)
        self.put(store, *(event(number, at) for number, at in enumerate(times)))
        store.append([event(2, NOON), event(7, NOON + HOUR + 1)])
        self.settle(store)

        def counted(since: int, until: int) -> dict[int, int]:
            return {each.start: each.count for each in store.count(Filter(since=since, until=until), HOUR)}

        expected = {NOON - 2 * DAY: 1, NOON - HOUR: 1, NOON: 2, NOON + HOUR: 2}
        assert counted(NOON - 3 * DAY, NOON + DAY) == expected
        assert counted(NOON, NOON + HOUR) == {NOON: 2}
        assert counted(NOON + 30 * SECOND, NOON + HOUR + 1) == {NOON: 1, NOON + HOUR: 1}
        assert list(store.drop_before(NOON - DAY, 0))
        self.settle(store)
        assert counted(NOON - 3 * DAY, NOON + DAY) == {start: n for start, n in expected.items() if start > NOON - DAY}

    def test_counts_per_endpoint_outcome_answerer_and_user(self, store: EventStore) -> None:
        self.put(
            store,
            event(1, endpoint="GET /notes"),
            event(2, endpoint="GET /notes", outcome="failure", status=500),
            event(3, endpoint="GET /notes", answered_by="standby", user="Nurse Abara"),
            event(4, endpoint="GET /patients", user=None),
            event(5, NOON + HOUR, endpoint="GET /notes"),
        )
        by = ["understudy.endpoint", "event.outcome", "understudy.answered_by", "user.name"]
        assert [(bucket.start, bucket.group, bucket.count) for bucket in store.count(Filter(), HOUR, by)] == [
            (NOON, ("GET /notes", "failure", "upstream", "Dr Holt"), 1),
            (NOON, ("GET /notes", "success", "standby", "Nurse Abara"), 1),
            (NOON, ("GET /notes", "success", "upstream", "Dr Holt"), 1),
            (NOON, ("GET /patients", "success", "upstream", ""), 1),
            (NOON + HOUR, ("GET /notes", "success", "upstream", "Dr Holt"), 1),
        ]
        codes = [(bucket.group, bucket.count) for bucket in store.count(Filter(), None, ["http.response.status_code"])]
        assert codes == [(("200",), 4), (("500",), 1)]

    def test_many_groups_are_all_counted(self, store: EventStore) -> None:
        self.put(store, *(event(number, user=f"user {number % 600:03d}") for number in range(1200)))
        counted = store.count(Filter(), None, ["user.name"])
        assert [(bucket.group, bucket.count) for bucket in counted] == [((f"user {n:03d}",), 2) for n in range(600)]

    def test_percentiles(self, store: EventStore) -> None:
        slow = [event(n, duration=(n + 1) * 1_000_000, endpoint="GET /notes") for n in range(1000)]
        fast = [event(n, duration=2_000_000, endpoint="GET /patients") for n in range(1000, 1010)]
        self.put(store, *slow, *fast)
        notes, patients = store.count(Filter(), HOUR, ["understudy.endpoint"], [50.0, 99.0])
        assert (notes.count, patients.count) == (1000, 10)
        assert notes.percentiles == pytest.approx({50.0: 500e6, 99.0: 990e6}, rel=0.03)
        assert patients.percentiles == pytest.approx({50.0: 2e6, 99.0: 2e6}, rel=0.03)

    def test_bodies_are_kept_once_and_found_by_event(self, store: EventStore) -> None:
        store.append([event(1), event(2)], [bodies(1)])
        store.append([event(1)], [bodies(1, content="other")])
        self.settle(store)
        assert store.body(name(1)) == bodies(1)
        assert store.body(name(2)) is None

    def test_the_bodies_of_many_events_are_found_at_once(self, store: EventStore) -> None:
        store.append([event(number) for number in range(4)], [bodies(0), bodies(2), bodies(3)])
        self.settle(store)
        assert store.bodies([name(0), name(1), name(2)]) == {name(0): bodies(0), name(2): bodies(2)}
        assert store.bodies([]) == {}

    def test_checkpoints_never_go_back(self, store: EventStore) -> None:
        assert list(store.checkpoints()) == []
        for segment, sequence, hash in (("b", 5, "five"), ("a", 9, "nine"), ("a", 7, "seven"), ("a", 9, "nine")):
            store.checkpoint(segment, sequence, hash)
        self.settle(store)
        assert list(store.checkpoints()) == [Checkpoint("a", 9, "nine"), Checkpoint("b", 5, "five")]

    def test_whole_days_are_dropped_by_the_events_own_time(self, store: EventStore) -> None:
        days = [NOON - 2 * DAY, NOON - DAY, NOON]
        for number, at in enumerate(days):
            store.append([event(number, at)], [bodies(number, at)])
        self.settle(store)
        dropped = sorted(store.drop_before(NOON - DAY - HOUR, NOON))
        self.settle(store)
        assert dropped == [
            "understudy-bodies-2026.03.08",
            "understudy-bodies-2026.03.09",
            "understudy-exchanges-2026.03.08",
        ]
        assert everything(store, Filter(), 10) == [name(2), name(1)]
        assert [store.body(name(number)) is None for number in range(3)] == [True, True, False]
        assert everything(store, Filter(text="holt"), 10) == [name(2), name(1)]
        assert list(store.drop_before(NOON - DAY - HOUR, NOON)) == []

    def test_what_is_held_outlives_its_day_until_it_is_released(self, store: EventStore) -> None:
        old = NOON - 3 * DAY
        self.put(
            store, event(0, old, patient="17"), event(1, old, user="Dr Zorn"), event(2, old + 1), event(3, patient="17")
        )
        store.append([], [bodies(0, old), bodies(1, old), bodies(2, old), bodies(3)])
        self.settle(store)
        patient = Hold(id="h1", at="2026-03-01", by="Ms Pell", reason="court", patient="17", until=NOON - DAY)
        person = Hold(id="h2", at="2026-03-02", by="Ms Pell", reason="inquiry", user="Dr Zorn", since=old)
        store.hold(patient)
        store.hold(person)
        assert list(store.holds()) == [patient, person]
        assert len(list(store.drop_before(NOON - DAY, NOON - DAY))) == 2
        self.settle(store)
        assert everything(store, Filter(), 10) == [name(3), *sorted([name(0), name(1)], reverse=True)]
        assert [store.body(name(number)) is None for number in range(4)] == [False, False, True, False]
        store.drop_before(NOON - DAY, NOON - DAY)
        self.settle(store)
        assert len(everything(store, Filter(), 10)) == 3
        store.release("h2")
        store.release("no such hold")
        store.drop_before(NOON - DAY, NOON - DAY)
        self.settle(store)
        assert everything(store, Filter(), 10) == [name(3), name(0)]
        assert [store.body(name(number)) is None for number in range(4)] == [False, True, True, False]

    def test_an_erased_body_is_gone_and_its_event_is_not(self, store: EventStore) -> None:
        self.put(store, event(1), event(2))
        store.append([], [bodies(1), bodies(2)])
        self.settle(store)
        assert store.erase([name(1), name(7)]) == 1
        self.settle(store)
        assert [store.body(name(number)) is None for number in (1, 2)] == [True, False]
        assert everything(store, Filter(), 10) == sorted([name(1), name(2)], reverse=True)
        assert (store.erase([name(1)]), store.erase([])) == (0, 0)
