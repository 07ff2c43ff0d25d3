"""Pictures of every page from a running stack: light, dark, on a phone (390 px), at 200% zoom, and as it is printed.

`make screenshots`.
"""

from __future__ import annotations

import base64
import random
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page

from sidecar.events.store.sqlite import EmbeddedStore
from tests.support.dashboard import alarms, seed
from tests.support.dashboard.serving import PHONE, WIDE, ZOOMED, Dashboard, chromium, context, enter, go, settled
from tests.support.stack import Sidecar, until
from tests.support.upstream import HOLT, Upstream

PAGES = {
    "overview": "/?period=24h",
    "audit": "/audit?period=24h",
    "person": "/audit/person?person=Dr+Holt&period=7d",
    "patient": "/audit/patient?patient=17&period=7d",
    "looks": "/audit/looks",
    "endpoints": "/endpoints",
    "latency": "/endpoints/latency?text=patients.read",
    "standby": "/standby",
    "alerts": "/alerts",
    "evidence-of": "/standby/evidence",
    "replacement": "/standby/replacement",
    "discarded": "/standby/discarded",
    "review": "/audit/review",
    "break-glass": "/audit/break-glass",
    "disclosure": "/disclosure",
    "users": "/users",
    "account": "/account",
}
BEST = ("overview-light", "audit-dark", "event-light", "alerts-dark")
"""What README shows, of each its first screen, as WebP."""
README = Path("dashboard/screenshots")
CUT = ("audit", "person", "patient", "looks")
"""Pages of which one screen is enough."""
PRINTED = ("users", "account", "login")
"""Pages of which nobody needs to see how they are printed."""
LOOKS = {
    "light": ("light", WIDE),
    "dark": ("dark", WIDE),
    "phone": ("light", PHONE),
    "phone-dark": ("dark", PHONE),
    "zoom": ("light", ZOOMED),
}


def history(data: Path) -> None:
    """Two weeks of a believable hospital, with some things to find."""
    store, dice, now = EmbeddedStore(data / "events.db"), random.Random(7), time.time_ns()
    seed.fill(store, now - 16 * seed.DAY, now, 16_000)
    made = [
        seed.event(now - 3 * seed.HOUR + n * seed.SECOND, dice, kind="me", user=name, answer={"id": n + 1})
        for n, name in enumerate(seed.PEOPLE)
    ]
    for n in range(14):
        at = now - 2 * seed.HOUR + n * seed.SECOND
        made.append(seed.event(at, dice, kind="me", user="Dr Holt", status=401, address="203.0.113.66"))
    for n in range(6):
        body = {"title": "pwned", "body": "pwned by the night shift, see you", "patient_id": 17 + n, "staff_id": 1}
        made.append(seed.event(now - seed.HOUR + n * seed.SECOND, dice, kind="create", user="Nurse Abara",
                               patient=str(17 + n), body=body))  # fmt: skip
    for n in range(3):
        body = {"title": "pwned", "body": "pwned once before", "patient_id": 30 + n, "staff_id": 1}
        made.append(seed.event(now - 8 * seed.DAY + n * seed.SECOND, dice, kind="create", user="Nurse Abara",
                               patient=str(30 + n), body=body))  # fmt: skip
    made += [
        seed.event(
            now - 3 * seed.HOUR + n * seed.SECOND * 20, dice, kind="patient", user="Nurse Tan", patient=str(n + 1)
        )
        for n in range(312)
    ]
    store.append([event for event, _ in made], [body for _, body in made if body])
    began = now - 30 * seed.HOUR
    alarms.outage(store, began, began + 40 * alarms.MINUTE)
    alarms.outage(store, now - 12 * alarms.MINUTE, now - alarms.MINUTE)
    store.close()
    alarms.past(data, began + 3 * alarms.MINUTE)


def troubles(sidecar: Sidecar, upstream: Upstream) -> None:
    """An outage, a parked write, a takeover by hand and a mark."""
    for path in ("/", "/notes", "/patients", "/staffs/me", "/patients/17"):
        assert sidecar.ask("GET", path, HOLT).status == 200
    for name in ("notes.list", "patients.read", "notes.read"):
        until(lambda name=name: sidecar.plane("GET", f"/ready/{name}").status == 200, what=name)
    upstream.stop()
    change = {"title": "Round, corrected", "body": "limps on the left"}
    assert sidecar.ask("PATCH", "/notes/5", HOLT, change).status == 200
    upstream.state.notes[5]["title"] = "Round, by somebody else"
    upstream.start()
    until(lambda: sidecar.plane("GET", "/outbox").json()["parked"], 20, "parked")
    sidecar.plane("POST", "/break-glass", {"user": "Dr Holt", "hours": 2, "reason": "night, nobody else is here"})
    sidecar.plane("POST", "/marks", {"text": "release 2026.48 of the ward application"})
    sidecar.plane("POST", "/endpoints/patients.list/takeover", {"reason": "HOSP is slow"})


