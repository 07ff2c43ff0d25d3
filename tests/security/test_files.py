"""DATA, and all that is written under it, is its owner's alone."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.stack import Sidecar, until
from tests.support.upstream import HOLT, Upstream


def test_nobody_else_reads_what_a_sidecar_writes(tmp_path: Path) -> None:
    data, was = tmp_path / "data", os.umask(0o022)
    data.mkdir(mode=0o755)
    try:
        with (
            Upstream() as upstream,
            Sidecar(upstream.url, data, workers="1", sign_every="1s", evidence=None) as sidecar,
        ):
            assert sidecar.ask("POST", "/notes", HOLT, {"title": "t"}).status == 201
            assert sidecar.cli("audit", "hold", "--user", "Dr Holt", "--reason", "r").returncode in (0, 2)
            until((data / "statements.jsonl").exists, 15, "signed")
            assert data.stat().st_mode & 0o777 == 0o700
            found = list(data.rglob("*"))
            assert len(found) > 10
            open_ = [f"{path}: {path.stat().st_mode & 0o777:o}" for path in found if path.stat().st_mode & 0o077]
            assert open_ in ([], [f"{data / 'audit.pub'}: 644"])
            for name in ("data.sign-key", "data.seal-key"):
                assert (tmp_path / name).stat().st_mode & 0o077 == 0
    finally:
        os.umask(was)
