"""The dashboard over a million events, in Chromium: first paint, the page's content, and each filter, by median.

    python -m tests.bench.dashboard [--events 1000000] [--store embedded|elasticsearch] [--rounds 7] [--keep DIR]

First paint is the browser's own `first-contentful-paint` of a page loaded afresh (assets cached, as on a ward computer
after its first visit); content is when the heading stands in the page, on the overview its objectives. A filter counts
from the press of "Show" until the rows of its answer stand in the page, a facet from the click on its first value.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from sidecar.events.store import EventStore
from tests.support.dashboard import seed
from tests.support.dashboard.serving import Dashboard, alone, chromium, context, enter

DAYS = 25
FILTERS: dict[str, Callable[[Page], Any]] = {
    "person": lambda page: page.locator("#f-person").fill("Dr Sato"),
    "patient": lambda page: page.locator("#f-patient").fill("17"),
    "action": lambda page: page.get_by_label("deleted").check(),
    "outcome": lambda page: page.get_by_label("failed", exact=True).check(),
    "sign-in failed": lambda page: page.get_by_label("sign-in failed").check(),
    "address": lambda page: page.locator("#f-address").fill("10.30.4.21"),
    "rare address": lambda page: page.locator("#f-address").fill("203.0.113.66"),
    "words": lambda page: page.locator("#f-text").fill("patient_id=17 Abara"),
    "common word": lambda page: page.locator("#f-text").fill("notes"),
    "person and patient": lambda page: (
        page.locator("#f-person").fill("Dr Sato"),
        page.locator("#f-patient").fill("18"),
    ),
}
FACETS = ("person", "patient", "action", "outcome")


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


def measure(page: Page, dashboard: Dashboard, rounds: int) -> dict[str, float]:
    """Medians in seconds."""
    enter(page, dashboard, "operator")
    found: dict[str, list[float]] = {}
    page.locator(".objective").first.wait_for(timeout=120_000)  # the first look counts what nobody has counted yet
    for name, path, content in (
        ("overview", "/", ".objective"),
        ("overview, 30 days", "/?period=30d", ".objective"),
        ("audit", "/audit", "h1"),
        ("audit, 30 days", "/audit?period=30d", "h1"),
    ):
        for _ in range(rounds):
            began = time.perf_counter()
            page.goto(dashboard.url + path)
            page.locator(f"#page {content}").first.wait_for(timeout=60_000)
            found.setdefault(f"content: {name}", []).append(time.perf_counter() - began)
            paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            found.setdefault(f"first paint: {name}", []).append(paint / 1000)
    for name, fill in FILTERS.items():
        for _ in range(rounds):
            page.goto(dashboard.url + "/audit?period=30d")
            page.locator(".event").first.wait_for()
            page.wait_for_load_state("networkidle")
            fill(page)
            before = page.url
            page.evaluate("document.querySelector('#events .quiet').textContent = 'before'")
            began = time.perf_counter()
            page.locator("#f-apply").click()
            expect(page.locator("#events .quiet").first).not_to_have_text("before", timeout=60_000)
            found.setdefault(f"filter: {name}", []).append(time.perf_counter() - began)
            assert page.url != before
            counted = time.perf_counter()
            page.locator("#audit-count strong").wait_for(timeout=60_000)
            found.setdefault(f"its count after: {name}", []).append(time.perf_counter() - counted)
    for facet in FACETS:
        for _ in range(rounds):
            page.goto(dashboard.url + "/audit?period=30d")
            link = page.locator(f"#facet-{facet} a").first
            link.wait_for(timeout=60_000)
            page.wait_for_load_state("networkidle")
            page.evaluate("document.querySelector('#events .quiet').textContent = 'before'")
            began = time.perf_counter()
            link.click()
            expect(page.locator("#events .quiet").first).not_to_have_text("before", timeout=60_000)
            found.setdefault(f"facet: {facet}", []).append(time.perf_counter() - began)
    return {name: round(statistics.median(times), 3) for name, times in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--store", choices=["embedded", "elasticsearch"], default="embedded")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--keep", type=Path, help="A folder to fill once and use again.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = given.keep or Path(scratch)
        opened = embedded if given.store == "embedded" else elasticsearch
        with opened(home) as (store, settings):
            now = time.time_ns()
            present = sum(bucket.count for bucket in store.count(seed.everything()))
            if present < given.events:
                seed.fill(store, now - DAYS * seed.DAY, now, given.events - present)
                time.sleep(2)
            users = () if (home / "data" / "understudy.db").exists() else ("auditor", "operator", "admin")
            environ = alone(home / "data", **settings)
            with Dashboard(environ, home / "log", users) as dashboard, chromium() as browser:
                profile = context(browser)
                medians = measure(profile.new_page(), dashboard, given.rounds)
                profile.close()
    print(json.dumps({"store": given.store, "events": given.events, "medians_s": medians}, indent=2))


if __name__ == "__main__":
    main()
