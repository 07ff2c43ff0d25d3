"""Sentences, views, times, cells and pauses: values in, values out."""

from __future__ import annotations

import random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.auth.sessions import FREE_TRIES, pause
from dashboard.ui import charts, components
from dashboard.values import time_format
from dashboard.values.filters import View, ViewError
from dashboard.values.sentences import sentence, singular
from dashboard.values.spreadsheet import plain
from sidecar.contract import Contract
from sidecar.events.subject import subject
from sidecar.exchange import Exchange
from sidecar.http.messages import Request, Response
from sidecar.timeunits import DAY, HOUR, SECOND
from tests.support.dashboard import seed

LONDON, UTC = ZoneInfo("Europe/London"), ZoneInfo("UTC")
NOON = 1_795_521_600 * SECOND  # 2026-11-24 12:00 UTC


@pytest.mark.parametrize(
    ("event", "said", "ending"),
    [
        ({"kind": "patient"}, "Dr Holt looked at Patient 17", "worked"),
        ({"kind": "notes"}, "Dr Holt looked at the notes of Patient 17", "worked"),
        ({"kind": "patients"}, "Dr Holt looked at the list of patients", "worked"),
        ({"kind": "create"}, "Dr Holt added the note “Round” to Patient 17", "worked"),
        ({"kind": "update"}, "Dr Holt changed the note “Round” of Patient 17", "worked"),
        ({"kind": "me"}, "Dr Holt looked at their own staff record", "worked"),
        ({"kind": "screen", "body": {"images": ["A", "B"]}}, "Dr Holt had 2 images of Patient 17 screened", "worked"),
        (
            {"kind": "update", "status": 404},
            "Dr Holt tried to change the note “Round” of Patient 17",
            "there is no such record",
        ),
        (
            {"kind": "patient", "status": 401},
            "Dr Holt could not sign in, asking for Patient 17",
            "refused: wrong name or password",
        ),
        (
            {"kind": "patient", "status": 503, "outcome": "failure"},
            "Dr Holt tried to look at Patient 17",
            "failed (error 503)",
        ),
        ({"kind": "patient", "user": None}, "Somebody who did not sign in looked at Patient 17", "worked"),
        (
            {"kind": "create", "status": 202},
            "Dr Holt added the note “Round” to Patient 17",
            "accepted, waiting to reach Library",
        ),
    ],
)
def test_an_event_is_a_sentence(event: dict[str, Any], said: str, ending: str) -> None:
    body = event.get("body", {"title": "Round", "patient_id": 17})
    about = {
        "user": "Dr Holt",
        "patient": "17",
        "status": 200,
        "answered_by": "upstream",
        "outcome": "success",
        **event,
    }
    if about["kind"] in ("patient", "notes", "patients", "me"):
        body = None
    document, bodies = seed.event(NOON, random.Random(1), **{**about, "body": body})
    found = sentence(document, bodies, "Library")
    assert (str(found), found.ending) == (said, ending)


@pytest.mark.parametrize(
    ("action", "deed", "said"),
    [
        ("break_glass", {"user": "Nurse Tan"}, "Ms Pell opened break-glass for Nurse Tan"),
        ("hold", {"hold": "1"}, "Ms Pell laid a hold on Patient 17"),
        ("made_up", {}, "Ms Pell did “made_up” on Patient 17"),
    ],
)
def test_what_people_do_to_the_trail_is_a_sentence_too(action: str, deed: dict[str, str], said: str) -> None:
    understudy = {"purpose": "audit", "answered_by": "understudy", "deed": deed}
    if "user" not in deed:
        understudy["patient"] = {"id": "17"}
    event = {
        "event": {"action": action, "outcome": "success"},
        "user": {"name": "Ms Pell"},
        "understudy": understudy,
    }
    found = sentence(event, None, "HOSP")
    assert (str(found), found.ending, found.good) == (said, "done", True)


def test_words_in_the_singular() -> None:
    assert [singular(kind) for kind in ("notes", "staffs", "allergies", "sheep")] == [
        "note",
        "staff",
        "allergy",
        "sheep",
    ]


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).map(str.strip)


@given(person=TEXT, text=TEXT, after=TEXT, patient=TEXT)
def test_an_address_is_its_view(**filters: str) -> None:
    view = View(**filters)
    assert View.parse(view.query()) == view


