"""Each of Rails' ways, row by row of HOSP.md: so when it is on, otherwise when it is off. No sockets."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from compose.hosp import casts
from compose.hosp.behaviours import PLAIN, RAILS, TWISTS, chosen
from compose.hosp.cli import simulate
from compose.hosp.data import generate
from compose.hosp.messages import Asked, format_of
from compose.hosp.records import Hosp
from compose.hosp.rendering import Rendered, render

JSON = {"accept": "application/json"}
SENDS_JSON = {**JSON, "content-type": "application/json"}
FORM = {**JSON, "content-type": "application/x-www-form-urlencoded"}
PLAIN_TEXT = {**JSON, "content-type": "text/plain"}
OVERRIDE = {**SENDS_JSON, "x-http-method-override": "PATCH"}


class Api:
    """HOSP's application with these behaviours, asked as its first member of staff."""

    def __init__(self, on: frozenset[str]) -> None:
        self.hosp = Hosp(generate(7), on, strays=404)
        self.user, self.password = next(iter(self.hosp.data.passwords.items()))

    def __call__(
        self, method: str, target: str, body: Any = None, headers: dict[str, str] = JSON, who: str = ""
    ) -> Rendered:
        token = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        sent = {"authorization": who or f"Basic {token}", **headers}
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        asked = Asked(method, target, sent, data, "http://h")
        return render(asked, self.hosp.answer(asked), self.hosp.on)


def outcomes(api: Api, name: str) -> Any:
    """What shows the behaviour of that name."""
    create = {"title": "T", "patient_id": 1, "staff_id": 1}
    shown: dict[str, Any] = {
        "format": lambda: api("GET", "/patients/3", headers={"accept": "*/*"}).headers["Content-Type"],
        "not-acceptable": lambda: api("GET", "/patients/3", headers={"accept": "application/xml"}).status,
        "error-documents": lambda: api("GET", "/patients/9999", headers={"accept": "application/xml"}).body,
        "access-denied": lambda: api("GET", "/patients/3", who="Basic eDp5").body,
        "required-root": lambda: api("PATCH", "/patients/3", {}, SENDS_JSON).status,
        "media-types": lambda: api("PATCH", "/patients/3", {"name": "x"}, PLAIN_TEXT).status,
        "routes": lambda: api("OPTIONS", "/patients").status,
        "wrapped": lambda: _name(api("PATCH", "/patients/3", {"patient": {"name": "W"}, "name": "F"}, SENDS_JSON)),
        "forms": lambda: api("PATCH", "/patients/3", b"patient[name]=F", FORM).status,
        "method-override": lambda: api("POST", "/patients/3", {"name": "x"}, OVERRIDE).status,
        "html-writes": lambda: api("PATCH", "/patients/3", b"patient[name]=F", {**FORM, "accept": "text/html"}).status,
        "location": lambda: api("POST", "/hospitals", {"name": "x"}, SENDS_JSON).headers.get("Location"),
        "casts": lambda: _name(api("PATCH", "/patients/3", {"name": 12}, SENDS_JSON)),
        "lenient-ids": lambda: api("GET", "/patients/17abc").status,
        "must-exist": lambda: api("POST", "/notes", {"title": "x"}, SENDS_JSON).status,
        "presence": lambda: api("POST", "/hospitals", {"name": " "}, SENDS_JSON).status,
        "foreign-keys": lambda: api("DELETE", "/patients/3").status,
        "unchanged": lambda: _stays(api),
        "escapes": lambda: b"\\u003c" in api("POST", "/notes", {**create, "title": "<\u00e9"}, SENDS_JSON).body,
        "etags": lambda: "ETag" in api("POST", "/notes", create, SENDS_JSON).headers,
        "chunked": lambda: api("GET", "/patients/3").chunked,
        "vary": lambda: api("GET", "/patients/3").headers.get("Vary"),
        "error-headers": lambda: api("GET", "/patients/9999").headers.get("X-Frame-Options"),
        "session-cookie": lambda: api("GET", "/patients/3", headers={}).headers.get("Set-Cookie"),
        "lenient-basic": lambda: api("GET", "/staffs/me", who=_tabbed(api)).status,
    }  # fmt: skip
    return shown[name]()


def _name(got: Rendered) -> Any:
    return json.loads(got.body)["name"]


def _stays(api: Api) -> bool:
    row = api.hosp.data.tables["patients"][3]
    before = row["updated_at"]
    api("PATCH", "/patients/3", {"name": row["name"]}, SENDS_JSON)
    return bool(row["updated_at"] == before)


def _tabbed(api: Api) -> str:
    token = base64.b64encode(f"{api.user}:{api.password}".encode()).decode()
    return "Basic\t" + token.rstrip("=")


@pytest.mark.parametrize("name", [behaviour.name for behaviour in RAILS])
def test_each_is_switched_by_its_name(name: str) -> None:
    assert outcomes(Api(chosen()), name) != outcomes(Api(chosen(without=[name])), name)


