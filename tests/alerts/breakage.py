"""`make breakage`: alerts while things break, and users fail or do not: no false end, no silence, no page for nothing.

Each play (tests/alerts/plays.py) is played three times by a stepped clock: while users are well; it breaks, then users
fail; users fail, then it breaks. Then outages as on-call knows them, on every channel; the plays of the event store by
a real Elasticsearch; and Prometheus by our rules, where a label clashes. Prints a table; exits non-zero where a promise
is broken.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from compose.elasticsearch.node import VERSIONS, Node, prepare
from tests.alerts import label_clash
from tests.alerts.columns import SHORT, Lengths, row
from tests.alerts.judging import Cell, embedded
from tests.alerts.outages import EVERY, OUTAGES, busy
from tests.alerts.plays import PLAYS, STORE
from tests.alerts.shelves import ElasticShelf
from tests.bench.readme import put


def table(headings: Sequence[str], rows: Sequence[tuple[str, Sequence[Cell]]]) -> str:
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(map(str, cells))} |" for name, cells in rows)])


HEADINGS: Final = (
    "what breaks",
    "users are well: what is told",
    "it breaks, then users fail",
    "users fail, then it breaks",
)


def plays(only: str) -> Iterator[tuple[str, list[Cell]]]:
    for play in PLAYS:
        if only in play.name:
            yield play.name, row(play, embedded, Lengths())


def elastic(only: str) -> Iterator[tuple[str, list[Cell]]]:
    """By a real node, which is slower: in short, and with a quarter of an hour before."""
    brief, chosen = replace(SHORT, ends=True), [play for play in STORE if only in play.name]
    if not chosen:
        return
    prepare(VERSIONS[0])
    with tempfile.TemporaryDirectory(prefix="breakage-") as name:
        node = Node(VERSIONS[0], Path(name))
        node.start()
        try:
            for play in chosen:
                shorter = replace(play, world={"history": 900})
                yield f"Elasticsearch: {play.name}", row(shorter, lambda _: ElasticShelf(node), brief)
        finally:
            node.stop()


def prometheus(only: str) -> Iterator[tuple[str, list[Cell]]]:
    if only in label_clash.NAME:
        well, failing, wrong = label_clash.play()
        yield label_clash.NAME, [Cell([well]), Cell([failing], wrong), Cell(["–"])]


@click.command()
@click.option("--only", default="", help="Plays whose name has this in it.")
@click.option("--docs", type=click.Path(path_type=Path), help="Where the tables are put, between their marks.")
def main(only: str, docs: Path | None) -> None:
    """Break what alerts depend on, and print what people were told."""
    logging.disable(logging.CRITICAL)  # what breaks is logged by the thousand
    rows: list[tuple[str, list[Cell]]] = []
    for part in (plays, elastic, prometheus):
        for name, cells in part(only):
            rows.append((name, cells))
            click.echo(f"{name}: {' | '.join(map(str, cells))}")
    outages = [(name, list(played(minutes=20).values())) for name, played in OUTAGES.items() if only in name]
    took = [busy()[0]] if not only else []
    made = table(HEADINGS, rows)
    told = table(("outage", *EVERY), outages)
    told += "".join(
        f"\n\nA total outage at 50 requests a second is told on every channel after {each}." for each in took
    )
    click.echo(f"{made}\n\n{told}")
    if docs is not None:
        put(docs, "breakage", made)
        put(docs, "outages", told)
    wrong = sum(bool(cell.wrong) for cell in [cell for _, cells in [*rows, *outages] for cell in cells] + took)
    if wrong:
        raise click.ClickException(f"{wrong} plays broke a promise")


if __name__ == "__main__":
    main()
