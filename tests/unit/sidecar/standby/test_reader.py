"""What the standby answers is what the upstream would have answered that very caller, or it is 503."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tests.support.gateway import InProcess
from tests.support.stack import Got
from tests.support.upstream import AMES, HOLT, basic

CALLERS = {"Dr Holt": HOLT, "Dr Ames": AMES}
LISTS = ("/notes", "/notes?patient_id=17", "/notes?patient_id=18")


def same(got: Got, truth: Got) -> bool:
    return got.status == truth.status and (got.status != 200 or got.json() == truth.json())


def test_whatever_went_before_an_answer_is_the_callers_own_or_none(tmp_path: Path) -> None:
    """Some of what is asked is answered, whatever little a single course of events lets it."""
    assert sum(_answered(tmp_path / str(seed), seed) for seed in (1, 2)) > 0


def _answered(folder: Path, seed: int) -> int:
    """Two callers, records that are shown to one alone, writes by both; after each step every question is tried."""
    dice, answered = random.Random(seed), 0
    folder.mkdir()
    with InProcess(folder) as gateway:
        state = gateway.upstream.state
        for number in (1, 2, 3):
            state.notes[number] = {"id": number, "title": f"n{number}", "patient_id": dice.choice((17, 18))}
        for step in range(14):
            user = dice.choice(list(CALLERS))
            number = dice.randint(1, max(state.notes, default=1) + 1)
            kind = dice.choice(["read", "list", "list", "create", "update", "delete", "hide"])
            body: dict[str, Any] = {"title": f"s{step}", "patient_id": dice.choice((17, 18))}
            if kind == "hide" and number in state.notes:
                state.only_for.setdefault(number, user)
            method, target = {
                "read": ("GET", f"/notes/{number}"),
                "list": ("GET", dice.choice(LISTS)),
                "create": ("POST", "/notes"),
                "update": ("PATCH", f"/notes/{number}"),
                "delete": ("DELETE", f"/notes/{number}"),
            }.get(kind, ("GET", f"/notes/{number}"))
            gateway.ask(method, target, CALLERS[user], body if method in ("POST", "PATCH") else None)
            for caller in CALLERS.values():
                for question in (f"/notes/{dice.randint(1, 5)}", dice.choice(LISTS)):
                    guess = gateway.down(question, caller)
                    if guess.status == 503:
                        continue
                    answered += 1
                    assert same(guess, gateway.ask("GET", question, caller)), (seed, step, kind, question)
    return answered


def test_the_unknown_the_wrong_and_the_retired_get_nothing(tmp_path: Path) -> None:
    with InProcess(tmp_path) as gateway:
        gateway.upstream.state.notes[1] = {"id": 1, "title": "Limps"}
        gateway.knows("/notes/1", HOLT)
        for headers in ({}, AMES, {"Authorization": basic("Dr Holt", "old")}, {"Authorization": "Bearer x"}):
            got = gateway.down("/notes/1", headers)
            assert got.status in (401, 503)
            assert b"Limps" not in got.body
