"""docs/ALERTS.md names every alert, and as what it is told."""

from __future__ import annotations

import re
from pathlib import Path

from alerts.message import RUNBOOKS
from alerts.rules import conditions
from tests.alerts import label_clash
from tests.alerts.outages import OUTAGES
from tests.alerts.plays import PLAYS, STORE

DOCS = Path("docs/ALERTS.md")


def test_every_alert_is_there_with_its_severities() -> None:
    told: dict[str, set[str]] = {}
    for line in DOCS.read_text().split("## One outage")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and re.match(r"[A-Z]\w+", cells[0]):
            severities = {name for name, cell in zip(("page", "ticket"), cells[1:3], strict=True) if cell != "–"}
            told |= dict.fromkeys(cells[0].split(", "), severities)
    assert told.keys() | {"TestMessage"} == {path.stem for path in RUNBOOKS.glob("*.md")}
    ruled: dict[str, set[str]] = {}
    for rule in conditions.load():
        ruled.setdefault(rule.alert, set()).add(rule.severity)
    assert {name: told[name] for name in ruled} == ruled


TRIED = {
    "breakage": [
        *(play.name for play in PLAYS),
        *(f"Elasticsearch: {play.name}" for play in STORE),
        label_clash.NAME,
    ],
    "outages": list(OUTAGES),
}


def test_what_is_tried_is_told_play_by_play_and_kept_its_promises() -> None:
    """By `make breakage`, which fills what is between the marks."""
    text = DOCS.read_text()
    marks = dict(re.findall(r"<!-- (\w+) -->\n(.*?)<!-- /\1 -->", text, re.DOTALL))
    rows = {name: re.findall(r"^\| (.+?) \|", table, re.MULTILINE)[1:] for name, table in marks.items()}
    assert rows == TRIED
    assert "**" not in "".join(marks.values()), "no promise was broken"
