"""A real dashboard for tests: `understudy dashboard` in processes of its own, and a real Chromium to look at it."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.support.stack import Got, free_port, until

PASSWORD = "correct horse battery"
ROLES = ("auditor", "operator", "admin")
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
ZOOMED = {"width": WIDE["width"] // 2, "height": WIDE["height"] // 2}
"""What a page of WIDE is laid out in at 200%."""


class Dashboard:
    """Served from the environment of a sidecar, or from settings alone. Users: one per role, named like it."""

    def __init__(self, environ: dict[str, str], log: Path, users: tuple[str, ...] = ROLES, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = {
            **environ,
            "UNDERSTUDY_DASHBOARD_LISTEN": f"127.0.0.1:{self.port}",
            **{f"UNDERSTUDY_{name.upper()}": value for name, value in settings.items()},
        }
        self.log = log
        for role in users:
            done = self.cli("user", "add", role, "--role", role, "--password-stdin", said=PASSWORD)
            assert done.returncode == 0, done.stderr
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "sidecar", "dashboard"]
            self.process = subprocess.Popen(
                command, env=self.environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        until(self._alive, 30, f"dashboard, see {self.log}")

    def _alive(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            return self.ask("GET", "/healthz").status == 200
        except OSError:
            return False

    def cli(self, *words: str, said: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sidecar", "dashboard", *words]
        return subprocess.run(
            command, env=self.environ, capture_output=True, text=True, input=f"{said}\n", timeout=60, check=False
        )

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, body: Any = None) -> Got:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Got(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()

    def sign_in(self, name: str, password: str = PASSWORD, **headers: str) -> dict[str, str]:
        """The headers with which a signed-in browser asks: its cookies, and the token of its scripts."""
        form = urllib.parse.urlencode({"name": name, "password": password})
        sent = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        answer = self.ask("POST", "/login", sent, form)
        assert answer.status == 303, answer.body[:500]
        cookies = dict(re.match(r"([^=]+)=([^;]*)", line).groups() for line in answer.all("Set-Cookie"))  # type: ignore[union-attr]
        joined = "; ".join(f"{key}={value}" for key, value in cookies.items())
        return {"Cookie": joined, "X-CSRFToken": cookies["_csrf_token"], "Content-Type": "application/json"}

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)

    def __enter__(self) -> Dashboard:
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()


def alone(data: Path, **settings: str) -> dict[str, str]:
    """An environment for a dashboard without a sidecar."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("UNDERSTUDY_")}
    control = f"127.0.0.1:{free_port()}"
    own = {"UNDERSTUDY_DATA": str(data), "UNDERSTUDY_CONTROL_LISTEN": control}
    return {**inherited, **own, **{f"UNDERSTUDY_{name.upper()}": value for name, value in settings.items()}}


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium; without it the test is skipped, unless UNDERSTUDY_TESTS=all wants every test run."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        if os.environ.get("UNDERSTUDY_TESTS") == "all":
            raise AssertionError("chromium is not on PATH")
        pytest.skip("chromium is not on PATH")
    expect.set_options(timeout=20_000)  # a busy machine is not a fault
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def context(browser: Browser, scheme: str = "light", size: dict[str, int] = WIDE) -> BrowserContext:
    """A fresh profile."""
    return browser.new_context(
        viewport=size,
        color_scheme=scheme,
        accept_downloads=True,
        locale="en-GB",
        timezone_id="Pacific/Auckland",
        has_touch=size == PHONE,
    )  # type: ignore[arg-type]


def enter(page: Page, dashboard: Dashboard, name: str, path: str = "/") -> None:
    """Signs in as a person does, and waits for the page."""
    page.goto(dashboard.url + path)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.locator("#page h1").wait_for()


_COLOUR = ("color-contrast", "link-in-text-block")
COLOURS: dict[str, Any] = {"runOnly": {"type": "rule", "values": _COLOUR}}
SHAPE: dict[str, Any] = {"rules": {name: {"enabled": False} for name in _COLOUR}}
"""What axe-core is to look at: a scheme changes nothing but colours, and a size none of them."""
ALIKE = 12
"""Of events and rows that follow one another so many are looked at: colours take time that grows with the square."""
SHOW: Final = """([display, count]) => document.querySelectorAll(':is(.event, tr)').forEach(each => {
    if ([...each.parentNode.children].indexOf(each) >= count) { each.style.display = display; }
})"""


def violations(page: Page, *sizes: dict[str, int], colours: bool = True) -> list[str]:
    """Every rule of accessibility that axe-core finds broken, whatever its weight, in the page as it stands, at each of
    these sizes; `colours`, too, at the first of them, in both schemes. It must be wider than none of them."""
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text())
    found = []
    for size in sizes:
        page.set_viewport_size(size)  # type: ignore[arg-type]
        expect(page.locator("html"), f"the width of {page.url}").to_have_js_property("scrollWidth", size["width"])
        page.evaluate(SHOW, ["none", ALIKE])
        looks = [("light", SHAPE), *((scheme, COLOURS) for scheme in ("light", "dark") if colours and size is sizes[0])]
        for scheme, rules in looks:
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            told = page.evaluate("options => axe.run(document, options)", {"resultTypes": ["violations"], **rules})
            found += [
                f"{size['width']} {scheme}: {each['id']}: {node['html'][:200]}: {node.get('failureSummary', '')[:300]}"
                for each in told["violations"]
                for node in each["nodes"][:3]
            ]
        page.emulate_media(color_scheme="light")
        page.evaluate(SHOW, ["", ALIKE])
    page.set_viewport_size(sizes[0])  # type: ignore[arg-type]
    return found


def go(page: Page, dashboard: Dashboard, path: str) -> None:
    page.goto(dashboard.url + path)
    page.locator("#page h1").wait_for()


def settled(page: Page) -> None:
    """Waits until nothing of the page is still to come."""
    expect(page.locator(".loading, .chart:not(:has(.main-svg)), [data-dash-is-loading=true]")).to_have_count(0)
