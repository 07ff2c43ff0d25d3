"""Filters as an address: several values, networks, chips, and times that come back into the form."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from dashboard.values.filters import View, ViewError
from sidecar.timeunits import DAY

ZONE = ZoneInfo("Pacific/Kiritimati")
NOW = 1_795_000_000 * 10**9


def test_several_people_patients_and_a_network_become_terms() -> None:
    view = View.parse(View(person="Dr Holt\nNurse Tan", patient="17\n18", address="10.1.2.0/24").query())
    where = view.filter(NOW, ZONE, ["10.1.2.9", "10.1.3.9"])
    assert where.terms["user.name"] == ["Dr Holt", "Nurse Tan"]
    assert where.terms["understudy.patient.id"] == ["17", "18"]
    assert where.terms["source.ip"] == ["10.1.2.9"]
    assert view.network()


def test_a_network_that_nobody_came_from_finds_nothing_rather_than_everything() -> None:
    where = View(address="10.9.0.0/16").filter(NOW, ZONE, ["10.1.2.9"])
    assert where.terms["source.ip"] == ["10.9.0.0/16"]


def test_names_keep_their_case_in_words_and_each_filter_is_a_chip() -> None:
    view = View(person="Ms Pell", outcome="failed", event="a\nb\nc")
    assert view.chips("HOSP") == {"person": "person Ms Pell", "event": "3 events", "outcome": "that failed"}
    assert "person Ms Pell" in view.words("HOSP")


def test_a_wrong_network_is_named() -> None:
    with pytest.raises(ViewError, match="address: expected an IP address"):
        View.parse("address=10.1.2.0/240")


def test_yesterday_is_the_local_day() -> None:
    since, until = View(period="yesterday").range(NOW, ZONE)
    assert since is not None
    assert until is not None
    assert until - since == DAY
    assert (since // 10**9 + 14 * 3600) % 86400 == 0
