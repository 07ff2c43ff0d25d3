"""Simulated staff ask at a steady rate, in a believable mix, never twice, and tell what they got."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from compose import traffic
from compose.hosp import client
from compose.hosp.server import Simulator


@pytest.fixture
def hosp() -> Iterator[Simulator]:
    with Simulator("calm", seed=7, time_scale=0.01) as simulator:
        yield simulator


def run_for(hosp: Simulator, seconds: float, rate: float = 80) -> list[traffic.Result]:
    stop, results = threading.Event(), list[traffic.Result]()
    thread = threading.Thread(target=traffic.run, args=(hosp.url, hosp.users, rate, 1, stop, results.append))
    thread.start()
    time.sleep(seconds)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    return results


def test_traffic_is_a_steady_mix(hosp: Simulator) -> None:
    results = run_for(hosp, 1.5)
    assert 50 < len(results) < 250
    assert all(result.ok for result in results)
    assert {"notes.list", "patients.read", "notes.create"} <= {result.endpoint for result in results}


def test_nothing_is_sent_twice(hosp: Simulator) -> None:
    hosp.fault("status500", times=10**6)
    results = run_for(hosp, 0.5)
    assert results
    assert {(result.status, result.ok) for result in results} == {(500, False)}
    assert sum(client.requests(hosp.control_url)["counts"].values()) == len(results)


def test_no_answer_is_status_0(hosp: Simulator) -> None:
    client.set_profile(hosp.control_url, "outage")
    results = run_for(hosp, 0.5)
    assert results
    assert {(result.status, result.ok) for result in results} == {(0, False)}
