"""Recorded exchanges learned again: in the order in which they happened, and nothing that they do not show whole."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, select

from sidecar.contract import Contract
from sidecar.settings import Settings
from sidecar.standby import literals, queries
from sidecar.standby.outbox.missing import Fate, Missing
from sidecar.standby.rebuild.moments import Lack, moments
from sidecar.standby.rebuild.relearning import NotEmpty, Relearning, state_of
from sidecar.standby.tables import collections, records
from sidecar.storage.database import open_engine
from sidecar.timeunits import DAY, SECOND, to_rfc3339
from tests.support.tables import lay

START = 20_000 * DAY
Recorded = tuple[dict[str, Any], dict[str, Any] | None]


def note(ident: int, title: str = "kept") -> dict[str, Any]:
    return {"id": ident, "patient_id": 1, "title": title, "body": "b", "url": f"/notes/{ident}.json"}


def exchange(
    method: str, path: str, at: float, body: Any = None, *, status: int = 200, shows: str | None = "whole",
    user: str = "Holt", took: float = 0.1, node: str = "one", answered_by: str = "upstream", outcome: str = "success",
    purpose: str = "user", sent: Any = None, content: str | None = None,
) -> Recorded:  # fmt: skip
    """As it is recorded: `at` and `took` in seconds after START; `content`: the body as it stands in the store."""
    contract = Contract.load("hosp")
    match = contract.match(method, path.partition("?")[0])
    assert match.endpoint is not None
    began, ended = START + int(at * SECOND), START + int((at + took) * SECOND)
    ident = f"{random.getrandbits(64):x}"
    event = {
        "@timestamp": to_rfc3339(began),
        "event": {
            "id": ident, "action": match.endpoint.action.value, "start": to_rfc3339(began), "end": to_rfc3339(ended)
        },
        "http": {
            "request": {"id": ident, "method": method, "bytes": 0},
            "response": {"status_code": status, "mime_type": "application/json"},
        },
        "url": {"path": path.partition("?")[0], **({"query": path.partition("?")[2]} if "?" in path else {})},
        "user": {"name": user},
        "service": {"node": {"name": node}},
        "understudy": {
            "endpoint_id": match.endpoint.id, "answered_by": answered_by, "purpose": purpose,
            "attempts": [{"start": to_rfc3339(began), "duration": ended - began, "outcome": outcome}],
            **({"shows": shows} if shows and method == "GET" else {}),
        },
    }  # fmt: skip
    if content is None and body is not None:
        content = orjson.dumps(body).decode()
    bodies: dict[str, Any] = {}
    if content is not None:
        bodies["response"] = {"body": {"content": content}}
    if sent is not None:
        bodies["request"] = {"body": {"content": orjson.dumps(sent).decode()}}
    return event, {"http": bodies} if bodies else None


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(Settings(upstream="http://hosp.test", data=tmp_path / "scratch"))
    lay(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def learn(engine: Engine, tmp_path: Path) -> Callable[..., Relearning]:
    def learned(*recorded: Recorded) -> Relearning:
        relearning = Relearning(
            Contract.load("hosp"), engine, Settings(upstream="http://hosp.test", data=tmp_path / "scratch")
        )
        shuffled = random.sample(recorded, len(recorded))
        for moment in moments([(START + DAY, shuffled)], 60 * SECOND):
            relearning.apply(moment)
        return relearning

    return learned


def states(engine: Engine, kind: str = "notes") -> dict[str, tuple[str, Any]]:
    with engine.connect() as connection:
        rows = connection.execute(select(records).where(records.c.type == kind)).all()
    return {row.id: (row.state, orjson.loads(row.body)["title"] if row.body else None) for row in rows}


def is_whole(engine: Engine) -> bool:
    return bool(state_of(engine, Contract.load("hosp"))["notes"]["whole"])


def test_a_list_and_what_was_changed_and_deleted_since(learn: Callable[..., Relearning], engine: Engine) -> None:
    learn(
        exchange("GET", "/notes", 1, [note(2), note(1)]),
        exchange("PATCH", "/notes/1", 2, note(1, "new"), sent={"title": "new"}),
        exchange("DELETE", "/notes/2", 3, status=204),
    )
    assert states(engine) == {"1": ("known", "new"), "2": ("gone", None)}
    assert is_whole(engine)


def test_a_deletion_without_a_body_is_honoured_after_a_read(learn: Callable[..., Relearning], engine: Engine) -> None:
    learn(exchange("GET", "/notes/2", 1, note(2)), exchange("DELETE", "/notes/2", 3, status=204))
    assert states(engine)["2"] == ("gone", None)


def test_a_read_that_overlapped_a_write_is_not_believed(learn: Callable[..., Relearning], engine: Engine) -> None:
    learn(
        exchange("GET", "/notes/1", 0, note(1, "first")),
        exchange("PATCH", "/notes/1", 1, note(1, "new"), sent={"title": "new"}, took=2),
        exchange("GET", "/notes/1", 2, note(1, "first"), took=3),
    )
    assert states(engine)["1"] == ("known", "new")


def test_what_began_in_the_moment_of_an_end_overlaps_it(learn: Callable[..., Relearning], engine: Engine) -> None:
    learn(
        exchange("PATCH", "/notes/1", 1, note(1, "new"), sent={"title": "new"}, took=2),
        exchange("GET", "/notes/1", 3, note(1, "before")),
    )
    assert states(engine)["1"] == ("known", "new")


def test_nodes_whose_clocks_differ_a_little(learn: Callable[..., Relearning], engine: Engine) -> None:
    """The read began after the deletion had ended, by the clock of another node: it may have been before."""
    gone = exchange("DELETE", "/notes/1", 1, status=204, node="one")
    read = exchange("GET", "/notes/1", 3, note(1), node="two")
    learn(exchange("GET", "/notes/1", 0, note(1)), gone, read)
    assert states(engine)["1"] == ("gone", None)


def test_the_same_clock_is_believed(learn: Callable[..., Relearning], engine: Engine) -> None:
    learn(
        exchange("PATCH", "/notes/1", 1, note(1, "new"), sent={"title": "new"}),
        exchange("GET", "/notes/1", 3, note(1, "by another way")),
    )
    assert states(engine)["1"] == ("known", "by another way")


@pytest.mark.parametrize(
    ("change", "lack"),
    [
        ({"shows": None}, Lack.NOT_SAID),
        ({"content": '[{"id":1,"patient_id":1,"title":"cu'}, Lack.CUT),
        ({"body": None}, Lack.NO_BODY),
        ({"body": [note(1, "[redacted]")]}, Lack.REDACTED),
    ],
)  # fmt: skip
def test_what_is_not_whole_teaches_nothing(
    learn: Callable[..., Relearning], engine: Engine, change: dict[str, Any], lack: Lack
) -> None:
    found = learn(exchange("GET", "/notes", 1, **{"body": [note(1)], **change}))
    assert states(engine) == {}
    assert not is_whole(engine)
    assert found.lacks == {lack: 1}


def test_a_page_of_more_is_not_the_whole(learn: Callable[..., Relearning], engine: Engine) -> None:
    learn(exchange("GET", "/notes", 1, [note(2), note(1)], shows="whole:3"))
    assert states(engine) == {}
    learn(exchange("GET", "/notes", 1, [note(2), note(1)], shows="whole:2"))
    assert is_whole(engine)


@pytest.mark.parametrize(
    "write",
    [
        {"body": None},
        {"body": note(1, "[redacted]")},
        {"content": '{"id":1,"ti'},
        {"body": None, "status": 500, "outcome": "unknown", "answered_by": "understudy"},
    ],
)
def test_a_change_whose_result_is_not_known_is_doubt(
    learn: Callable[..., Relearning], engine: Engine, write: dict[str, Any]
) -> None:
    learn(exchange("GET", "/notes", 0, [note(1)]), exchange("PATCH", "/notes/1", 1, sent={"title": "x"}, **write))
    assert states(engine)["1"][0] == "doubt"
    assert not is_whole(engine)


def test_what_may_take_effect_late_is_no_longer_doubt_when_it_was_read_after(
    learn: Callable[..., Relearning], engine: Engine
) -> None:
    lost = {"body": None, "status": 503, "outcome": "unknown", "answered_by": "understudy", "sent": {"title": "x"}}
    learn(
        exchange("GET", "/notes/1", 0, note(1)),
        exchange("PATCH", "/notes/1", 1, **lost),  # type: ignore[arg-type]
        exchange("GET", "/notes/1", 30, note(1, "too early")),
    )
    assert states(engine)["1"][0] == "doubt"
    learn(exchange("GET", "/notes/1", 90, note(1, "late")))
    assert states(engine)["1"] == ("known", "late")


def test_two_writes_at_once_leave_doubt(learn: Callable[..., Relearning], engine: Engine) -> None:
    learn(
        exchange("GET", "/notes/1", 0, note(1)),
        exchange("PATCH", "/notes/1", 1, note(1, "a"), sent={"title": "a"}, took=2),
        exchange("PATCH", "/notes/1", 2, note(1, "b"), sent={"title": "b"}, took=5),
        exchange("GET", "/notes/1", 4, note(1, "a")),
    )
    assert states(engine)["1"][0] == "doubt"


def test_what_was_not_sent_and_what_was_refused_changes_nothing(
    learn: Callable[..., Relearning], engine: Engine
) -> None:
    learn(
        exchange("GET", "/notes", 0, [note(1)]),
        exchange("PATCH", "/notes/1", 1, status=503, outcome="failure", answered_by="understudy", sent={"title": "x"}),
        exchange("PATCH", "/notes/1", 2, {"title": ["is bad"]}, status=422, sent={"title": "x"}),
    )
    assert states(engine)["1"] == ("known", "kept")
    assert is_whole(engine)


def test_what_a_balancer_sent_past_us_is_doubt(learn: Callable[..., Relearning], engine: Engine) -> None:
    event, bodies = exchange("PATCH", "/notes/1", 1, status=204, sent={"title": "x"}, purpose="copy")
    event["understudy"] |= {"attempts": [], "answered_by": "understudy"}
    learn(exchange("GET", "/notes", 0, [note(1)]), (event, bodies))
    assert states(engine)["1"][0] == "doubt"


@pytest.mark.parametrize("bodies", [True, False])
def test_what_is_not_everyones_is_not_shown_to_everyone(
    learn: Callable[..., Relearning], engine: Engine, bodies: bool
) -> None:
    """Also where the bodies are gone that showed it."""
    learn(
        exchange("GET", "/notes/1", 0, note(1) if bodies else None),
        exchange("GET", "/notes/1", 1, status=404, user="Ames"),
        exchange("GET", "/notes/1", 2, note(1) if bodies else None),
        exchange("GET", "/notes/2", 3, note(2)),
    )
    with engine.connect() as connection:
        assert queries.collection(connection, "notes").private
        assert queries.was_shown(connection, "Holt", "notes", "2")
        assert not queries.was_shown(connection, "Ames", "notes", "2")
        assert literals.refused_record(connection, "notes", "1", "Ames")
        assert not literals.refused_record(connection, "notes", "1", "Holt")


def test_what_was_changed_between_is_nobodys_secret(learn: Callable[..., Relearning], engine: Engine) -> None:
    learn(
        exchange("GET", "/notes/1", 0),
        exchange("GET", "/notes/1", 1, status=404, user="Ames"),
        exchange("PATCH", "/notes/1", 2, note(1), sent={"title": "kept"}),
        exchange("GET", "/notes/1", 3),
    )
    with engine.connect() as connection:
        row = queries.collection(connection, "notes")
    assert row is None or not row.private


def test_times_are_those_of_the_record_and_all_is_unverified(
    learn: Callable[..., Relearning], engine: Engine, tmp_path: Path
) -> None:
    relearning = learn(
        exchange("GET", "/notes", 5, [note(1)]), exchange("PATCH", "/notes/1", 9, note(1, "n"), sent={"title": "n"})
    )
    assert relearning.finish([], {}) == []
    target = open_engine(Settings(upstream="http://hosp.test", data=tmp_path / "new"))
    lay(target)
    relearning.into(target)
    with target.connect() as connection:
        row = queries.record(connection, "notes", "1")
        assert row.observed == START + int(9.1 * SECOND)
        assert connection.scalar(select(collections.c.observed)) == START + 5 * SECOND
        assert queries.since(connection, "notes") > row.stamp
    with pytest.raises(NotEmpty, match="1 records"):
        relearning.into(target)
    target.dispose()


def test_what_users_were_promised_is_not_shown_as_it_was(
    learn: Callable[..., Relearning], engine: Engine, tmp_path: Path
) -> None:
    relearning = learn(exchange("GET", "/notes", 0, [note(2), note(1)]))

    def promised(fate: Fate, endpoint: str, record: str, request: str) -> Missing:
        return Missing(fate, "2024-01-01T00:00:00Z", endpoint, record, request, "Holt")

    accepted = [
        promised(Fate.REACHED, "notes.create", "2000000000", "a"),
        promised(Fate.LOST, "notes.update", "2000000000", "b"),
        promised(Fate.UNCLEAR, "notes.create", "2000000007", "c"),
    ]
    lost = relearning.finish(accepted, {("a", "notes.create"): "2"})
    assert [each.request_id for each in lost] == ["b", "c"]
    assert states(engine) == {"1": ("known", "kept"), "2": ("doubt", "kept")}
    assert not is_whole(engine)
    target = open_engine(Settings(upstream="http://hosp.test", data=tmp_path / "new"))
    lay(target)
    relearning.into(target)
    with target.connect() as connection:
        assert queries.number(connection, "next_provisional_id") == 2_000_000_008
    target.dispose()
