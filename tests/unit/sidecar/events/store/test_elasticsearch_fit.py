"""Whose templates and policies are whose: what somebody changed stays, what nobody changed follows the settings."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.events.store.elasticsearch_fit import days, lacking, next_policy, policy

DAY = 86400.0
THEIRS = {"phases": {"warm": {"actions": {"readonly": {}}}, "delete": {"min_age": "9d", "actions": {"delete": {}}}}}


def as_told(put: Any) -> dict[str, Any]:
    """As a cluster tells it back."""
    phases = {name: dict(phase) for name, phase in put["phases"].items()}
    if "delete" in phases:
        phases["delete"]["actions"] = {"delete": {"delete_searchable_snapshot": True}}
    return {**put, "phases": phases}


def test_ours_follows_the_settings() -> None:
    first = next_policy(None, DAY, held=False)
    assert first == policy(DAY)
    again = next_policy(as_told(first), 2 * DAY, held=False)
    assert again is not None
    assert again["phases"]["delete"]["min_age"] == "172800s"


@pytest.mark.parametrize("early", [{"phases": {}}, {"phases": policy(DAY)["phases"]}])
def test_one_of_an_earlier_release_is_ours(early: dict[str, Any]) -> None:
    assert next_policy(as_told(early), DAY, held=False) == policy(DAY)


@pytest.mark.parametrize(
    "theirs",
    [THEIRS, {"phases": {"delete": {"min_age": "7d", "actions": {"delete": {}}}}}, {"phases": THEIRS["phases"]}],
)
def test_theirs_stays(theirs: dict[str, Any]) -> None:
    assert next_policy(theirs, DAY, held=False) is None
    edited = {**theirs, "_meta": policy(DAY)["_meta"]}
    assert next_policy(edited, 2 * DAY, held=False) is None, "ours, and then edited"


@pytest.mark.parametrize("before", [None, policy(DAY), THEIRS])
def test_nothing_held_is_dropped_by_the_cluster_and_afterwards_all_is_as_it_was(before: Any) -> None:
    held = next_policy(before, DAY, held=True)
    assert held is not None
    assert "delete" not in held["phases"]
    assert next_policy(as_told(held), DAY, held=True) is None
    after = next_policy(as_told(held), DAY, held=False)
    assert after is not None
    assert after["phases"] == (before or policy(DAY))["phases"]


def test_only_fields_whose_place_is_free_can_be_added() -> None:
    wanted = {"properties": {"event": {"properties": {"id": {"type": "keyword"}, "hash": {"type": "keyword"}}}}}
    assert lacking(wanted, {}).keys() == {"event.id", "event.hash"}
    assert lacking(wanted, {"properties": {"event": {"properties": {"id": {"type": "text"}}}}}).keys() == {"event.hash"}
    assert lacking(wanted, {"properties": {"event": {"type": "keyword"}}}) == {}
    assert lacking(wanted, {"properties": {"event": {"type": "object"}}}).keys() == {"event.id", "event.hash"}


def test_a_day_that_came_between_two_questions_is_not_called_wrong() -> None:
    resolved = {"indices": [{"name": "a-2026.03.10", "aliases": ["a"], "attributes": ["open"]}]}
    (day,) = days("a", resolved, {"indices": [], "fields": {}}, {}, {"event.id": "keyword"})
    assert day.trouble({"event.id"}) is None