@pytest.mark.parametrize(
    ("query", "culprit"),
    [
        ("period=ever", "period: expected 1h or 24h"),
        ("action=steal", "action: expected read or list"),
        ("outcome=x", "outcome"),
        ("address=ward", "address: expected an IP address"),
        ("period=between&start=soon", "start: expected a time such as"),
        ("period=between&start=2026-02-02&end=2026-02-01", "end: expected a time after"),
    ],
)
def test_a_filter_that_cannot_be_is_named(query: str, culprit: str) -> None:
    with pytest.raises(ViewError, match=culprit):
        View.parse(query).filter(NOON, UTC)


def test_yesterday_is_the_local_day_before() -> None:
    since, until = View(period="yesterday").range(time_format.parse("2026-10-26 12:00", LONDON), LONDON)
    assert until is not None
    assert since is not None
    assert (until - since) // HOUR == 25, "clocks went back on the 25th"
    assert time_format.day_and_time(since, LONDON) == "Sun 25 Oct 2026, 00:00:00"


def test_a_fixed_view_goes_on_showing_the_same() -> None:
    fixed = View(period="24h", person="Dr Holt").fixed(NOON, LONDON)
    assert fixed.filter(NOON + 5 * DAY, LONDON) == fixed.filter(NOON, LONDON)
    assert fixed.filter(NOON, UTC).since == NOON - DAY


def test_times_say_their_zone() -> None:
    assert time_format.zone_name(NOON, UTC) == "UTC"
    assert time_format.zone_name(NOON, LONDON) == "GMT (UTC+00:00)"
    assert time_format.zone_name(NOON - 120 * DAY, LONDON) == "BST (UTC+01:00)"


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1"])
def test_no_cell_is_a_formula(cell: str) -> None:
    assert plain(cell) == f"'{cell}"


def test_other_cells_stay() -> None:
    assert [plain(cell) for cell in ("Dr Holt", "1-2", 7, "")] == ["Dr Holt", "1-2", 7, ""]


def test_a_ratio_is_never_rounded_up_to_all() -> None:
    assert [components.percent(ratio) for ratio in (None, 1.0, 0.999_99, 0.9999, 0.0)] == [
        "no data", "100.00%", "> 99.99%", "99.99%", "0.00%"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (-1574.3, "users: >1,000× over budget"),
        (-157.3, "users: 158× over budget"),
        (-1.3, "users: 2.3× over budget"),
        (-0.4, None),
        (0.3, None),
    ],
)
def test_a_burn_down_that_leaves_the_frame_says_how_far(left: float, said: str | None) -> None:
    figure = charts.burn_down({"users": [(NOON - DAY, 1.0), (NOON, left)]}, UTC, "HOSP")
    assert [each["text"] for each in figure["layout"]["annotations"]] == ([said] if said else [])
    assert min(figure["data"][0]["y"]) >= figure["layout"]["yaxis"]["range"][0]


def test_pauses_grow_to_a_quarter_of_an_hour() -> None:
    seconds = [pause(failures - FREE_TRIES) // SECOND for failures in (1, 4, 5, 6, 7, 20, 10_000)]
    assert seconds == [0, 0, 15, 30, 60, 900, 900]


@pytest.mark.parametrize(
    ("action", "kind", "target", "sent", "answered", "found"),
    [
        ("read", "notes", "/notes/5", b"", b'{"id": 5, "patient_id": 17}', "17"),
        ("list", "notes", "/notes?patient_id=17", b"", b"[]", "17"),
        ("list", "notes", "/notes?patient_id=17&patient_id=18", b"", b"[]", None),
        ("list", "notes", "/notes", b"", b'[{"patient_id": 17}]', None),
        ("create", "notes", "/notes", b'{"patient_id": 17}', b"not json", "17"),
        ("update", "notes", "/notes/5", b'{"title": "x"}', b'{"id": 5, "patient_id": 18}', "18"),
        ("create", "patients", "/patients", b'{"name": "Rex"}', b'{"id": 401}', "401"),
        ("list", "hospitals", "/hospitals", b"", b"[]", None),
        ("read", "notes", "/notes/5", b"", b'{"patient_id": true}', None),
    ],
)
def test_an_event_names_its_patient(
    action: str, kind: str, target: str, sent: bytes, answered: bytes, found: str | None
) -> None:
    made = Exchange("e", 1, Request("GET", target, [], sent), "r", "00-a-b-01", action=action, resource_type=kind)
    made.response = Response(200, [], answered)
    assert subject(Contract.load("hosp"), made) == found
