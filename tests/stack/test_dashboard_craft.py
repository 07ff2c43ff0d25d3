"""What people bring is shown as text everywhere; pages are usable by keyboard and screen reader, at any width."""

from __future__ import annotations

import csv
import json
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from dash import dcc, html
from playwright.sync_api import Browser, Page, expect
from plotly.utils import PlotlyJSONEncoder

from dashboard.app import wire
from dashboard.pages import PAGES as EVERY
from dashboard.values.filters import View
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.settings import load_settings
from tests.support.dashboard import alarms, seed
from tests.support.dashboard.serving import (
    PASSWORD,
    PHONE,
    WIDE,
    ZOOMED,
    Dashboard,
    alone,
    chromium,
    context,
    enter,
    go,
    settled,
    violations,
)

pytestmark = [pytest.mark.chromium, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
EVIL = "<img src=x onerror=window.hurt=1><script>window.hurt=1</script>"
FORMULA = '=HYPERLINK("http://evil.example","click")'
PAGES = (
    "/",
    "/audit",
    "/audit/person?person=Dr+Holt",
    "/audit/patient?patient=17&period=7d",
    "/audit/looks",
    "/audit/evidence",
    "/audit/review",
    "/audit/break-glass",
    "/disclosure",
    "/audit?period=7d&patient=17&person=Dr+Holt",
    "/endpoints",
    "/endpoints/latency?text=patients.read",
    "/standby",
    "/standby/discarded",
    "/standby/evidence",
    "/standby/replacement",
    "/alerts",
    "/users",
    "/account",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    home = tmp_path_factory.mktemp("craft")
    data = home / "data"
    store = EmbeddedStore(data / "events.db")
    store.install()
    now = time.time_ns()
    seed.fill(store, now - 2 * seed.DAY, now, 3000)
    store.append(*_evil(now))
    store.close()
    alarms.firing(data, now)
    with Dashboard(alone(data), home / "log") as running:
        yield running


@pytest.fixture(scope="module")
def pages(dashboard: Dashboard) -> tuple[str, ...]:
    """Every page; what must be made first, too: an event of each kind, and an evidence pack."""
    parts = wire(load_settings(dashboard.environ), time.time_ns)
    view = View.parse(f"period=7d&person={quote(EVIL)}")
    pack = parts.packs.make("auditor", view, EVIL, f"{EVIL}\n{FORMULA}")
    wrote = next(row["event"]["event"]["id"] for row in pack.rows if row["written"])
    parts.engine.dispose()
    parts.alerts_engine.dispose()
    found = (*PAGES, f"/audit/event?event={wrote}", f"/audit/evidence?id={pack.id}")
    assert {page.path for page in EVERY} == {path.partition("?")[0] for path in found}, "a page is missing here"
    return found


def _evil(now: int) -> tuple[list[Any], list[Any]]:
    dice = random.Random(9)
    note = {"title": EVIL, "body": f"pwned {EVIL} and more of that", "patient_id": 17}
    made = [
        seed.event(now - 3 * seed.SECOND, dice, kind="create", user=EVIL, patient="17", body=note, agent=EVIL),
        seed.event(
            now - 2 * seed.SECOND, dice, kind="patient", user=FORMULA, patient="17", path=f"/{EVIL}", query=EVIL
        ),
        seed.event(now - seed.SECOND, dice, kind="note", user="Dr Holt", patient=EVIL, agent=FORMULA),
        *(seed.event(now - n * seed.SECOND, dice, kind="me", user=EVIL, status=401) for n in range(4, 10)),
    ]
    return [event for event, _ in made], [body for _, body in made if body]


def profile(browser: Browser, **given: Any) -> Iterator[Page]:
    made = context(browser, **given)
    yield made.new_page()
    made.close()


def as_told(parts: list[Any]) -> Any:
    """As Dash sends it."""
    return json.loads(json.dumps(parts, cls=PlotlyJSONEncoder))


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    yield from profile(browser)


def test_what_people_bring_is_text_everywhere(page: Page, dashboard: Dashboard, pages: tuple[str, ...]) -> None:
    dashboard.ask("POST", "/login", {"Content-Type": "application/x-www-form-urlencoded"}, f"name={EVIL}&password=x")
    enter(page, dashboard, "admin", "/audit")
    expect(page.locator("#findings")).to_contain_text(EVIL)
    told = f"{EVIL} added the note “{EVIL}” to Patient 17"  # wherever in the list its time puts it
    expect(page.locator(".event").filter(has_text=told)).not_to_have_count(0)
    for path in (*pages, f"/audit/person?person={quote(EVIL)}", f"/audit/patient?patient={quote(EVIL)}",
                 f"/audit?text={quote(EVIL)}", f"/audit?person={quote(EVIL)}&period=7d"):  # fmt: skip
        go(page, dashboard, path)
        page.wait_for_load_state("networkidle")  # also an image that was never to be there has failed by now
        if page.locator("svg .point").count():
            page.locator("svg .nsewdrag").first.hover()  # once the chart stays where it is
            page.locator("svg .point").first.hover(force=True)
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
        assert page.evaluate("window.hurt") is None, path
        assert page.locator("#page img").count() == 0, path
        assert page.locator("#page script").count() == 0, path


def test_what_stands_still_is_text_and_leads_nowhere_that_a_link_of_dash_would_not(
    page: Page, dashboard: Dashboard
) -> None:
    """Given as a callback would, whatever we write ourselves."""
    enter(page, dashboard, "auditor", "/account")
    shown = page.evaluate(
        """parts => new Promise(done => {
            const place = document.createElement('div');
            window.ReactDOM.createRoot(place).render(window.React.createElement(window.understudy.Still, {parts}));
            setTimeout(() => done([place.textContent, place.querySelectorAll('img').length,
                [...place.querySelectorAll('a')].map(each => each.getAttribute('href')),
                place.querySelector('button').id]), 200);
        })""",
        as_told(
            [
                html.P(EVIL),
                html.A("a", href="javascript:window.hurt=1"),
                dcc.Link("b", href="javascript:window.hurt=1"),
                dcc.Link("c", href="/audit"),
                html.Button("d", id={"what": "x", "do": "y"}),
            ]
        ),
    )
    assert shown == [f"{EVIL}abcd", 0, ["about:blank", "about:blank", "/audit"], '{"do":"y","what":"x"}']
    assert page.evaluate("window.hurt") is None


def test_the_sign_in_page_shows_what_was_typed_as_text(page: Page, dashboard: Dashboard) -> None:
    page.goto(f"{dashboard.url}/login?next={EVIL}")
    page.get_by_label("Name").fill(EVIL)
    page.get_by_label("Password").fill("not it")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("Wrong name or password.")
    expect(page.get_by_label("Name")).to_have_value(EVIL)
    assert page.evaluate("window.hurt") is None


def test_exports_hold_no_formula(page: Page, dashboard: Dashboard) -> None:
    enter(page, dashboard, "auditor", "/audit?period=1h")
    page.get_by_role("button", name="Export as CSV").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="The file").first.click(timeout=15_000)
    path = Path(download.value.path())
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    assert any(FORMULA in cell for row in rows for cell in row)
    assert [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))] == []


