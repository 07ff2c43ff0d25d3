"""What `slo backtest` tells of a simulated history."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from alerts.cli import slo
from sidecar.settings import Settings
from tests.support.alerts.simulated import History


def backtest(folder: Path, history: History, since: int, until: int) -> list[dict[str, Any]]:
    """The incidents that the command tells of; times in Unix seconds."""
    history.keep(folder)
    words = ["backtest", "--format", "json", "--since", iso(since), "--until", iso(until)]
    ran = CliRunner().invoke(slo, words, obj=Settings(upstream="http://127.0.0.1:1", data=folder))
    assert ran.exit_code == 0, ran.output
    found: list[dict[str, Any]] = json.loads(ran.output)["incidents"]
    return found


def iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
