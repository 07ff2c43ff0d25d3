"""A contract without an endpoint whose writes are pending is refused by name; else they are parked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.stack import Sidecar, until
from tests.support.upstream import HOLT, Upstream

SHIPPED = Path(__file__).parents[2] / "sidecar" / "contracts" / "hosp.yaml"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


def test_pending_writes_outlive_a_contract_that_lost_their_endpoint(tmp_path: Path, upstream: Upstream) -> None:
    contract = tmp_path / "hosp.yaml"
    contract.write_text(SHIPPED.read_text())
    (tmp_path / "hosp.policies.yaml").write_text((SHIPPED.parent / "hosp.policies.yaml").read_text())
    side = Sidecar(upstream.url, tmp_path / "data", contract=str(contract))
    try:
        assert side.ask("GET", "/patients", HOLT).status == 200
        assert side.plane("POST", "/endpoints/notes.create/takeover", {}).status == 200
        time.sleep(1)  # until the gateway has heard of it
        body = {"title": "kept", "body": "b"}
        until(lambda: side.ask("POST", "/notes", HOLT, body).status in (200, 201), 10)
        (entry,) = side.plane("GET", "/outbox").json()["entries"]
        document = yaml.safe_load(SHIPPED.read_text())
        del document["paths"]["/notes"]["post"]
        contract.write_text(yaml.safe_dump(document))
        for command in (("sidecar", "--check"), ("reload",)):
            done = side.cli(*command)
            assert done.returncode == 1
            assert entry["id"] in done.stderr, done.stderr
        side.stop()
        side.start()
        until(lambda: [e["state"] for e in side.plane("GET", "/outbox").json()["entries"]] == ["parked"], 20)
        assert side.plane("GET", "/readyz?full").status == 200
        assert side.ask("GET", "/patients", HOLT).status == 200
        contract.write_text(SHIPPED.read_text())
        assert side.cli("reload").returncode == 0
        assert side.plane("POST", "/endpoints/notes.create/handback", {}).status == 200
        assert side.plane("POST", f"/outbox/{entry['id']}/retry", {}).status == 200
        until(lambda: [n["title"] for n in upstream.state.notes.values()].count("kept") == 1, 20, side.log.read_text())
    finally:
        side.stop()