def test_a_name_that_is_none_is_refused() -> None:
    for wrong in ({"twists": ["nonsense"]}, {"without": ["nonsense"]}, {"twists": ["format"]}):
        with pytest.raises(ValueError, match="no behaviour"):
            chosen(**wrong)
    assert chosen(rails=False) == PLAIN
    names = [behaviour.name for behaviour in (*RAILS, *TWISTS)]
    assert len(names) == len(set(names))


@given(st.lists(st.sampled_from(["text/html", "application/json", "image/png", "*/*"]), min_size=1), st.booleans())
def test_row_1_any_with_others_is_a_browser_else_the_first_that_is_known_counts(kinds: list[str], spaced: bool) -> None:
    accept = (", " if spaced else ",").join(kinds)
    kind, negotiated = format_of(Asked("GET", "/patients/3", {"accept": accept}, b"", "http://h"))
    assert negotiated
    known = [k for k in kinds if k != "image/png"]
    if "*/*" in kinds and len(kinds) > 1:
        assert kind == "html"
    elif known:
        assert kind == ("json" if known[0] == "application/json" else "html")
    else:
        assert kind == "other"


@given(st.integers(-(10**6), 10**6), st.sampled_from(["", "abc", " ", ".5", "-1"]), st.sampled_from(["", " ", "0"]))
def test_row_5_an_integer_is_read_up_to_its_end(number: int, after: str, before: str) -> None:
    if before == "0" and number < 0:
        return
    assert casts.to_integer(f"{before}{number}{after}") == number


@given(st.dates(), st.sampled_from(["", "T00:00:00.000Z", " 12:30"]))
def test_row_5_a_day_is_read_however_it_is_written(day: Any, after: str) -> None:
    assert casts.to_date(f"{day.isoformat()}{after}") == day.isoformat()
    assert casts.to_date(f"{day.year:04}-{day.month}-{day.day}") == day.isoformat()
    assert casts.to_date(f"{day.day}/{day.month}/{day.year:04}") == day.isoformat()


@given(st.text(max_size=12))
def test_row_5_what_names_no_day_is_null_or_a_day(text: str) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", casts.to_date(text) or "0000-00-00")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_row_8_json_says_what_was_sent_and_no_markup(title: str) -> None:
    api = Api(chosen(without=["presence"]))
    got = api("POST", "/notes", {"title": title, "patient_id": 1, "staff_id": 1}, SENDS_JSON)
    assert json.loads(got.body)["title"] == title
    assert not set(b"<>&") & set(got.body)


def test_rows_2_and_9_an_etag_repeated_is_304_and_an_error_is_bare() -> None:
    api = Api(chosen())
    tag = api("GET", "/patients/3").headers["ETag"]
    again = api("GET", "/patients/3", headers={**JSON, "if-none-match": tag})
    assert (again.status, again.body) == (304, b"")
    assert set(api("GET", "/patients/9999").headers) == {"Content-Type"}
    assert len(api("GET", "/patients/9999", headers={}).body) == 1722


def test_row_3_a_wrapped_body_a_form_and_a_multipart_are_one_write() -> None:
    api = Api(chosen())
    boundary = {**JSON, "content-type": "multipart/form-data; boundary=B"}
    multipart = b'--B\r\nContent-Disposition: form-data; name="patient[name]"\r\n\r\nM\r\n--B--\r\n'
    assert _name(api("PATCH", "/patients/3", {"patient": {"name": "W"}}, SENDS_JSON)) == "W"
    assert _name(api("PATCH", "/patients/3", b"patient%5Bname%5D=F+G", FORM)) == "F G"
    assert _name(api("PATCH", "/patients/3", multipart, boundary)) == "M"
    assert _name(api("POST", "/patients/3", b"_method=patch&patient[name]=O", FORM)) == "O"


def test_rows_4_6_and_10_pages_redirect_children_hold_and_basic_is_read_leniently() -> None:
    api = Api(chosen())
    made = api("POST", "/hospitals", b"hospital[name]=H", {"content-type": FORM["content-type"]})
    assert (made.status, made.headers["Location"]) == (302, "http://h/hospitals/7")
    assert [api("DELETE", "/patients/3").status for _ in range(2)] == [500, 500]
    assert api("DELETE", "/hospitals/7").status == 204
    assert json.loads(api("POST", "/notes", {"title": "x", "patient_id": 1}, SENDS_JSON).body) == {
        "staff": ["must exist"]
    }


def test_the_command_lists_them() -> None:
    told = CliRunner().invoke(simulate, ["--behaviours"])
    assert told.exit_code == 0
    assert all(behaviour.name in told.output for behaviour in (*RAILS, *TWISTS))
    assert CliRunner().invoke(simulate, ["--twist", "nonsense"]).exit_code == 2
