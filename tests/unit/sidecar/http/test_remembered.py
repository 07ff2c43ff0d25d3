"""How much memory we need is not a client's to say."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from sidecar.http import determining, secret_names
from sidecar.http.remembered import LONGEST, remembered
from sidecar.server import framing


def test_what_is_short_is_worked_out_once_and_what_is_long_each_time() -> None:
    worked = []

    @remembered(2)
    def length(text: str, times: int) -> int:
        worked.append(text)
        return len(text) * times

    for text in ("a", "a", "b", "a" * LONGEST, "a" * LONGEST):
        assert length(text, 2) == len(text) * 2
    assert worked == ["a", "b", "a" * LONGEST]
    for _ in range(2):
        assert length("a" * (LONGEST + 1), 2) == 2 * (LONGEST + 1)
    assert len(worked) == 5


@pytest.mark.parametrize(
    "function", [determining._field, framing._forwarding, framing._title, secret_names.is_secret_name]
)
def test_a_long_name_of_a_clients_is_not_kept(function: Callable[[str], object]) -> None:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(5):
            function(f"x-{number}" + "x" * 200_000)
        assert tracemalloc.get_traced_memory()[0] - before < 200_000
    finally:
        tracemalloc.stop()
