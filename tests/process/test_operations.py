"""docs/OPERATIONS.md: each of its commands does what the page says, beside a sidecar that serves."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import Sidecar, until
from tests.support.upstream import HOLT, Upstream

PAGE = Path(__file__).parents[2] / "docs" / "OPERATIONS.md"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


def commands() -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines() if line]


@pytest.mark.timeout(1200)
def test_every_command_of_the_page_works(tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = commands()
    assert len(found) >= 10
    with Sidecar(upstream.url, tmp_path / "data", environ={"PYTHONPATH": str(PAGE.parents[1])}) as side:
        assert side.ask("GET", "/patients", HOLT).status == 200
        assert side.plane("POST", "/endpoints/notes.create/takeover", {}).status == 200
        note = {"title": "kept", "body": "b"}
        until(lambda: side.ask("POST", "/notes", HOLT, note)["Cache-Status"].endswith("detail=outbox"), 20)
        until((tmp_path / "data.mark").exists, 20)
        for program, *words in found:
            assert program == "understudy"
            done = side.cli(*words)
            assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    assert (tmp_path / "units" / "understudy-sidecar.service").exists()