@pytest.mark.parametrize("sizes", [(WIDE, ZOOMED), (PHONE,)], ids=["wide and zoomed", "phone"])
def test_everything_fits_and_has_no_violation_of_accessibility(
    browser: Browser, dashboard: Dashboard, pages: tuple[str, ...], sizes: tuple[dict[str, int], ...]
) -> None:
    """Who zooms in does so in a page that is there; a phone is a touch screen from the start, with the same colours."""
    colours = sizes[0] == WIDE
    for page in profile(browser, size=sizes[0]):
        page.goto(dashboard.url + "/login")
        assert violations(page, *sizes, colours=colours) == [], "/login"
        enter(page, dashboard, "admin")
        for path in pages:
            go(page, dashboard, path)
            settled(page)
            page.evaluate("[...document.querySelectorAll('details')].slice(0, 5).forEach(each => { each.open = true })")
            assert violations(page, *sizes, colours=colours) == [], path


def test_the_audit_is_done_by_keyboard_alone(page: Page, dashboard: Dashboard) -> None:
    enter(page, dashboard, "auditor", "/audit")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    for _ in range(60):
        if page.evaluate("document.activeElement.id") == "f-patient":
            break
        page.keyboard.press("Tab")
    page.keyboard.type("17")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{dashboard.url}/audit?patient=17#page")
    assert page.evaluate("document.activeElement.id") == "f-patient"


def test_going_back_shows_the_view_before(page: Page, dashboard: Dashboard) -> None:
    enter(page, dashboard, "auditor", "/audit?period=7d")
    page.locator("#older").click()
    page.wait_for_url("**after=*")
    page.get_by_role("link", name="Newest").wait_for()
    page.go_back()
    expect(page.get_by_role("link", name="Newest")).to_have_count(0)


def test_two_tabs_a_reload_and_a_deep_link_through_sign_in_show_the_same_view(page: Page, dashboard: Dashboard) -> None:
    view = f"{dashboard.url}/audit?period=7d&person=Dr+Holt"
    enter(page, dashboard, "auditor", "/audit?period=7d&person=Dr+Holt")
    expect(page).to_have_url(view)
    events = page.locator(".event .said").all_text_contents()
    page.reload()
    expect(page.locator(".event .said")).to_have_text(events)
    other = page.context.new_page()
    go(other, dashboard, "/audit?period=7d&person=Dr+Sato")
    other.get_by_role("link", name="Take away: person Dr Sato").click()
    expect(other).to_have_url(f"{dashboard.url}/audit?period=7d")
    expect(page).to_have_url(view)
    go(other, dashboard, "/account")
    other.get_by_role("button", name="Sign out", exact=True).click()
    other.get_by_label("Password").wait_for()
    page.get_by_role("link", name="last 30 days").click()
    page.get_by_label("Password").wait_for()  # the other tab's sign-out holds here too
    page.get_by_label("Name").fill("auditor")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{dashboard.url}/audit?period=30d&person=Dr+Holt")
    expect(page.locator(".event").first).to_be_visible()


