"""Differences are told by where and what kind, never by what a record says; a few are kept."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.contract import Resource
from sidecar.http.messages import Response
from sidecar.settings import Settings
from sidecar.standby.answer import Answer
from sidecar.standby.diff import differences
from sidecar.standby.parity import SAMPLES, Compared, Parity
from sidecar.storage.database import open_engine
from tests.support.tables import lay


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (
            {"id": 5, "title": "Round"},
            {"id": 5, "title": "Limping"},
            ["title: text of 5 letters here, text of 7 letters at the upstream"],
        ),
        (
            [{"a": 1}],
            [{"a": 2}, {"a": 3}],
            ["the list: 1 items here, 2 at the upstream", "[0].a: a number here, a number at the upstream"],
        ),
        ({"a": None}, {"b": 1}, ["a: only here", "b: only at the upstream"]),
        ({"a": 1}, {"a": True}, ["a: a number here, yes or no at the upstream"]),
        ({"a": [1]}, {"a": [1]}, []),
    ],
)
def test_where_they_differ(ours: Any, theirs: Any, said: list[str]) -> None:
    assert differences(ours, theirs) == said


@given(st.text(st.characters(categories=["Lu"]), min_size=4), st.text(st.characters(categories=["Lu"]), min_size=4))
def test_no_value_is_told(ours: str, theirs: str) -> None:
    told = " ".join(differences({"note": ours}, {"note": theirs}))
    assert ours not in told
    assert theirs not in told


def test_the_latest_few_samples_are_kept(tmp_path: Any) -> None:
    engine = open_engine(Settings(data=tmp_path))
    lay(engine)
    parity = Parity(engine)
    for number in range(4, SAMPLES + 7):
        theirs = Response(200, [("Content-Type", "application/json")], b'{"id":1,"title":"' + b"x" * number + b'"}')
        assert parity.keep([Compared("notes.read", _answer(), theirs, Resource("notes"))]) == ["different"]
    samples = parity.sampled()["notes.read"]
    assert len(samples) == SAMPLES
    assert samples[0]["said"] == [f"title: text of 3 letters here, text of {SAMPLES + 6} letters at the upstream"]
    engine.dispose()


def _answer() -> Answer:
    return Answer(200, [], b'{"id":1,"title":"Abc"}')
