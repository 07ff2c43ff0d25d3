"""Whom a person means who types part of a name, several, or a network."""

from __future__ import annotations

import pytest

from dashboard.values import people

KNOWN = ["Dr Holt", "Nurse Tan", "Nurse Tanaka", "nurse abara", "Dr Tan"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("nurse tan", ["Nurse Tan"]),
        ("nur tan", ["Nurse Tan", "Nurse Tanaka"]),
        ("tan", ["Dr Tan", "Nurse Tan", "Nurse Tanaka"]),
        ("holt; abara", ["Dr Holt", "nurse abara"]),
        ("Dr Holt", ["Dr Holt"]),
        ("Dr Nobody", ["Dr Nobody"]),
        ("", []),
    ],
)
def test_names_are_found_by_their_parts(typed: str, meant: list[str]) -> None:
    assert people.named(typed, KNOWN) == meant


def test_several_patients_and_networks() -> None:
    assert people.numbers("17, 18;19 17") == ["17", "18", "19"]
    assert people.networks("10.1.2.3/24, 10.9.9.9") == ["10.1.2.0/24", "10.9.9.9"]
    assert people.within(["10.1.2.0/24", "10.9.9.9"], ["10.1.2.7", "10.1.3.7", "::1", "nonsense"]) == [
        "10.1.2.7",
        "10.9.9.9",
    ]
    with pytest.raises(ValueError, match="10.1.2"):
        people.networks("10.1.2.333")


def test_several_values_come_back_from_an_address() -> None:
    assert people.several("a\nb") == ["a", "b"]
    assert people.shown("a\nb") == "a; b"
