"""The simulator is Rails: the same requests to it and to a real application. Where they differ it is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from compose.hosp.behaviours import RAILS, chosen
from compose.hosp.server import Simulator
from tests.support.rails_app import RailsApp
from tests.support.rails_cases import CASES, Case, spellings
from tests.support.rails_send import send


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator("calm", seed=7, behaviours=chosen(), strays=404) as hosp:
        yield hosp


def test_each_answer_is_that_of_a_real_rails_application(rails: RailsApp, simulator: Simulator) -> None:
    user, since = simulator.users[0], datetime.now(UTC).isoformat()
    tags, wrong = ["", ""], []
    cases: list[Case] = [*CASES, *spellings(*user), Case(9, "GET", "/wp-login.php"), Case(9, "GET", "/a/b/c/d")]
    for case in cases:
        answers = []
        for at, port in enumerate((rails.port, simulator.port)):
            answer = send(port, case, user, tags[at])
            tags[at] = answer.headers.get("ETag", tags[at])
            answers.append(answer.compared(since))
        wrong += [(case.name, _differing(*answers))] if answers[0] != answers[1] else []
    assert not wrong, "\n".join(f"{name}\n    {told}" for name, told in wrong)
    assert len(cases) > 140


def _differing(rails: dict[str, Any], ours: dict[str, Any]) -> str:
    return "; ".join(
        f"{k}: Rails {str(v)[:160]!r}, simulator {str(ours[k])[:160]!r}" for k, v in rails.items() if ours[k] != v
    )


def test_every_row_is_asked_and_switched() -> None:
    assert {case.row for case in CASES} | {10} == set(range(1, 11))
    assert {behaviour.row for behaviour in RAILS} == set(range(1, 11))
