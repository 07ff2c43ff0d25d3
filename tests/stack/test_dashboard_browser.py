"""Each page's main task, done by a real Chromium on a running stack: sidecar, upstream, dashboard."""

from __future__ import annotations

import csv
import io
import random
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import delete

from alerts.lifecycle import tables
from alerts.lifecycle.store import Alerts
from alerts.lifecycle.tables import open_alerts
from compose.demo_webhook import receiver
from dashboard.data import reviews
from dashboard.values import time_format
from sidecar.events.store import Filter
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.settings import Settings
from tests.support.dashboard import alarms, seed
from tests.support.dashboard.serving import (
    PASSWORD,
    PHONE,
    WIDE,
    ZOOMED,
    Dashboard,
    chromium,
    context,
    enter,
    go,
    settled,
    violations,
)
from tests.support.stack import Sidecar, free_port, until
from tests.support.upstream import HOLT, Upstream

pytestmark = [pytest.mark.chromium, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
RENEWED = 12_000
"""By so many milliseconds of its own clock each page has renewed itself."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        server.state.patients.update({17: {"id": 17, "name": "Rex"}, 18: {"id": 18, "name": "Mia"}})
        server.state.notes[5] = {"id": 5, "title": "Round", "body": "well", "patient_id": 17, "staff_id": 1}
        yield server


@pytest.fixture(scope="module")
def sidecar(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    data = tmp_path_factory.mktemp("browser") / "data"
    fast = {"upstream_timeout": "2s", "late_effect": "1s", "deadline": "700ms"}
    with Sidecar(upstream.url, data, workers="1", **fast) as running:
        for path in ("/", "/notes", "/patients", "/staffs/me", "/patients/17", "/notes?patient_id=17"):
            assert running.ask("GET", path, HOLT).status == 200
        for name in ("notes.list", "patients.list", "patients.read", "notes.read"):
            until(lambda name=name: running.plane("GET", f"/ready/{name}").status == 200, what=name)
        _yesterday(data)
        yield running


def _yesterday(data: Path) -> None:
    """What people did a day ago, as the sidecar would have recorded it."""
    store, dice = EmbeddedStore(data / "events.db"), random.Random(3)
    store.install()  # the sidecar does it on its first delivery, which may be later
    at = time.time_ns() - seed.DAY
    made = [
        seed.event(at + number * seed.SECOND, dice, kind=kind, user=user, patient=patient)
        for number, (kind, user, patient) in enumerate(
            [("patient", "Dr Sato", "17"), ("notes", "Nurse Abara", "17"), ("patient", "Dr Okafor", "18")]
        )
    ]
    store.append([event for event, _ in made], [body for _, body in made if body])
    store.close()


@pytest.fixture(scope="module")
def dashboard(sidecar: Sidecar) -> Iterator[Dashboard]:
    with Dashboard(sidecar.environ, sidecar.data.parent / "dashboard.log") as running:
        yield running


@pytest.fixture(scope="module")
def told(sidecar: Sidecar) -> Iterator[list[str]]:
    """What a receiver is told by an evaluator, HOSP having been away for 25 minutes."""
    store, now, said = EmbeddedStore(sidecar.data / "events.db"), time.time_ns(), list[str]()
    alarms.outage(store, now - 25 * alarms.MINUTE, now)
    store.close()
    log = sidecar.data.parent / "alerts.log"
    with (
        receiver(said.append) as url,
        alarms.Evaluator(sidecar.environ, log, alert_webhook=url, alert_every="1s") as on,
    ):
        on.fires()
        yield said


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    profile = context(browser)
    page = profile.new_page()
    refused: list[str] = []
    page.on(
        "console", lambda said: refused.append(said.text) if "script" in said.text and "violates" in said.text else None
    )
    page.on("pageerror", lambda error: refused.append(str(error)))
    yield page
    profile.close()
    assert refused == []


def test_an_auditor_finds_who_read_patient_17_yesterday_and_exports_it(page: Page, dashboard: Dashboard) -> None:
    enter(page, dashboard, "auditor", "/audit")
    found = page.locator(".event .said")
    page.get_by_role("link", name="yesterday").click()
    expect(found).to_have_count(3)  # what is typed before the page is there goes with the one before it
    page.get_by_label("Patient number").fill("17")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{dashboard.url}/audit?period=yesterday&patient=17")
    expect(found).to_have_count(2)
    expect(found.nth(0)).to_have_text("Nurse Abara looked at the notes of Patient 17")
    expect(found.nth(1)).to_have_text("Dr Sato looked at Patient 17")
    expect(page.locator("#audit-count")).to_contain_text("2 events")
    rows = _export(page, "Export as CSV")
    assert [row["sentence"] for row in rows] == [
        "Nurse Abara looked at the notes of Patient 17",
        "Dr Sato looked at Patient 17",
    ]
    page.locator("#permalink").click()
    expect(page.locator(".event")).to_have_count(2)
    assert "period=between" in page.url
    page.get_by_text("More filters").click()
    expect(page.locator("#f-start")).to_have_value(re.compile("T00:00$"))
    page.get_by_role("link", name="Take away: patient 17").click()
    expect(page.locator(".event")).to_have_count(3)
    page.locator("#facet-person").get_by_role("link", name="Dr Sato").click()
    expect(page.locator(".event")).to_have_count(1)
    page.locator(".when").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Dr Sato looked at Patient 17")
    page.get_by_role("button", name="Check it against the journal").click()
    expect(page.locator("#ev-proof")).to_contain_text("does not hold this event")
    go(page, dashboard, "/audit/looks")
    expect(page.locator("tbody tr").filter(has_text="patient 17").first).to_contain_text("auditor")


HELD = """
    const plain = window.fetch.bind(window);
    const held = new Map();
    const waiting = (options) => Array.from(held.keys()).find((output) =>
        options && String(options.body).startsWith('{"output":"..' + output));
    window.hold = (output) => held.set(output, []);
    window.release = (output) => { const all = held.get(output); held.delete(output); all.forEach((each) => each()); };
    window.fetch = (resource, options) => plain(resource, options).then((answer) => {
        const output = waiting(options);
        return output ? new Promise((done) => held.get(output).push(() => done(answer))) : answer;
    });
"""
"""What answers with such an output is not there, from `hold(output)` until `release(output)`."""


def test_what_is_typed_while_a_page_loads_stays(page: Page, dashboard: Dashboard) -> None:
    page.add_init_script(HELD)
    enter(page, dashboard, "auditor", "/audit")
    person, patient = page.get_by_label("Person"), page.get_by_label("Patient number")
    page.evaluate("hold('page.children')")
    page.get_by_role("link", name="yesterday").click()
    first = patient.element_handle()
    patient.press_sequentially("17")
    page.evaluate("release('page.children')")
    page.wait_for_function("first => !first.isConnected", arg=first)
    page.keyboard.type("0")  # focus and caret are where they were
    page.keyboard.press("ArrowLeft")
    expect(patient).to_have_value("170")
    person.fill("Dr Sato")
    patient.fill("17")
    page.get_by_role("button", name="Show").first.click()
    expect(page).to_have_url(f"{dashboard.url}/audit?period=yesterday&person=Dr+Sato&patient=17")
    expect(page.locator(".event")).to_have_count(1)
    page.get_by_role("link", name="Take away: patient 17").click()
    expect(page.locator(".event")).to_have_count(1)
    expect(patient).to_have_value("")  # what was sent is not typed any more
    expect(person).to_have_value("Dr Sato")
    page.get_by_label("Title").fill("Patient 17 yesterday")
    page.get_by_text("More filters").click()
    group = page.locator("#f-outcome").element_handle()
    page.evaluate("hold('page.children')")
    page.get_by_role("link", name="last 7 days").click()
    page.get_by_label("worked", exact=True).check()
    page.evaluate("release('page.children')")
    page.wait_for_function("group => !group.isConnected", arg=group)
    expect(page).to_have_url(f"{dashboard.url}/audit?period=7d&person=Dr+Sato")
    expect(page.get_by_label("worked", exact=True)).to_be_checked()
    expect(page.get_by_label("Title")).to_have_value("Patient 17 yesterday")
    page.get_by_role("button", name="Show").last.click()  # it is what is asked for, too
    expect(page).to_have_url(f"{dashboard.url}/audit?period=7d&person=Dr+Sato&outcome=worked")


def test_show_is_not_lost_where_the_page_before_comes_in_between(page: Page, dashboard: Dashboard) -> None:
    """It is pressed while that page loads, and answered after it was drawn anew."""
    page.add_init_script(HELD)
    enter(page, dashboard, "auditor", "/audit")
    first = page.locator("#f-patient").element_handle()
    page.evaluate("hold('page.children'); hold('url.search')")
    page.get_by_role("link", name="yesterday").click()
    expect(page).to_have_url(f"{dashboard.url}/audit?period=yesterday")
    page.get_by_label("Person").fill("Dr Sato")
    page.keyboard.press("Enter")
    page.evaluate("release('page.children')")
    page.wait_for_function("first => !first.isConnected", arg=first)
    page.evaluate("release('url.search')")
    expect(page).to_have_url(f"{dashboard.url}/audit?period=yesterday&person=Dr+Sato")
    expect(page.locator(".event")).to_have_count(1)
    expect(page.get_by_label("Person")).to_have_value("Dr Sato")


def _export(page: Page, button: str) -> list[dict[str, str]]:
    page.get_by_role("button", name=button).click()
    file = page.get_by_role("link", name="The file").first
    expect(file, page.locator("#exports").inner_text()).to_be_visible(timeout=60_000)
    with page.expect_download() as download:
        file.click()
    text = Path(download.value.path()).read_text("utf-8-sig")
    with page.expect_download() as signed:
        page.get_by_role("link", name="its signed manifest").first.click()
    assert '"signature"' in Path(signed.value.path()).read_text()
    return list(csv.DictReader(io.StringIO(text)))


def test_a_person_is_found_by_part_of_a_name_and_record_and_event_stay(page: Page, dashboard: Dashboard) -> None:
    enter(page, dashboard, "auditor", "/audit?period=7d&record=17&resource=patients")
    page.get_by_label("Person").fill("sato; nobody at all")
    page.keyboard.press("Enter")
    expect(page.locator(".event")).to_have_count(1)
    assert "record=17" in page.url
    assert "Dr+Sato%0Anobody+at+all" in page.url
    go(page, dashboard, "/audit?person=Dr+Nobody")
    expect(page.locator("#f-wrong")).to_contain_text("Nobody is called Dr Nobody")
    go(page, dashboard, "/audit?period=7d&address=10.20.0.0/16&person=Dr+Sato%0ANurse+Abara")
    for said in page.locator(".event .quiet").all_text_contents():
        assert "from 10.20." in said


def test_everyone_who_looked_at_a_patient_is_on_the_patients_page(page: Page, dashboard: Dashboard) -> None:
    enter(page, dashboard, "auditor", "/audit/patient?patient=17&period=7d")
    people = page.get_by_role("table", name="Everyone at Patient 17")
    expect(people.get_by_role("row")).to_have_count(4)
    expect(people).to_contain_text("Dr Sato")
    people.get_by_role("link", name="Dr Sato").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Dr Sato")


def test_who_may_only_disclose_makes_a_patients_access_log_and_sees_nothing_else(
    page: Page, dashboard: Dashboard
) -> None:
    made = dashboard.cli("user", "add", "records", "--role", "disclosure", "--password-stdin", said=PASSWORD)
    assert made.returncode == 0, made.stderr
    enter(page, dashboard, "records")
    expect(page).to_have_url(f"{dashboard.url}/disclosure")
    expect(page.locator("#menu")).to_have_text("Access log")
    signed_in = dashboard.sign_in("records")
    for path in ("/audit", "/audit/patient?patient=17", "/audit/looks", "/endpoints", "/audit/evidence/file?id=1"):
        assert dashboard.ask("GET", path, signed_in).status == 403, path
    page.get_by_label("Patient number").fill("17")
    page.get_by_role("button", name="Make the access log").click()
    expect(page.locator("#dl-said")).to_contain_text("reason: expected 3 to 500 characters")
    page.get_by_label("Reason").fill("the owner asked on Monday")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Open the access log of patient 17").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Who accessed Patient 17")
    accesses = page.get_by_role("table", name="Accesses")
    expect(accesses).to_contain_text("Dr Sato")
    expect(accesses).to_contain_text("looked at the notes of Patient 17")
    with page.expect_download() as download:
        page.get_by_role("link", name="JSON Lines: file").click()
    assert '"who":"Nurse Abara"' in Path(download.value.path()).read_text()
    page.goto(f"{dashboard.url}/login")
    other = page.context.browser.new_context() if page.context.browser else None
    assert other is not None
    auditor = other.new_page()
    enter(auditor, dashboard, "auditor", "/audit/looks?user=records")
    looks = auditor.locator("tbody tr")
    expect(looks.filter(has_text="the owner asked on Monday").filter(has_text="disclosure").first).to_be_visible()
    expect(looks.filter(has_text="access log").filter(has_text="of patient 17").first).to_be_visible()
    other.close()


def test_a_week_is_reviewed_and_signed_off(page: Page, dashboard: Dashboard, sidecar: Sidecar) -> None:
    zone = ZoneInfo("UTC")
    week = reviews.weeks(time.time_ns(), zone, 1)[0]
    store, dice, (since, _) = EmbeddedStore(sidecar.data / "events.db"), random.Random(5), reviews.span(week, zone)
    made = [
        seed.event(since + (n + 9) * seed.HOUR, dice, kind="create", user="Nurse Abara", patient=str(n), status=201,
                   outcome="success", body={"title": "pwned", "body": "pwned", "patient_id": n})
        for n in range(3)
    ]  # fmt: skip
    store.append([event for event, _ in made], [body for _, body in made if body])
    store.close()
    enter(page, dashboard, "auditor", "/audit")
    page.get_by_role("link", name="Weekly review").click()
    found = page.get_by_role("region", name="Vandalised notes: 3 notes of Nurse Abara look vandalised")
    found.get_by_role("button", name="Sign off").click()
    expect(page.locator("#rv-said")).to_contain_text("choose what came of it")
    found.get_by_label("Followed up with the person").check()
    found.get_by_role("textbox").fill("spoke to her on Tuesday")
    page.keyboard.press("Enter")
    expect(found).to_contain_text("Followed up with the person. Signed off by auditor on")
    while page.get_by_role("button", name="Sign off: ").count():
        item = page.get_by_role("region").filter(has=page.get_by_role("button", name="Sign off: ")).first
        left = page.get_by_role("button", name="Sign off: ").count()
        item.get_by_label("Explained: it was rightful").check()
        item.get_by_role("textbox").fill("looked into")
        item.get_by_role("button", name="Sign off").click()
        expect(page.get_by_role("button", name="Sign off: ")).to_have_count(left - 1)
    page.get_by_role("button", name="Sign off the week").click()
    expect(page.locator("#rv-items")).to_contain_text("Reviewed. Signed off by auditor")
    go(page, dashboard, "/audit?period=30d&text=PWNED")
    page.get_by_role("link", name="3 writes say “PWNED” in title or body").click()
    expect(page.locator(".event")).to_have_count(3)
    go(page, dashboard, f"/audit/review?week={week}")
    expect(page.get_by_role("link", name=f"week of {time_format.day_of_year(week)} ✓")).to_be_visible()


def _seen(sidecar: Sidecar, field: str, value: str) -> int:
    store = EmbeddedStore(sidecar.data / "events.db")
    found = store.search(Filter(terms={field: [value]}), 1).events
    store.close()
    return len(found)


def test_break_glass_is_opened_used_and_ended(page: Page, dashboard: Dashboard, sidecar: Sidecar) -> None:
    enter(page, dashboard, "operator", "/audit/break-glass")
    page.get_by_label("Person").fill("Dr Holt")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("nobody else at night")
    dialog.get_by_label("For how many hours").fill("100")
    dialog.get_by_role("button", name="Break-glass").click()
    expect(dialog).to_contain_text("hours: expected a number from 0.1 to 72; found '100'")
    dialog.get_by_label("For how many hours").fill("2")
    dialog.get_by_role("button", name="Break-glass").click()
    expect(dialog).to_contain_text("as expected. Open until")
    dialog.get_by_role("button", name="Close").click()
    time.sleep(1)
    assert sidecar.ask("GET", "/patients/17", HOLT).status == 200
    ident = sidecar.plane("GET", "/break-glass").json()["grants"][0]["id"]
    until(lambda: _seen(sidecar, "understudy.break_glass", ident), 30, "the access is in the event store")
    page.reload()
    grants = page.get_by_role("table", name="Break-glass")
    expect(grants.get_by_role("row").nth(1)).to_contain_text("operator (dashboard)")
    grants.get_by_role("link", name="1", exact=True).click()
    expect(page.locator(".event")).to_have_count(1)
    expect(page.locator(".event .tag")).to_have_text("break-glass")
    go(page, dashboard, "/audit/break-glass")
    grants.get_by_role("button", name="End break-glass: Dr Holt").click()
    dialog.get_by_label("Reason").fill("the others came")
    dialog.get_by_role("button", name="End break-glass").click()
    expect(dialog).to_contain_text("as expected. It is over: policies hold for them.")
    dialog.get_by_role("button", name="Close").click()
    until(lambda: _seen(sidecar, "event.action", "break_glass_end"), 30, "its end is in the event store")
    go(page, dashboard, "/audit?period=1h&person=operator+(dashboard)")
    expect(page.locator(".event").filter(has_text="ended break-glass for Dr Holt").first).to_be_visible()


def test_an_operator_takes_an_endpoint_over_and_back(page: Page, dashboard: Dashboard, sidecar: Sidecar) -> None:
    enter(page, dashboard, "operator", "/endpoints")
    card = page.locator("#e-patients-read")
    card.get_by_role("button", name="Take over: GET /patients/{id}").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Reason")).to_be_focused()
    dialog.get_by_role("button", name="Take over").click()
    expect(dialog).to_contain_text("reason: expected 3 to 500 characters")
    dialog.get_by_label("Reason").fill("HOSP is slow")
    dialog.get_by_role("button", name="Take over").click()
    expect(dialog).to_contain_text("BeforeHOSP answers; its circuit is healthy; the standby is ready.")
    expect(dialog).to_contain_text("Expected afterThe standby answers for it until it is handed back")
    expect(dialog).to_contain_text("as expected. The standby answers; its circuit is healthy")
    expect(dialog.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(card).to_contain_text("the standby; taken over (by operator (dashboard): HOSP is slow)")
    until(lambda: "hit" in sidecar.ask("GET", "/patients/17", HOLT)["Cache-Status"], 20)
    card.get_by_role("button", name="Hand back: GET /patients/{id}").click()
    page.get_by_role("dialog").get_by_label("Reason").fill("it is well again")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("as expected. HOSP answers; its circuit is healthy")
    until(lambda: "fwd" in sidecar.ask("GET", "/patients/17", HOLT)["Cache-Status"], 20)
    go(page, dashboard, "/audit/looks")
    expect(page.locator("tbody tr").filter(has_text="HOSP is slow").first).to_contain_text("takeover")


def _conflict(sidecar: Sidecar, upstream: Upstream, mine: dict[str, str], theirs: dict[str, str]) -> None:
    """A change of the note 5 that meets another one, made at HOSP while it was away."""
    upstream.state.notes[5].update(title="Round", body="well")
    assert sidecar.ask("GET", "/notes/5", HOLT).json()["title"] == "Round"
    upstream.stop()
    assert sidecar.ask("PATCH", "/notes/5", HOLT, mine).status == 200
    upstream.state.notes[5].update(theirs)
    upstream.start()
    until(lambda: sidecar.plane("GET", "/outbox").json()["parked"], 20, "parked")


def test_a_parked_write_is_given_up_for_theirs(
    page: Page, dashboard: Dashboard, sidecar: Sidecar, upstream: Upstream
) -> None:
    _conflict(sidecar, upstream, {"title": "<b>Mine</b>"}, {"title": "Theirs"})
    enter(page, dashboard, "operator", "/standby")
    parked = page.locator(".parked")
    expect(parked).to_contain_text("wanted to change the note 5")
    row = parked.get_by_role("row", name="title")
    expect(row).to_have_text("titleRound<b>Mine</b>Theirs")
    parked.get_by_role("button", name="Keep theirs").click()
    page.get_by_role("dialog").get_by_label("Reason").fill("their change is newer")
    page.get_by_role("dialog").get_by_role("button", name="Keep theirs").click()
    expect(page.get_by_role("dialog")).to_contain_text("as expected. It is discarded")
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(page.locator("#parked")).to_contain_text("No write is parked")
    assert sidecar.plane("GET", "/outbox").json()["parked"] == []
    page.get_by_role("link", name="Discarded writes").click()
    expect(page.locator("#discarded")).to_contain_text("by operator (dashboard): their change is newer")
    expect(page.locator("#discarded")).to_contain_text("<b>Mine</b>")


def test_a_conflict_is_merged_by_field_and_true_at_the_upstream_after(
    page: Page, dashboard: Dashboard, sidecar: Sidecar, upstream: Upstream
) -> None:
    _conflict(sidecar, upstream, {"title": "Mine", "body": "worse"}, {"title": "Theirs"})
    enter(page, dashboard, "operator", "/standby")
    parked = page.locator(".parked")
    expect(parked.get_by_role("row", name="body")).to_have_text("bodywellworsewell")
    parked.get_by_role("button", name="Merge").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Merge: note 5, by Dr Holt")
    expect(dialog).to_contain_text("At HOSP now: body: well; title: Theirs.")
    expect(dialog.get_by_label("body")).to_be_checked()
    expect(dialog.get_by_label("title")).not_to_be_checked()  # both changed it: theirs, unless a person says otherwise
    dialog.get_by_label("Reason").fill("their title, our finding")
    dialog.get_by_role("button", name="Merge").click()
    expect(dialog).to_contain_text("as expected. HOSP has it.")
    note = upstream.state.notes[5]
    assert (note["title"], note["body"]) == ("Theirs", "worse")
    assert sidecar.ask("GET", "/notes/5", HOLT).json()["body"] == "worse"


def test_pages_that_need_a_sidecar_have_no_violation_of_accessibility(
    page: Page, dashboard: Dashboard, sidecar: Sidecar, upstream: Upstream
) -> None:
    if not sidecar.plane("GET", "/outbox").json()["parked"]:
        _conflict(sidecar, upstream, {"title": "Mine", "body": "worse"}, {"title": "Theirs"})
    enter(page, dashboard, "operator")
    for path in (
        "/standby", "/standby/evidence", "/standby/replacement", "/standby/discarded", "/endpoints",
        "/audit/break-glass",
    ):  # fmt: skip
        go(page, dashboard, path)
        settled(page)
        assert violations(page, WIDE, ZOOMED) == [], path
    go(page, dashboard, "/standby")
    page.get_by_role("button", name="Merge").click()
    page.get_by_role("dialog").wait_for()
    assert violations(page, WIDE, ZOOMED) == []
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Keep theirs").click()
    page.get_by_role("dialog").get_by_label("Reason").fill("test")
    page.get_by_role("dialog").get_by_role("button", name="Keep theirs").click()
    page.get_by_role("button", name="Close", exact=True).wait_for()
    assert violations(page, WIDE, ZOOMED) == []


def test_ours_is_put_unless_somebody_changed_it_again(
    page: Page, dashboard: Dashboard, sidecar: Sidecar, upstream: Upstream
) -> None:
    _conflict(sidecar, upstream, {"title": "Mine"}, {"title": "Theirs"})
    enter(page, dashboard, "operator", "/standby")
    upstream.state.notes[5]["title"] = "Theirs, later"
    dialog = page.get_by_role("dialog")
    for said in ("NOT as expected. Someone changed this record at HOSP meanwhile, again", "as expected. HOSP has it"):
        page.locator(".parked").get_by_role("button", name="Put ours").click()
        dialog.get_by_label("Reason").fill("the doctor says so")
        dialog.get_by_role("button", name="Put ours").click()
        expect(dialog).to_contain_text(said)
        page.reload()
        page.locator("#parked").wait_for()
    assert upstream.state.notes[5]["title"] == "Mine"
    expect(page.locator("#parked")).to_contain_text("No write is parked")


def test_a_share_of_callers_is_routed_with_a_reason(page: Page, dashboard: Dashboard, sidecar: Sidecar) -> None:
    enter(page, dashboard, "operator", "/endpoints")
    card = page.locator("#e-patients-read")
    card.get_by_role("button", name="Route a share: GET /patients/{id}").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("a first share")
    dialog.get_by_label("Share of callers, in percent").fill("125")
    dialog.get_by_role("button", name="Route a share").click()
    expect(dialog).to_contain_text("percent: expected a number from 0 to 100; found '125'")
    dialog.get_by_label("Share of callers, in percent").fill("25")
    dialog.get_by_role("button", name="Route a share").click()
    expect(dialog).to_contain_text("as expected. The standby answers 25% of callers, HOSP the others")
    dialog.get_by_role("button", name="Close").click()
    expect(card).to_contain_text("25% of callers go to the standby")
    assert sidecar.plane("POST", "/endpoints/patients.read/handback", {"reason": "test"}).status == 200
    go(page, dashboard, "/audit/looks")
    lines = page.locator("tbody tr").filter(has_text="a first share")
    expect(lines.filter(has_text="begun")).to_have_count(2)
    expect(lines.filter(has_text="not done: percent")).to_have_count(1)
    expect(lines.filter(has_text="done")).to_have_count(2)


def test_on_a_phone_from_the_link_to_acknowledged_in_two_taps_and_to_takeover_in_four(
    browser: Browser, dashboard: Dashboard, sidecar: Sidecar
) -> None:
    alerts_engine = open_alerts(Settings(data=sidecar.data))
    burns = alarms.burning("users", "page")
    burns = replace(burns, labels={**burns.labels, "endpoint": "GET /patients/{id}"})
    kept = Alerts(alerts_engine, time.time_ns)
    kept.apply([burns], unknown=frozenset(), repeat=4 * 3600 * seed.SECOND, enqueue=lambda *_: None)
    profile = context(browser, size=PHONE)
    page = profile.new_page()
    enter(page, dashboard, "operator")
    go(page, dashboard, "/alerts")  # the first tap: the message's link
    incident = page.locator(".incident")
    expect(incident).to_contain_text("Users cannot reliably open patients")
    for button in ("Acknowledge", "Take over"):
        expect(incident.get_by_role("button", name=button).first).to_be_in_viewport()
    incident.get_by_role("button", name="Acknowledge").first.tap()
    expect(page.locator("#said")).to_contain_text("acknowledged: no repeats until they resolve")
    incident.get_by_role("button", name="Take over: GET /patients/{id}").tap()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Reason")).to_be_focused()
    page.keyboard.type("HOSP fails")
    dialog.get_by_role("button", name="Take over").tap()
    expect(dialog).to_contain_text("as expected. The standby answers")
    profile.close()
    with alerts_engine.begin() as connection:  # an evaluator would keep it for a while
        for table in (tables.alerts, tables.history, tables.deliveries, tables.messages):
            connection.execute(delete(table))
    alerts_engine.dispose()
    assert sidecar.plane("POST", "/endpoints/patients.read/handback", {"reason": "test"}).status == 200


def test_without_the_event_store_the_overview_tells_what_else_is_known(
    page: Page, dashboard: Dashboard, sidecar: Sidecar
) -> None:
    away = {**dashboard.environ, "UNDERSTUDY_ELASTICSEARCH": f"http://127.0.0.1:{free_port()}"}
    with Dashboard(away, sidecar.data.parent / "away.log", ()) as blind:
        enter(page, blind, "operator")
        expect(page.locator("#page .notice").first).to_contain_text("Unknown: the event store does not answer.")
        expect(page.locator("#page .notice").first).to_contain_text("The sidecar does.")
        expect(page.locator("#timeline")).to_contain_text("the standby took over")
        go(page, blind, "/endpoints")
        expect(page.locator("#page")).to_contain_text("The event store does not answer")


def test_an_operator_acknowledges_and_silences_an_alert(page: Page, dashboard: Dashboard, told: list[str]) -> None:
    called = "Screenings are answered successfully, POST /patients/{id}/screen: what users get"
    enter(page, dashboard, "operator", "/alerts")
    incident = page.locator(".incident").filter(has_text=called)
    expect(incident).to_contain_text("Users cannot reliably have images screened")
    expect(incident).to_contain_text("only HOSP can answer this")
    incident.get_by_text("alerts of this incident").click()
    alert = page.locator(".alert").filter(has_text=called).filter(has=page.locator(".tag.page"))
    expect(alert).to_contain_text("firing since")
    alert.get_by_role("button", name="Acknowledge with a reason").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"Acknowledge with a reason: page: {called}")
    dialog.get_by_label("Reason").fill("<b>vendor</b> is on the telephone")
    dialog.get_by_role("button", name="Acknowledge").click()
    expect(dialog).to_contain_text("as expected. Acknowledged by operator (dashboard)")
    dialog.get_by_role("button", name="Close").click()
    expect(alert).to_contain_text("Acknowledged by operator (dashboard): <b>vendor</b> is on the telephone")
    alert.get_by_role("button", name="Silence").click()
    dialog.get_by_label("Reason").fill("until they are back")
    for wrong, why in (("yesterday", "until: expected 30m, 4h"), ("90d", "an end within the next 30 days")):
        dialog.get_by_label("Until when").fill(wrong)
        dialog.get_by_role("button", name="Silence").click()
        expect(dialog).to_contain_text(why)
    dialog.get_by_label("Until when").fill("2h")
    dialog.get_by_role("button", name="Silence").click()
    expect(dialog).to_contain_text("as expected. Silent until")
    dialog.get_by_role("button", name="Close").click()
    expect(alert).to_contain_text("by operator (dashboard): until they are back")
    alert.get_by_role("button", name="End the silence").click()
    dialog.get_by_label("Reason").fill("it is over")
    dialog.get_by_role("button", name="End the silence").click()
    expect(dialog).to_contain_text("as expected. ")
    dialog.get_by_role("button", name="Close").click()
    history = page.get_by_role("table", name="History of alerts", exact=True)
    expect(history).to_contain_text("by operator (dashboard): <b>vendor</b> is on the telephone")
    expect(page.get_by_role("table", name="Messages and what became of them")).to_contain_text("delivered")
    assert any(line.startswith("ALERT firing") and " page " in line for line in told)  # one message for the outage
    go(page, dashboard, "/audit/looks")
    lines = page.locator("tbody tr").filter(has_text="vendor")
    expect(lines.filter(has_text="begun")).to_have_count(1)
    expect(lines.filter(has_text=called)).to_have_count(2)


def test_an_incident_is_taken_on_a_phone_in_one_tap(browser: Browser, dashboard: Dashboard, told: list[str]) -> None:
    profile = context(browser, size=PHONE)
    page = profile.new_page()
    enter(page, dashboard, "operator", "/alerts")
    incident = page.locator(".incident").first
    incident.get_by_role("button", name="Acknowledge").first.click()
    expect(page.locator("#said")).to_contain_text("alerts acknowledged: no repeats until they resolve")
    expect(incident).to_contain_text("operator (dashboard)")
    expect(incident.get_by_role("button", name="Acknowledge", exact=False).first).not_to_be_visible()
    expect(page.locator("#menu")).to_be_in_viewport()
    page.get_by_role("button", name="Close this message").click()
    expect(page.locator("#said")).to_be_empty()
    profile.close()


def test_the_rules_are_replayed_over_what_was_recorded(page: Page, dashboard: Dashboard, told: list[str]) -> None:
    enter(page, dashboard, "operator", "/alerts")
    page.locator("#backtest").get_by_label("last 24 hours").check()
    page.get_by_role("button", name="Replay").click(timeout=120_000)
    expect(page.locator("#b-found")).to_contain_text("would have fired", timeout=60_000)
    found = page.get_by_role("table", name="Alerts that would have fired, by incident")
    expect(found).to_contain_text("POST /patients/{id}/screen")
    expect(found).to_contain_text("still holds")


def test_the_overview_keeps_two_views_apart(page: Page, dashboard: Dashboard, told: list[str]) -> None:
    enter(page, dashboard, "auditor", "/?period=1h")
    tiles = page.locator(".versus .tile")
    hosp, users = (float(str(tiles.nth(n).locator("dd").first.text_content()).rstrip("%")) for n in (0, 1))
    assert hosp < users < 100
    objective = page.locator(".objective").filter(has_text="Requests are answered successfully")
    expect(objective).to_contain_text("promised: 99% over 30 d")
    rates = page.get_by_role("table", name="Burn rates against their thresholds: Requests are answered successfully")
    expect(rates.get_by_role("row")).to_have_count(5)
    expect(rates).to_contain_text("14.4 (page)")
    expect(objective.locator(".js-plotly-plot")).to_be_visible()
    expect(page.locator("#timeline")).to_contain_text("Screenings are answered successfully")


def test_promotion_shows_its_checklist_and_is_refused_with_the_reason(page: Page, dashboard: Dashboard) -> None:
    enter(page, dashboard, "operator", "/standby")
    hospitals = page.locator(".resource", has=page.get_by_role("heading", name="hospitals"))
    hospitals.get_by_text("Checklist for promotion").click()
    expect(hospitals).to_contain_text("not all hospitals are known")
    hospitals.get_by_role("button", name="Promote").click()
    page.get_by_role("dialog").get_by_label("Reason").fill("trying")
    page.get_by_role("dialog").get_by_role("button", name="Promote").click()
    expect(page.get_by_role("dialog")).to_contain_text("hospitals is not fit to be promoted")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_page_of_the_replacement_says_what_is_proven_what_is_missing_and_what_comes_next(
    page: Page, dashboard: Dashboard, sidecar: Sidecar
) -> None:
    page.clock.install()
    enter(page, dashboard, "operator", "/standby")
    page.get_by_role("link", name="Replacing HOSP").click()
    expect(page.locator("h1")).to_have_text("Replacing HOSP")
    hospitals = page.locator("#r-hospitals")
    expect(hospitals).to_contain_text("Not all hospitals are known")
    expect(hospitals.get_by_role("button", name="Fill the copy now")).to_be_visible()
    expect(page.locator("#r-notes")).to_contain_text("derivations are proven")
    expect(page.locator("#stays")).to_contain_text("POST /patients/{id}/screen")
    assert sidecar.plane("POST", "/resources/hospitals/promote", {"reason": "test", "force": True}).status == 200
    page.clock.fast_forward(RENEWED)
    expect(hospitals).to_contain_text("the standby owns it")
    hospitals.get_by_role("button", name="Demote: hospitals").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("it was a trial")
    dialog.get_by_role("button", name="Demote").click()
    expect(dialog).to_contain_text("as expected. HOSP owns it; 0 writes wait.")


def test_live_updates_keep_the_scroll_the_selection_and_what_is_open(
    page: Page, dashboard: Dashboard, sidecar: Sidecar
) -> None:
    enter(page, dashboard, "operator", "/endpoints")
    page.set_viewport_size({"width": 1280, "height": 400})
    idle = page.locator("#idle details")
    idle.locator("summary").click()
    page.evaluate("window.scrollTo(0, 300)")
    clock = page.locator(".asof")
    before = str(clock.text_content())
    expect(clock).not_to_have_text(before, timeout=12_000)
    assert page.evaluate("window.scrollY") == 300
    assert idle.get_attribute("open") is not None
    page.evaluate("getSelection().selectAllChildren(document.querySelector('#e-patients-read h2'))")
    expect(page.locator("#connection")).to_have_text("Not renewed while text is selected.")
    for _ in range(2):
        assert sidecar.ask("GET", "/patients/17", HOLT).status == 200
    page.wait_for_timeout(6000)
    assert page.evaluate("getSelection().toString()") == "GET /patients/{id}"
    before = str(clock.text_content())
    page.evaluate("getSelection().removeAllRanges()")
    expect(clock).not_to_have_text(before, timeout=12_000)


def test_a_press_is_not_lost_while_its_page_renews_itself(page: Page, dashboard: Dashboard, sidecar: Sidecar) -> None:
    page.add_init_script("""
        const plain = window.fetch.bind(window);
        window.fetch = (resource, options) => plain(resource, options).then((answer) =>
            options && (options.body || "").includes('"changedPropIds":["asked.data"]')
                ? new Promise((done) => setTimeout(() => done(answer), 9000)) : answer);
    """)
    enter(page, dashboard, "operator", "/endpoints")
    card = page.locator("#e-patients-read")
    card.get_by_role("button", name="Take over: GET /patients/{id}").click()
    assert sidecar.ask("GET", "/patients/17", HOLT).status == 200  # so that the card is drawn anew
    expect(page.get_by_role("dialog")).to_contain_text("Take over: GET /patients/{id}", timeout=30_000)


def pressed_dialogs(page: Page) -> list[str]:
    """Where the page asks for a dialog, from now on."""
    asked: list[str] = []
    page.on("request", lambda sent: asked.append(sent.url) if '["asked.data"]' in (sent.post_data or "") else None)
    return asked


def push_down(page: Page) -> None:
    """What stands in the page moves, as where more is said above it than a moment ago."""
    page.evaluate("document.querySelector('#page').style.paddingTop = '400px'")


@pytest.mark.parametrize("moves", [False, True], ids=["in its place", "further down"])
def test_a_button_that_is_drawn_anew_while_it_is_held_down_is_pressed_once(
    page: Page, dashboard: Dashboard, sidecar: Sidecar, moves: bool
) -> None:
    asked = pressed_dialogs(page)
    page.clock.install()
    enter(page, dashboard, "operator", "/endpoints")
    button = page.locator("#e-patients-read").get_by_role("button", name="Take over: GET /patients/{id}")
    button.scroll_into_view_if_needed()
    button.hover()
    first = button.element_handle()
    page.mouse.down()
    assert sidecar.ask("GET", "/patients/17", HOLT).status == 200  # so that the card is drawn anew
    page.clock.fast_forward(RENEWED)
    page.wait_for_function("first => !first.isConnected", arg=first, timeout=30_000)
    if moves:
        push_down(page)
    page.mouse.up()
    expect(page.get_by_role("dialog")).to_contain_text("Take over: GET /patients/{id}")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert len(asked) == 1


@pytest.mark.parametrize("dragged", [False, True], ids=["held", "dragged off"])
def test_a_button_that_moves_away_while_it_is_held_down_is_pressed_unless_the_pointer_left_it(
    page: Page, dashboard: Dashboard, dragged: bool
) -> None:
    asked = pressed_dialogs(page)
    enter(page, dashboard, "operator", "/standby")
    button = page.get_by_role("button", name="Fill the copy now")
    button.scroll_into_view_if_needed()
    button.hover()
    page.mouse.down()
    push_down(page)
    if dragged:
        page.mouse.move(5, 5)
    page.mouse.up()
    if dragged:
        button.click()  # for certain; had it been pressed before, it is asked for twice
    expect(page.get_by_role("dialog")).to_contain_text("Fill the copy now")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert len(asked) == 1


def test_an_admin_adds_a_user_who_can_sign_in(page: Page, dashboard: Dashboard, browser: Browser) -> None:
    enter(page, dashboard, "admin", "/users")
    page.locator("#u-name").fill("Ms Pell")
    page.locator("#u-password").fill("correct horse battery")
    page.keyboard.press("Enter")
    expect(page.locator("#u-said")).to_contain_text("Ms Pell may sign in as auditor")
    page.locator("#u-name").fill("ms pell")
    page.locator("#u-password").fill("correct horse battery")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#u-said")).to_contain_text("there is a user 'Ms Pell' already")
    profile = context(browser, size=PHONE)
    other = profile.new_page()
    other.clock.install()
    enter(other, dashboard, "Ms Pell")
    expect(other.locator("#menu")).not_to_contain_text("Endpoints")
    page.locator("#c-name").fill("Ms Pell")
    page.locator("#u-change").get_by_role("button", name="Sign out everywhere").click()
    expect(page.locator("#u-said")).to_contain_text("Ms Pell is signed out everywhere")
    other.clock.fast_forward(RENEWED)
    other.get_by_role("button", name="Sign in").wait_for()  # the page renews itself, and so finds out
    profile.close()
    page.locator("#c-name").fill("Ms Pell")
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.locator("#c-confirm")).to_contain_text("Remove Ms Pell?")
    page.get_by_role("button", name="Keep").click()
    expect(page.locator("#c-confirm")).to_be_hidden()
    expect(page.get_by_role("table", name="Users")).to_contain_text("Ms Pell")
    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_role("button", name="Yes, remove Ms Pell").click()
    expect(page.locator("#u-said")).to_contain_text("Ms Pell is removed")
    expect(page.get_by_role("table", name="Users")).not_to_contain_text("Ms Pell")


def test_without_the_sidecar_the_pages_say_so(page: Page, dashboard: Dashboard, sidecar: Sidecar) -> None:
    page.clock.install()
    enter(page, dashboard, "operator", "/standby")
    sidecar.stop()
    page.clock.fast_forward(RENEWED)
    expect(page.locator("#page")).to_contain_text("The sidecar does not answer", timeout=12_000)
    go(page, dashboard, "/")
    expect(page.locator("#page")).to_contain_text("The sidecar's control plane does not answer")
    go(page, dashboard, "/endpoints")
    expect(page.locator("#page")).to_contain_text("who answers is not known")
    go(page, dashboard, "/")
    expect(page.locator("#page .notice").first).to_contain_text("Unknown: the sidecar does not answer")
    go(page, dashboard, "/standby")
    expect(page.locator("#page")).to_contain_text("This is tried again by itself.")
    sidecar.start()
    page.clock.fast_forward(RENEWED)
    expect(page.locator("#parked")).to_be_visible(timeout=40_000)
