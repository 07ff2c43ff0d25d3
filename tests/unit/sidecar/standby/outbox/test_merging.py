"""Ours and theirs by field: what is sent, and what cannot be taken apart."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.standby.outbox.merging import CannotMerge, merged

HEADERS = [("Content-Type", "application/json"), ("Content-Length", "99"), ("Authorization", "Basic x")]
OURS = {"title": "Ours", "body": "Mine"}
THEIRS = {"id": 5, "title": "Theirs", "body": "Yours"}


@pytest.mark.parametrize("wrap", [lambda fields: fields, lambda fields: {"note": fields}])
def test_what_is_left_to_them_is_not_sent(wrap: Any) -> None:
    body = json.dumps(wrap({**OURS, "password": "kept"})).encode()
    headers, sent, fields = merged(HEADERS, body, OURS, ["title"], THEIRS, whole=False)
    assert json.loads(sent) == wrap({"title": "Ours", "password": "kept"})
    assert fields == {"title": "Ours"}
    assert headers == [HEADERS[0], HEADERS[2]]  # the length was that of another body


def test_a_request_that_replaces_the_record_says_what_is_theirs() -> None:
    _, sent, fields = merged(HEADERS, json.dumps(OURS).encode(), OURS, ["title"], THEIRS, whole=True)
    assert json.loads(sent) == fields == {"title": "Ours", "body": "Yours"}


def test_all_of_ours_is_sent_just_as_it_came() -> None:
    body = b"no JSON, whatever it is"
    assert merged(HEADERS, body, OURS, ["title", "body"], THEIRS, whole=False) == (HEADERS, body, OURS)


@pytest.mark.parametrize(
    ("body", "ours", "whole", "why"),
    [
        (b"{}", [], False, "discard it"),
        (b"{}", ["title", "made_up"], False, "changes no made_up"),
        (b"no JSON", ["title"], False, "no JSON"),
        (b'{"title":"Ours"}', ["title"], False, "another form"),
        (b'[{"title":"Ours","body":"Mine"}]', ["title"], False, "another form"),
    ],
)
def test_what_cannot_be_taken_apart_is_said(body: bytes, ours: list[str], whole: bool, why: str) -> None:
    with pytest.raises(CannotMerge, match=why):
        merged(HEADERS, body, OURS, ours, THEIRS, whole=whole)


def test_what_the_upstream_has_must_be_known_to_be_kept() -> None:
    with pytest.raises(CannotMerge, match="body: what the upstream has there is not known"):
        merged(HEADERS, json.dumps(OURS).encode(), OURS, ["title"], {"title": "Theirs"}, whole=True)