def test_from_the_overview_to_a_signed_evidence_pack_of_what_was_vandalised(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    enter(page, dashboard, "auditor")
    page.get_by_role("link", name="Audit", exact=True).click()
    finding = page.locator("#findings a").filter(has_text="look vandalised").first
    finding.click()
    expect(page.locator(".event")).to_have_count(1)
    page.get_by_label("Title").fill("Vandalised notes")
    page.get_by_label("Notes of the reviewer").fill("She had been told to go the day before.")
    page.get_by_role("button", name="Make the evidence pack").click()
    page.get_by_role("link", name="Open “Vandalised notes”").click()
    for form in ("JSON Lines", "CSV", "CSV with ;"):
        saved = []
        for part in ("file", "signed manifest"):
            with page.expect_download() as download:
                page.get_by_role("link", name=f"{form}: {part}", exact=True).click()
            saved.append(tmp_path / f"{form} {part}")
            download.value.save_as(saved[-1])
        assert dashboard.cli("verify", *map(str, saved)).returncode == 0
        saved[0].write_bytes(saved[0].read_bytes().replace(b"pwned", b"wiped"))
        assert dashboard.cli("verify", *map(str, saved)).returncode == 1


def test_a_filter_that_cannot_be_is_named(page: Page, dashboard: Dashboard) -> None:
    enter(page, dashboard, "auditor", "/audit?address=ward")
    expect(page.locator("#page")).to_contain_text("or a network such as 10.1.2.0/24; found 'ward'")
    go(page, dashboard, "/audit?after=made-up")
    expect(page.locator("#page")).to_contain_text("after: expected")


def test_a_lost_connection_is_said(page: Page, dashboard: Dashboard) -> None:
    enter(page, dashboard, "auditor", "/audit")
    page.context.set_offline(True)
    page.get_by_role("button", name="Show").click()
    page.locator("#f-patient").fill("3")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#connection")).to_contain_text("No connection to the dashboard")
    page.context.set_offline(False)


def test_print_leaves_out_what_only_a_screen_needs(page: Page, dashboard: Dashboard) -> None:
    enter(page, dashboard, "auditor", "/audit")
    page.emulate_media(media="print")
    expect(page.get_by_role("button", name="Show")).to_be_hidden()
    expect(page.locator(".event").first).to_be_visible()
    expect(page.locator(".event summary").first).to_be_hidden()
    expect(page.locator("#facet-patient summary")).to_be_visible()  # what is folded is not on paper, but that it is
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    expect(page.locator("#printed")).to_have_text(re.compile(r"^Printed by auditor, .* UTC · http"))
    page.set_viewport_size(WIDE)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_the_first_event_is_within_the_first_screen(
    browser: Browser, dashboard: Dashboard, size: dict[str, int]
) -> None:
    for page in profile(browser, size=size):
        enter(page, dashboard, "auditor", "/audit?period=7d&person=Dr+Holt&outcome=worked&resource=patients")
        settled(page)
        expect(page.locator(".event .said").first).to_be_in_viewport(ratio=1)
        assert page.evaluate("window.scrollY") == 0


def test_all_patients_of_a_person_are_there_a_page_at_a_time(page: Page, dashboard: Dashboard) -> None:
    enter(page, dashboard, "auditor", "/audit/person?person=Dr+Holt&period=7d")
    number = int(page.locator("#patients h2").inner_text().removeprefix("Patients: "))
    assert number > 50, "or there is nothing to page"
    named = page.get_by_role("table", name="Patients and requests").locator("tbody a")
    shown, pages = named.all_inner_texts(), page.get_by_role("navigation", name="Pages of patients")
    expect(pages).to_contain_text(f"1 to 50 of {number}")
    for _ in range((number - 1) // 50):
        before = named.first.inner_text()
        pages.get_by_role("link", name="Fewer requests").click()
        expect(named.first).not_to_have_text(before)
        shown += named.all_inner_texts()
    expect(pages.get_by_role("link", name="Fewer requests")).to_have_count(0)
    assert len(shown) == len(set(shown)) == number
    pages.get_by_role("link", name="More requests").click()
    expect(pages.get_by_role("link", name="Fewer requests")).to_have_count(1)


def test_an_incident_draws_how_fast_its_budget_burns(page: Page, dashboard: Dashboard) -> None:
    """Over both windows, with the threshold, and the same as figures for who cannot see it."""
    enter(page, dashboard, "operator", "/alerts")
    figure = page.locator(".incident figure").first
    says = "Burn rate over 1 h and 5 min; it alerts where both exceed 14.4. "
    expect(figure.locator("figcaption")).to_contain_text(says)
    expect(figure.locator(".chart")).to_have_attribute("aria-label", re.compile(f"^{re.escape(says)}"))
    expect(figure.locator(".legendtext")).to_have_text(["over 1 h", "over 5 min", "threshold"])
    figure.get_by_text("Show the figures").click()
    expect(figure.get_by_role("table").locator("thead th")).to_have_text([re.compile("^time"), "1 h", "5 min"])
