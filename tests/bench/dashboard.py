"""The dashboard over a million events, in Chromium: each page, each filter and each facet, by median and worst.

    python -m tests.bench.dashboard [--events 1000000] [--store embedded|elasticsearch] [--rounds 5] [--keep DIR]

First paint is the browser's own `first-contentful-paint` of a page loaded afresh (assets cached, as on a ward computer
after its first visit); content is when what was asked for stands in it; whole is when nothing of it loads any more. A
filter counts from the press of "Show" until the rows of its answer stand in the page, a facet from the click on a value
of it. No round asks what the one before did: what is kept for a few seconds is no answer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Page, expect

from sidecar.events.store import EventStore, Filter
from tests.support.dashboard import seed
from tests.support.dashboard.serving import ROLES, Dashboard, alone, chromium, context, enter

DAYS: Final = 25
PEOPLE: Final = 150
PATIENTS: Final = 5_000
ADDRESSES: Final = ("10.20.0.7", "10.20.0.8", "10.30.4.21")
WORDS: Final = ("notes", "patients", "WardApp", "Firefox", "Safari")
PAGES: Final[Mapping[str, tuple[str, str]]] = {
    "overview, 24 hours": ("/", ".objective"),
    "overview, 30 days": ("/?period=30d", ".objective"),
    "audit, 24 hours": ("/audit", ".event"),
    "audit, 30 days": ("/audit?period=30d", ".event"),
    "a person, 30 days": ("/audit/person?period=30d&person=Nurse+{n:03d}", ".event"),
    "a patient, 30 days": ("/audit/patient?period=30d&patient={n}", ".event"),
    "an event": ("{event}", "#written"),
    "weekly review": ("/audit/review", "#rv-items .card"),
    "evidence packs": ("/audit/evidence", "#packs"),
    "who looked at the audit": ("/audit/looks", "tbody tr"),
    "access log": ("/disclosure", "#make"),
    "endpoints, 24 hours": ("/endpoints?period=24h", ".endpoint"),
    "endpoints, 30 days": ("/endpoints?period=30d", ".endpoint"),
    "latency": ("/endpoints/latency?text=patients.read", ".js-plotly-plot"),
    "alerts": ("/alerts", "#history"),
    "users": ("/users", "tbody tr"),
    "account": ("/account", "h1"),
}
"""Path and what must stand in the page. `{n}`: another one each round."""
Fill = Callable[[Page, int], Any]


def _field(name: str, *values: str) -> Fill:
    def fill(page: Page, n: int) -> None:
        if not page.locator(f"#f-{name}").is_visible():
            page.locator("#f-more summary").click()
        page.locator(f"#f-{name}").fill(values[n % len(values)])

    return fill


def _choice(*labels: str) -> Fill:
    def fill(page: Page, n: int) -> None:
        page.locator("#f-more summary").click()
        page.get_by_label(labels[n % len(labels)], exact=True).check()

    return fill


def _both(page: Page, n: int) -> None:
    page.locator("#f-person").fill(f"Nurse {n:03d}")
    page.locator("#f-patient").fill(str(n + 40))


FILTERS: Final[Mapping[str, Fill]] = {
    "person": lambda page, n: page.locator("#f-person").fill(f"Nurse {n:03d}"),
    "part of a name": _field("person", "sato", "bhr", "mill lane", "lindq", "okaf"),
    "several people": _field("person", "holt; sato", "tan; 011; 012", "okafor; 013", "abara; holt", "014; 015"),
    "patient": lambda page, n: page.locator("#f-patient").fill(str(n + 17)),
    "person and patient": _both,
    "did what": _choice("looked at a list", "added", "changed", "screened", "looked at one record"),
    "how it ended": _choice(
        "failed", "worked", "was refused or not found", "sign-in failed", "ended without certainty"
    ),
    "to what": _choice("notes", "patients", "staffs"),
    "answered by": _choice("the standby", "HOSP", "Understudy itself"),
    "address": _field("address", *ADDRESSES),
    "network": _field("address", "10.30.4.0/24", "10.20.0.0/16", "10.0.0.0/8", "203.0.113.0/24"),
    "common word": _field("text", *WORDS),
    "rare words": _field("text", *(f"patient_id={number} Firefox" for number in range(900, 920))),
    "between two times": lambda page, n: (
        page.locator("#f-more summary").click(),
        page.locator("#f-start").fill(time.strftime("%Y-%m-%dT08:00:00", time.gmtime(time.time() - (n + 2) * 86400))),
    ),
}
FACETS: Final = ("person", "patient", "action", "outcome")


@contextmanager
def embedded(home: Path) -> Iterator[tuple[EventStore, dict[str, str]]]:
    from sidecar.events.store.sqlite import EmbeddedStore

    store = EmbeddedStore(home / "data" / "events.db")
    store.install()
    yield store, {}
    store.close()


@contextmanager
def elasticsearch(home: Path) -> Iterator[tuple[EventStore, dict[str, str]]]:
    from compose.elasticsearch.node import VERSIONS, Node, prepare
    from sidecar.events.store.elasticsearch import ElasticStore

    prepare(VERSIONS[0])
    node = Node(VERSIONS[0], home / "elasticsearch")
    node.start()
    store = ElasticStore(node.url, timeout=60)
    store.install()
    yield store, {"elasticsearch": node.url}
    store.close()
    node.stop()


Times = dict[str, list[float]]
"""Seconds by what was timed."""


def _whole(page: Page) -> None:
    expect(page.locator("#page .loading")).to_have_count(0, timeout=60_000)


def pages(page: Page, dashboard: Dashboard, rounds: int, event: str) -> None:
    _head("first paint", "content", "whole")
    for name, (path, content) in PAGES.items():
        times: Times = {"first paint": [], "content": [], "whole": []}
        for n in range(rounds):
            began = time.perf_counter()
            page.goto(dashboard.url + path.format(n=n + 1, event=event))
            page.locator(f"#page {content}").first.wait_for(timeout=60_000)
            times["content"].append(time.perf_counter() - began)
            _whole(page)
            times["whole"].append(time.perf_counter() - began)
            paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            times["first paint"].append(paint / 1000)
        _row(name, times)


def narrowed(page: Page, dashboard: Dashboard, rounds: int) -> None:
    """Filters and facets of the audit over all that is there."""
    _head("rows", "counted", "whole")
    for name, fill in FILTERS.items():
        times: Times = {}
        for n in range(rounds):
            _opened(page, dashboard)
            fill(page, n)
            _pressed(page, times, page.get_by_role("button", name="Show").first.click)
        _row(f"filter: {name}", times)
    for facet in FACETS:
        times = {}
        for n in range(rounds):
            _opened(page, dashboard)
            links = page.locator(f"#facet-{facet} > ul a")
            links.first.wait_for(timeout=60_000)
            _pressed(page, times, links.nth(n % links.count()).click)
        _row(f"facet: {facet}", times)


def _opened(page: Page, dashboard: Dashboard) -> None:
    page.goto(f"{dashboard.url}/audit?period=30d")
    page.locator(".event").first.wait_for(timeout=60_000)
    _whole(page)


def _pressed(page: Page, times: Times, press: Callable[[], None]) -> None:
    """Until its rows stand there, until they are counted, and until nothing loads any more."""
    before = page.url
    page.evaluate("document.querySelector('#events').dataset.before = 'yes'")
    began = time.perf_counter()
    press()
    page.locator("#events:not([data-before])").wait_for(timeout=60_000)
    times.setdefault("rows", []).append(time.perf_counter() - began)
    page.locator("#audit-count strong").wait_for(timeout=60_000)
    times.setdefault("counted", []).append(time.perf_counter() - began)
    _whole(page)
    times.setdefault("whole", []).append(time.perf_counter() - began)
    assert page.url != before


def _head(*columns: str) -> None:
    """Of a table in Markdown: its rows are told as they are measured."""
    print(f"| | {' | '.join(columns)} |\n" + "|---" * (len(columns) + 1) + "|", flush=True)


def _row(name: str, times: Times) -> None:
    """The median of each, and its worst in brackets."""
    cells = [f"{statistics.median(each):.2f} ({max(each):.2f})" for each in times.values()]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _missing(kept: Path) -> tuple[str, ...]:
    """The users who are still to be added; `kept` says that they were."""
    if kept.exists():
        return ()
    kept.touch()
    return ROLES


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--store", choices=["embedded", "elasticsearch"], default="embedded")
    parser.add_argument("--rounds", type=int, default=5, help="0: only fill the store.")
    parser.add_argument("--keep", type=Path, help="A folder to fill once and use again.")
    parser.add_argument("--settle", type=float, default=15, help="Seconds for what is counted behind a start.")
    parser.add_argument("--only", choices=["pages", "audit"], help="Half of it.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = given.keep or Path(scratch)
        opened = embedded if given.store == "embedded" else elasticsearch
        with opened(home) as (store, settings):
            now = time.time_ns()
            present = sum(bucket.count for bucket in store.count(Filter()))
            if present < given.events:
                seed.fill(store, now - DAYS * seed.DAY, now, given.events - present, people=PEOPLE, patients=PATIENTS)
                time.sleep(2)
            if not given.rounds:
                return
            asked = Filter(terms={"event.action": ["update"]})
            event = f"/audit/event?event={store.search(asked, 1).events[0]['event']['id']}"
            environ = alone(home / "data", **settings)
            with Dashboard(environ, home / "log", _missing(home / "users")) as dashboard, chromium() as browser:
                profile = context(browser)
                page = profile.new_page()
                enter(page, dashboard, "admin")
                page.locator(".objective").first.wait_for(timeout=900_000)  # the first look counts what nobody has yet
                page.wait_for_timeout(given.settle * 1000)
                if given.only != "audit":
                    pages(page, dashboard, given.rounds, event)
                if given.only != "pages":
                    narrowed(page, dashboard, given.rounds)
                profile.close()
    print(json.dumps({"store": given.store, "events": given.events}))


if __name__ == "__main__":
    main()
