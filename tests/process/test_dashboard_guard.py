"""Nobody reaches what is not theirs: every callback and every route, as nobody, and in each role."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard import pages
from dashboard.sign_in.routes import PATHS
from tests.support.dashboard.serving import PASSWORD, Dashboard, alone
from tests.support.stack import Got

CALLBACK = "/_dash-update-component"
CALLBACKS = {
    "..page.children...menu.children...again.disabled..": "disclosure",
    '{"live":"overview","part":["ALL"]}.children': "auditor",
    "done.data": "auditor",  # the overview asks again while the budgets are counted
    "..url.search...f-wrong.children..": "auditor",
    "findings.children": "auditor",
    "audit-words.children": "auditor",
    "audit-weeks.children": "auditor",
    "audit-count.children": "auditor",
    "audit-histogram.children": "auditor",
    "audit-person.children": "auditor",  # each facet
    "audit-patient.children": "auditor",
    "audit-action.children": "auditor",
    "audit-outcome.children": "auditor",
    "people.children": "auditor",
    "..exports.children...export-tick.disabled..": "auditor",
    "ep-said.children": "auditor",  # makes an evidence pack
    "ev-proof.children": "auditor",  # asks the journal about an event
    "p-said.children": "disclosure",
    "dl-said.children": "disclosure",  # makes one patient's access log
    "..rv-items.children...rv-said.children..": "auditor",  # signs a finding off
    "asked.data": "operator",  # asks for the dialog of break-glass
    "..dialog.children...pending.data..": "operator",
    "..dialog.children...done.data...d-said.children..": "operator",
    "..said.children...done.data..": "operator",  # an incident is acknowledged in one tap
    '{"live":"endpoints","part":["ALL"]}.children': "operator",
    '{"live":"standby","part":["ALL"]}.children': "operator",
    '{"live":"replacement","part":["ALL"]}.children': "operator",
    '{"live":"alerts","part":["ALL"]}.children': "operator",
    "b-found.children": "operator",
    "..u-said.children...c-said.children...u-list.children...u-password.value...c-new-password.value..."
    "c-confirm.children...c-confirm.hidden..": "admin",
}
"""Every callback, by what it writes: the least role that may call it. One that is not here fails the tests."""
PAGES = {
    "/": "auditor",
    "/audit": "auditor",
    "/audit/person": "auditor",
    "/audit/patient": "auditor",
    "/audit/event": "auditor",
    "/audit/evidence": "auditor",
    "/audit/looks": "auditor",
    "/audit/review": "auditor",
    "/audit/break-glass": "auditor",
    "/disclosure": "disclosure",
    "/account": "disclosure",
    "/endpoints": "operator",
    "/endpoints/latency": "operator",
    "/standby": "operator",
    "/standby/discarded": "operator",
    "/standby/evidence": "operator",
    "/standby/replacement": "operator",
    "/alerts": "operator",
    "/users": "admin",
}
"""Every page, and who may see it."""
ROUTES = {
    "/logout": "disclosure",
    "/logout/everywhere": "disclosure",
    "/disclosure/file": "disclosure",
    "/audit/export": "auditor",
    "/audit/evidence/file": "auditor",
    "/session": "disclosure",
}
"""Every route that is no page."""
ORDER = ("disclosure", "auditor", "operator", "admin")


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    home = tmp_path_factory.mktemp("guard")
    with Dashboard(alone(home / "data"), home / "dashboard.log", ORDER) as running:
        yield running


def call(dashboard: Dashboard, headers: dict[str, str], callback: dict[str, Any], **values: Any) -> Got:
    """Calls a callback as a browser would, or as someone would who writes the request by hand."""

    def filled(parts: list[dict[str, Any]]) -> list[Any]:
        return [
            [] if "ALL" in str(part["id"]) else {**part, "value": values.get(f"{part['id']}.{part['property']}")}
            for part in parts
        ]

    names = callback["output"].strip(".").split("...")
    outputs = [dict(zip(("id", "property"), name.rsplit(".", 1), strict=True)) for name in names]
    if "ALL" in callback["output"]:
        outputs = []
    inputs = filled(callback["inputs"])
    changed = [f"{part['id']}.{part['property']}" for part in callback["inputs"][:1]]
    body = {
        "output": callback["output"],
        "outputs": outputs if len(outputs) > 1 or not outputs else outputs[0],
        "inputs": inputs,
        "state": filled(callback.get("state", [])),
        "changedPropIds": changed,
    }
    return dashboard.ask("POST", CALLBACK, headers, json.dumps(body))


def callbacks(dashboard: Dashboard) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = dashboard.ask("GET", "/_dash-dependencies", dashboard.sign_in("admin")).json()
    return found


def written(output: str) -> str:
    """What a callback writes, without the hash behind what is written by several."""
    return re.sub(r"@[0-9a-f]+", "", output)


def test_every_callback_is_refused_to_who_may_not(dashboard: Dashboard) -> None:
    known = callbacks(dashboard)
    assert sorted(written(callback["output"]) for callback in known) == sorted(CALLBACKS)
    roles = {role: dashboard.sign_in(role) for role in ORDER}
    for callback in known:
        output, needed = callback["output"], CALLBACKS[written(callback["output"])]
        assert call(dashboard, {"Content-Type": "application/json"}, callback).status == 401, output
        for role, headers in roles.items():
            refused = call(dashboard, headers, callback).status == 403
            assert refused == (ORDER.index(role) < ORDER.index(needed)), (output, role)


def test_every_page_and_route_has_its_role_here() -> None:
    assert {page.path: str(page.role) for page in pages.PAGES} == PAGES
    assert {path: str(role) for path, role in PATHS.items()} == ROUTES


@pytest.mark.parametrize("output", ["made.up", "", None, 7, {"id": "page"}, "..said.children.."])
def test_what_is_no_callback_is_refused(dashboard: Dashboard, output: Any) -> None:
    answer = dashboard.ask("POST", CALLBACK, dashboard.sign_in("admin"), json.dumps({"output": output, "inputs": []}))
    assert answer.status == 403


def test_a_page_is_refused_by_its_address_and_by_its_callback(dashboard: Dashboard) -> None:
    page = next(each for each in callbacks(dashboard) if each["output"].startswith("..page."))
    roles = {role: dashboard.sign_in(role) for role in ORDER}
    for path, needed in PAGES.items():
        signed_out = dashboard.ask("GET", path)
        assert (signed_out.status, signed_out["Location"].startswith("/login?next=")) == (302, True), path
        for role, headers in roles.items():
            may = ORDER.index(role) >= ORDER.index(needed)
            home = 302 if path == "/" else 403  # a role without the overview begins elsewhere
            assert dashboard.ask("GET", path, headers).status == (200 if may else home), (path, role)
            drawn = call(dashboard, headers, page, **{"url.pathname": path}).body
            assert (b"Your role does not allow" in drawn) == (not may), (path, role)


def test_a_visitor_who_is_not_signed_in_reaches_the_sign_in_page_alone(dashboard: Dashboard) -> None:
    page = dashboard.ask("GET", "/")
    assert page.status == 302
    suite = "/_dash-component-suites/dash/deps/react@18.3.1.min.js"
    other = ("/assets/understudy.js", "/_favicon.ico", "/_reload-hash", "/static/x", "/no/such", "/audit/export?id=1")
    other += ("/audit/event?event=1", "/audit/evidence?id=1", "/audit/evidence/file?id=1", "/session")
    for path in ("/_dash-layout", "/_dash-dependencies", suite, *other):
        answer = dashboard.ask("GET", path)
        assert answer.status in (302, 401), path
        assert b"understudy_" not in answer.body
    assert dashboard.ask("POST", "/logout").status == 401
    assert dashboard.ask("GET", "/login").status == 200
    assert dashboard.ask("GET", "/healthz").json() == {"status": "alive"}


def test_a_signed_in_user_gets_404_for_what_is_no_page(dashboard: Dashboard) -> None:
    assert dashboard.ask("GET", "/no/such", dashboard.sign_in("admin")).status == 404


def test_what_changes_something_needs_the_token_and_our_own_pages(dashboard: Dashboard) -> None:
    headers = dashboard.sign_in("admin")
    page = next(each for each in callbacks(dashboard) if each["output"].startswith("..page."))
    assert call(dashboard, headers, page).status == 200
    for changed in (
        {"X-CSRFToken": ""},
        {"X-CSRFToken": "made up"},
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert call(dashboard, {**headers, **changed}, page).status == 403, changed
        assert dashboard.ask("POST", "/logout", {**headers, **changed}).status == 403, changed
    own = {**headers, "Origin": dashboard.url, "Sec-Fetch-Site": "same-origin"}
    assert call(dashboard, own, page).status == 200
    foreign = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "https://evil.example"}
    assert dashboard.ask("POST", "/login", foreign, f"name=admin&password={PASSWORD}").status == 403


def test_signing_out_everywhere_ends_every_session(dashboard: Dashboard) -> None:
    first, second = dashboard.sign_in("operator"), dashboard.sign_in("operator")
    assert dashboard.ask("GET", "/standby", first).status == 200
    assert dashboard.ask("POST", "/logout/everywhere", second).status == 303
    for headers in (first, second):
        assert dashboard.ask("GET", "/standby", headers).status == 302


def test_a_role_that_was_taken_away_is_gone_at_once(dashboard: Dashboard) -> None:
    added = dashboard.cli("user", "add", "Mr Vane", "--role", "operator", "--password-stdin", said=PASSWORD)
    assert added.returncode == 0
    headers = dashboard.sign_in("Mr Vane")
    assert dashboard.ask("GET", "/standby", headers).status == 200
    assert dashboard.cli("user", "role", "Mr Vane", "auditor").returncode == 0
    assert dashboard.ask("GET", "/standby", headers).status == 403
    assert dashboard.cli("user", "remove", "Mr Vane").returncode == 0
    assert dashboard.ask("GET", "/", headers).status == 302


def test_cookies_are_out_of_reach_and_secure_behind_tls(dashboard: Dashboard, tmp_path: Path) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    plain = dashboard.ask("POST", "/login", form, f"name=auditor&password={PASSWORD}").all("Set-Cookie")
    session = next(line for line in plain if line.startswith("understudy="))
    assert "HttpOnly" in session
    assert "SameSite=Lax" in session
    assert "Secure" not in session
    with Dashboard(alone(tmp_path / "d", trusted_proxies="127.0.0.1"), tmp_path / "log", ("auditor",)) as behind:
        tls = {**form, "X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.7"}
        answer = behind.ask("POST", "/login", tls, f"name=auditor&password={PASSWORD}")
        session = next(line for line in answer.all("Set-Cookie") if line.startswith("__Host-understudy="))
        assert all(word in session for word in ("HttpOnly", "Secure", "Path=/"))
        assert answer["Strict-Transport-Security"]


def test_guessing_is_slowed_down_and_told(dashboard: Dashboard) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert dashboard.cli("user", "add", "Target", "--password-stdin", said=PASSWORD).returncode == 0
    tries = [dashboard.ask("POST", "/login", form, f"name=Target&password=wrong{n}") for n in range(7)]
    assert [answer.status for answer in tries] == [401] * 5 + [429, 429]
    assert int(tries[-1]["Retry-After"]) <= 15
    right = dashboard.ask("POST", "/login", form, f"name=Target&password={PASSWORD}")
    assert right.status == 429, "the right password is not let through either"
    assert dashboard.ask("POST", "/login", form, f"name=auditor&password={PASSWORD}").status == 303


@pytest.mark.parametrize(
    "onward", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/a\r\nX: y"]
)
def test_after_signing_in_nobody_is_sent_elsewhere(dashboard: Dashboard, onward: str) -> None:
    from urllib.parse import urlencode

    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = dashboard.ask("POST", "/login", form, urlencode({"name": "auditor", "password": PASSWORD, "next": onward}))
    assert (answer.status, answer["Location"]) == (303, "/")


def test_the_policy_allows_no_inline_script_and_nothing_from_elsewhere(dashboard: Dashboard) -> None:
    for path, headers in (("/login", {}), ("/", dashboard.sign_in("auditor"))):
        answer = dashboard.ask("GET", path, headers)
        policy = answer["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert b"http://" not in answer.body.replace(b"http://www.w3.org", b"")
        assert b"https://" not in answer.body


def test_nothing_secret_is_logged(dashboard: Dashboard) -> None:
    log = dashboard.log.read_text()
    assert PASSWORD not in log
    assert "Traceback" not in log
