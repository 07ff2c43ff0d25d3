"""Simulated staff: a believable mix of requests at a steady rate, never sent twice, each result told."""

from __future__ import annotations

import base64
import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

MIX = (("notes", 30), ("patient", 25), ("patients", 5), ("create", 10), ("update", 5), ("screen", 5), ("me", 10)) + (
    ("hospitals", 10),
)
PEOPLE = 32
"""Requests under way at the most."""
PATIENCE = 35.0


@dataclass(frozen=True)
class Result:
    """What a user got. `status` 0: no answer at all."""

    endpoint: str
    method: str
    status: int
    seconds: float
    cache_status: str | None
    ok: bool


def run(
    base_url: str,
    users: Sequence[tuple[str, str]],
    rate: float,
    seed: int,
    stop: threading.Event,
    on_result: Callable[[Result], None],
) -> None:
    """Makes `rate` requests a second until `stop`; returns when the last has ended."""
    dice = random.Random(seed)
    busy = threading.BoundedSemaphore(PEOPLE)

    def one(asked: tuple[str, str, str, Any], user: tuple[str, str]) -> None:
        try:
            on_result(_ask(base_url, asked, user))
        finally:
            busy.release()

    with ThreadPoolExecutor(PEOPLE) as pool:
        due = time.monotonic()
        while not stop.wait(max(0.0, due - time.monotonic())):
            due += dice.expovariate(rate)
            if busy.acquire(blocking=False):
                pool.submit(one, _draw(dice), dice.choice(users))


def _draw(dice: random.Random) -> tuple[str, str, str, Any]:
    """(endpoint, method, target, body)"""
    word = dice.choices([name for name, _ in MIX], [weight for _, weight in MIX])[0]
    patient, note = dice.randint(1, 400), dice.randint(1, 2000)
    text = {"title": "Round", "body": f"Seen at {dice.randint(8, 18)}:00.", "patient_id": patient, "staff_id": 1}
    images = {"images": ["".join(dice.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=dice.choice((37, 42))))]}
    return {
        "notes": ("notes.list", "GET", f"/notes?patient_id={patient}", None),
        "patient": ("patients.read", "GET", f"/patients/{patient}", None),
        "patients": ("patients.list", "GET", "/patients", None),
        "create": ("notes.create", "POST", "/notes", text),
        "update": ("notes.update", "PATCH", f"/notes/{note}", {"body": text["body"]}),
        "screen": ("patients.screen", "POST", f"/patients/{patient}/screen", images),
        "me": ("staffs.me", "GET", "/staffs/me", None),
        "hospitals": ("hospitals.list", "GET", "/hospitals", None),
    }[word]


def _ask(base_url: str, asked: tuple[str, str, str, Any], user: tuple[str, str]) -> Result:
    endpoint, method, target, body = asked
    token = base64.b64encode(f"{user[0]}:{user[1]}".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Accept": "application/json"}
    data = None
    if body is not None:
        data, headers["Content-Type"] = json.dumps(body), "application/json"
    parts = urlsplit(base_url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=PATIENCE)
    began = time.monotonic()
    try:
        connection.request(method, target, data, headers)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return Result(endpoint, method, 0, time.monotonic() - began, None, False)
    finally:
        connection.close()
    ok = answer.status < 500
    return Result(endpoint, method, answer.status, time.monotonic() - began, answer.getheader("Cache-Status"), ok)
