"""Writes to one record at the same time: each waits for the one before it, and none is refused while HOSP is well."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import Sidecar
from tests.support.upstream import HOLT, Upstream

CLIENTS, RECORDS = 16, 4
SECONDS = float(os.environ.get("SAME_RECORD_SECONDS", "20"))
"""SAME_RECORD_SECONDS=120 is the two minutes of the acceptance."""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.mark.timeout(60 + 3 * SECONDS)
def test_nobody_is_refused_and_the_order_is_that_of_the_answers(tmp_path: Path, upstream: Upstream) -> None:
    with Sidecar(upstream.url, tmp_path / "data") as side:
        made = [side.ask("POST", "/notes", HOLT, {"title": "0", "body": "b"}).json()["id"] for _ in range(RECORDS)]
        statuses: Counter[int] = Counter()
        answered: dict[int, list[tuple[float, float, str]]] = {ident: [] for ident in made}
        refused: list[bytes] = []
        until = time.monotonic() + SECONDS

        def write(number: int) -> None:
            ident = made[number % RECORDS]
            count = 0
            while time.monotonic() < until:
                title, began = f"{number}-{count}", time.monotonic()
                got = side.ask("PATCH", f"/notes/{ident}", HOLT, {"title": title})
                statuses[got.status] += 1
                if got.status != 200:
                    refused.append(got.body)
                answered[ident].append((began, time.monotonic(), title))
                count += 1

        threads = [threading.Thread(target=write, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(statuses) == {200}, (statuses, refused)
        assert sum(statuses.values()) > CLIENTS
        for ident in made:
            order = [seen.body for seen in upstream.seen(f"/notes/{ident}", "PATCH")]
            at = {json.loads(body)["title"]: place for place, body in enumerate(order)}
            assert len(order) == len(answered[ident]), "each was sent once"
            latest, ends = -1, sorted((ended, at[title]) for _, ended, title in answered[ident])
            position = 0
            for began, _, title in sorted(answered[ident]):
                while position < len(ends) and ends[position][0] < began:
                    latest = max(latest, ends[position][1])
                    position += 1
                assert at[title] > latest, f"{title} was acknowledged later, and reached the upstream sooner"
