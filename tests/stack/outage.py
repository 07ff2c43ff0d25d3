"""`make outage`: the demo seen from outside while HOSP goes down and comes back: when alerts came, and what they were.

Prints the figures, and exits non-zero where a promise is broken: a page within two minutes, its end within five minutes
of the recovery, and no page for what the standby covers.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from alerts.delivery.queue import Told
from alerts.lifecycle.lifecycle import Kind
from alerts.lifecycle.store import Alerts
from alerts.lifecycle.tables import open_alerts
from sidecar.settings import Settings
from sidecar.timeunits import SECOND
from tests.support.stack import until

SCREENING = "POST /patients/{id}/screen"


class Demo:
    """What it says. `control`: HOSP's, `plane`: the sidecar's endpoints; empty until they were said."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.control = self.plane = ""
        self.lines: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip())
            if found := re.match(r"HOSP's control +(\S+)", line):
                self.control = found[1]
            if found := re.match(r"control plane +(\S+)", line):
                self.plane = found[1]

    def ready(self) -> bool:
        """Whether the standby could answer all that it ever can."""
        with urllib.request.urlopen(self.plane, timeout=10) as answer:
            return all(row["ready"] for row in json.load(answer) if row["name"] != SCREENING)

    def become(self, profile: str) -> int:
        """Switches HOSP's behaviour; when that was, in ns."""
        asked = urllib.request.Request(self.control, data=f'{{"name": "{profile}"}}'.encode(), method="POST")
        with urllib.request.urlopen(asked, timeout=10):
            return time.time_ns()


@contextmanager
def demo(data: Path) -> Iterator[Demo]:
    words = [sys.executable, "-m", "sidecar", "demo", "--data", str(data)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        running = Demo(process)
        deadline = time.monotonic() + 240
        while not running.control and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.1)
        if not running.control:
            raise click.ClickException("the demo did not start:\n" + "\n".join(running.lines[-5:]))
        yield running
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def told(data: Path) -> list[dict[str, Any]]:
    """What was delivered, the first first."""
    engine = open_alerts(Settings(data=data))
    try:
        rows = Alerts(engine).deliveries(limit=10_000)
    finally:
        engine.dispose()
    return [row for row in reversed(rows) if row["state"] == Told.DONE]


def figures(rows: list[dict[str, Any]], down: int, up: int) -> tuple[list[str], list[str]]:
    """What to print, and which promises are broken."""
    fired = [row for row in rows if row["content"]["kind"] == Kind.FIRING]
    pages = [row for row in fired if row["content"]["severity"] == "page" and down <= row["made_at"] < up]
    screening = [row for row in pages if row["content"]["labels"].get("endpoint") == SCREENING]
    hurt = {_what(row) for row in pages if row["content"]["labels"].get("view") == "users"}
    covered = [row for row in pages if row["content"]["labels"].get("view") == "hosp" and _what(row) not in hurt]
    tickets = [row for row in fired if row["content"]["notes"].get("reason", "").startswith("running on the standby")]
    ended = {_episode(row): row["done_at"] for row in rows if row["content"]["kind"] == Kind.RESOLVED}
    ends = [ended[_episode(row)] for row in pages if _episode(row) in ended]
    messages = {row["message"] for row in rows if down <= row["made_at"] < up}
    first = min((row["done_at"] - down for row in pages), default=None)
    last = max(ends, default=up) - up
    said = [
        *(_line(row, ended.get(_episode(row)), down, up) for row in pages),
        f"first page delivered {_seconds(first)} after the outage began, screening's "
        f"{_seconds(min((row['done_at'] - down for row in screening), default=None))}",
        f"{len(ends)} of {len(pages)} pages resolved, the last {_seconds(last)} after HOSP was back",
        f"{len(covered)} pages for HOSP where users are well, {len(tickets)} tickets 'running on the standby'",
        f"{len(fired)} alerts fired; {len(messages)} messages were delivered during the outage",
    ]
    promises = {
        "no page within two minutes": first is not None and first <= 120 * SECOND,
        "a page did not end within five minutes of the recovery": len(ends) == len(pages) and last <= 300 * SECOND,
        "a page for HOSP where users are well": not covered,
        "no ticket says that users run on the standby": bool(tickets),
    }
    return said, [broken for broken, kept in promises.items() if not kept]


def _line(row: dict[str, Any], end: int | None, down: int, up: int) -> str:
    labels = row["content"]["labels"]
    what = " ".join(labels.get(name, "") for name in ("slo", "view", "endpoint"))
    until = "still fires" if end is None else f"over {_seconds(end - up)} after HOSP was back"
    return f"  {_seconds(row['made_at'] - down)}: {row['content']['name']} {what}, {until}"


def _what(row: dict[str, Any]) -> tuple[str, str]:
    return row["content"]["labels"]["slo"], row["content"]["labels"]["endpoint"]


def _episode(row: dict[str, Any]) -> tuple[str, int]:
    return row["content"]["key"], row["content"]["episode"]


def _seconds(span: int | None) -> str:
    return "never" if span is None else f"{span / SECOND:.0f} s"


@click.command()
@click.option("--before", default=30.0, show_default=True, help="Seconds of an ordinary day, once all is ready.")
@click.option("--outage", default=60.0, show_default=True, help="Seconds without HOSP.")
@click.option("--after", default=150.0, show_default=True, help="Seconds to watch once it is back.")
def main(before: float, outage: float, after: float) -> None:
    """Break HOSP in the demo, mend it, and say when which alerts came."""
    with tempfile.TemporaryDirectory(prefix="outage-") as folder:
        data = Path(folder) / "demo"
        with demo(data) as running:
            until(running.ready, 180, "a standby that is ready")
            time.sleep(before)
            down = running.become("outage")
            time.sleep(outage)
            up = running.become("ordinary")
            time.sleep(after)
        said, broken = figures(told(data), down, up)
    click.echo("\n".join(said))
    if broken:
        raise click.ClickException("; ".join(broken))


if __name__ == "__main__":
    main()
