"""What takes long is begun before it is due."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.gateway.lead import SLOW, Lead


def test_what_has_taken_long_is_begun_so_much_before() -> None:
    lead = Lead(1.0)
    assert lead.of("notes.list") == 0.0, "nothing is known of it"
    lead.took("notes.list", 0.3)
    assert lead.of("notes.list") == 0.3
    assert lead.of("notes.read") == 0.0


def test_what_has_taken_long_once_is_forgotten_as_others_are_quick() -> None:
    lead = Lead(1.0)
    lead.took("notes.list", 0.9)
    lead.took("notes.list", 0.1)
    assert 0.1 < lead.of("notes.list") < 0.9, "a machine that was busy may be so again"
    for _ in range(60):
        lead.took("notes.list", SLOW / 2)
    assert lead.of("notes.list") == 0.0


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0, 5))
def test_it_is_never_less_than_the_last_took_nor_more_than_the_most(times: list[float], most: float) -> None:
    lead = Lead(most)
    for took in times:
        lead.took("x", took)
    assert lead.of("x") <= most
    assert lead.of("x") >= (min(times[-1], most) if times[-1] > SLOW else 0.0)