def shoot(page: Page, dashboard: Dashboard, out: Path, look: str) -> None:
    page.goto(dashboard.url + "/login")
    page.screenshot(path=out / f"login-{look}.png")
    enter(page, dashboard, "admin")
    for name, path in PAGES.items():
        go(page, dashboard, path)
        page.wait_for_load_state("networkidle")
        settled(page)
        if name == "alerts":
            page.get_by_role("button", name="Replay").click()
            page.locator("#b-found table").wait_for()
            page.evaluate("window.scrollTo(0, 0)")
        page.wait_for_timeout(400)
        page.screenshot(path=out / f"{name}-{look}.png", full_page=name not in CUT)
        if look == "light" and name not in PRINTED:
            _print(page, out / f"{name}-print.png", name not in CUT)
    go(page, dashboard, "/audit?period=24h&person=Dr+Holt&action=update")
    page.locator(".when").first.click()
    page.locator("#written").wait_for()
    page.screenshot(path=out / f"event-{look}.png", full_page=True)
    if look == "light":
        _print(page, out / "event-print.png", True)
    go(page, dashboard, "/audit?period=24h&person=Nurse+Abara&action=create")
    page.get_by_label("Title").fill("Vandalised notes of the night shift")
    page.get_by_label("Notes of the reviewer").fill("Six notes say “pwned”.\nThe nurse was on duty.")
    page.get_by_role("button", name="Make the evidence pack").click()
    page.screenshot(path=out / f"evidence-form-{look}.png", full_page=True)
    page.get_by_role("link", name="Open “Vandalised").click()
    page.locator("ol.evidence").wait_for()
    page.screenshot(path=out / f"evidence-{look}.png")
    if look == "light":
        _print(page, out / "evidence-print.png", False)
    go(page, dashboard, "/audit/evidence")
    page.screenshot(path=out / f"evidence-list-{look}.png")
    go(page, dashboard, "/standby")
    page.get_by_role("button", name="Merge").click()
    page.get_by_role("dialog").wait_for()
    page.screenshot(path=out / f"merge-{look}.png")
    go(page, dashboard, "/endpoints")
    page.get_by_role("button", name="Take over").first.click()
    page.get_by_role("dialog").wait_for()
    page.screenshot(path=out / f"dialog-{look}.png")
    page.get_by_label("Reason").fill("HOSP is slow")
    page.locator("#d-confirm").click()
    page.get_by_role("button", name="Close", exact=True).wait_for()
    page.screenshot(path=out / f"outcome-{look}.png")


def _print(page: Page, path: Path, whole: bool) -> None:
    page.emulate_media(media="print")
    page.screenshot(path=path, full_page=whole)
    page.emulate_media(media="screen")


def published(page: Page, out: Path) -> None:
    """The best pictures of `out` into README's folder, each a tenth as large as it was: the browser makes them so."""
    for name in BEST:
        if (out / f"{name}.png").exists():
            picture = base64.b64encode((out / f"{name}.png").read_bytes()).decode()
            made = page.evaluate(AS_WEBP, [f"data:image/png;base64,{picture}", WIDE["height"]])
            (README / f"{name}.webp").write_bytes(base64.b64decode(made.partition(",")[2]))


AS_WEBP = """([picture, height]) => new Promise((done) => {
    const image = new Image();
    image.onload = () => {
        const canvas = document.createElement('canvas');
        canvas.width = image.width;
        canvas.height = Math.min(image.height, height);
        canvas.getContext('2d').drawImage(image, 0, 0);
        done(canvas.toDataURL('image/webp', 0.8));
    };
    image.src = picture;
})"""


def main(out: Path, *looks: str) -> None:
    """`looks`: which of LOOKS; none: all."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, Upstream() as upstream:
        data = Path(home) / "data"
        upstream.state.patients.update({17: {"id": 17, "name": "Rex"}})
        upstream.state.notes[5] = {"id": 5, "title": "Round", "body": "well", "patient_id": 17, "staff_id": 1}
        store = EmbeddedStore(data / "events.db")
        store.install()
        store.close()
        history(data)
        fast = {"upstream_timeout": "2s", "late_effect": "1s", "deadline": "700ms", "timezone": "Europe/London"}
        with Sidecar(upstream.url, data, workers="1", **fast) as sidecar:
            troubles(sidecar, upstream)
            with (
                alarms.Evaluator(sidecar.environ, Path(home) / "alerts.log") as evaluator,
                Dashboard(sidecar.environ, Path(home) / "log") as dashboard,
                chromium() as browser,
            ):
                evaluator.fires()
                for look, (scheme, size) in LOOKS.items():
                    if looks and look not in looks:
                        continue
                    profile = context(browser, scheme, size)
                    page = profile.new_page()
                    page.set_default_timeout(300_000)
                    shoot(page, dashboard, out, look)
                    profile.close()
                published(browser.new_page(), out)
    print(f"{len(list(out.glob('*.png')))} pictures in {out}; README's in {README}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "data/screenshots"), *sys.argv[2:])
