"""Smuggling and malformed requests, as file pairs: raw bytes (`cases/NAME.http`) beside what they must mean
(`cases/NAME.yaml`). Each goes to a real sidecar, directly and through a real HAProxy, in front of a strict upstream.

`refused: true`: nothing arrives upstream, the client gets an error or nothing, and the connection is closed.
`means`: just these requests arrive, in this order. `haproxy`, where it is not the same through HAProxy: `mends` (it
reads it in one way and passes it on well formed, as it may) or `refuses` (and so nothing arrives).
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from compose.balancer import describe
from compose.haproxy.config import render
from sidecar.contract import Contract
from sidecar.settings import load_settings
from tests.support.stack import Sidecar, ask, free_port, until
from tests.wire.strict import Strict, said

CASES = Path(__file__).parent / "cases"
NAMES = sorted(path.stem for path in CASES.glob("*.http"))
SAMPLE = NAMES[::8]
REFUSALS = {400, 408, 413, 414, 417, 422, 431, 501, 505}


@dataclass(frozen=True)
class Case:
    name: str
    data: bytes
    means: list[dict[str, Any]] | None
    haproxy: str | None


def case(name: str) -> Case:
    told = yaml.safe_load((CASES / f"{name}.yaml").read_text())
    assert set(told) <= {"says", "source", "refused", "means", "haproxy"}, name
    assert told.get("refused") is True or told["means"], name
    return Case(name, (CASES / f"{name}.http").read_bytes(), told.get("means"), told.get("haproxy"))


@pytest.fixture(scope="module")
def strict() -> Iterator[Strict]:
    with Strict() as server:
        yield server


@pytest.fixture(scope="module")
def sidecar(strict: Strict, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    data = tmp_path_factory.mktemp("strict") / "data"
    url = f"http://127.0.0.1:{strict.port}"
    with Sidecar(url, data, workers="1", body_timeout="5s", bypass_after="0s") as running:
        yield running
        told = [json.loads(line) for line in running.log.read_text().splitlines()]
    wrong = [line for line in told if line["log.level"] in ("error", "critical") or "error.stack_trace" in line]
    assert wrong == []


@pytest.fixture(scope="module")
def door(strict: Strict, sidecar: Sidecar, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """HAProxy as `understudy lb haproxy` configures it: to the sidecar, and to the upstream when that is down."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    assert program is not None
    folder, port = tmp_path_factory.mktemp("door"), free_port()
    settings = load_settings({**sidecar.environ, "UNDERSTUDY_SLOS": "hosp"}, None)
    described = describe(
        settings, Contract.load("hosp"), "inline", f"127.0.0.1:{port}",
        (f"127.0.0.1:{sidecar.port}/{sidecar.control}",),
    )  # fmt: skip
    (folder / "haproxy.cfg").write_text(render(described, f"{folder}/socket"))
    process = subprocess.Popen([program, "-db", "-q", "-f", str(folder / "haproxy.cfg")], stderr=subprocess.DEVNULL)
    try:
        until(lambda: ask(port, "GET", "/").status == 200, what="HAProxy")
        yield port
    finally:
        process.terminate()
        process.wait(10)


def check(strict: Strict, statuses: list[int], before: tuple[int, int], means: list[dict[str, Any]]) -> None:
    arrived, malformed = strict.record.since(before)
    assert malformed == []
    assert [(r.method, r.target, r.body) for r in arrived] == [
        (m["method"], m["target"], m["body"].encode("latin-1")) for m in means
    ]
    for request, meant in zip(arrived, means, strict=True):
        for name, values in meant.get("fields", {}).items():
            assert request.all(name) == values, name
        assert meant.get("forged", "none") not in str(request.headers)
    good = statuses[: len(means)]
    assert good == [200] * len(means)
    assert set(statuses[len(means) :]) <= REFUSALS
    assert len(statuses) <= len(means) + 1


@pytest.mark.parametrize("name", NAMES)
def test_directly(strict: Strict, sidecar: Sidecar, name: str) -> None:
    sent, before = case(name), strict.record.lengths()
    check(strict, said(sidecar.port, [sent.data]), before, sent.means or [])


@pytest.mark.parametrize("name", SAMPLE)
@pytest.mark.parametrize("by", ["line", "byte"])
def test_in_pieces(strict: Strict, sidecar: Sidecar, name: str, by: str) -> None:
    """How the bytes are cut into packets changes nothing."""
    sent, before = case(name), strict.record.lengths()
    if by == "line":
        pieces, pause = sent.data.splitlines(keepends=True), 0.002
    else:
        pieces, pause = [sent.data[i : i + 1] for i in range(min(len(sent.data), 400))] + [sent.data[400:]], 0.0002
    check(strict, said(sidecar.port, pieces, pause), before, sent.means or [])


@pytest.mark.haproxy
@pytest.mark.parametrize("name", NAMES)
def test_through_haproxy(strict: Strict, door: int, name: str) -> None:
    """What HAProxy mends arrives well formed, and as many requests as it takes for good: none was hidden from it."""
    sent, before = case(name), strict.record.lengths()
    means = [] if sent.haproxy == "refuses" else sent.means or []
    statuses = said(door, [sent.data], answers=len(means))
    if sent.haproxy != "mends":
        check(strict, statuses, before, means)
        return
    arrived, malformed = strict.record.since(before)
    assert malformed == []
    assert statuses.count(200) == len(arrived)
    assert set(statuses) - {200} <= REFUSALS


def test_there_are_enough_cases_and_each_is_described() -> None:
    assert len(NAMES) >= 150
    assert {path.stem for path in CASES.glob("*.yaml")} == set(NAMES)
    for name in NAMES:
        case(name)
