"""What of an answer is learned, and when nothing is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import sidecar
from sidecar.contract import Contract
from sidecar.http.determining import selecting, shows
from sidecar.http.messages import Request, Response
from sidecar.standby.observations import RecordMissing, list_filters, observations

SHIPPED = Contract.load("hosp")
GOOD = Response(
    200,
    [("Content-Type", "application/json")],
    b'{"id":1,"name":"North","created_at":"2024-01-01T00:00:00.000Z","updated_at":"2024-01-01T00:00:00.000Z","url":"u"}',
)


def declaring(folder: Path, *parameters: dict[str, object]) -> Contract:
    """The shipped contract, whose hospitals take these parameters too."""
    document = yaml.safe_load((Path(sidecar.__file__).parent / "contracts/hosp.yaml").read_text())
    document["paths"]["/hospitals/{id}"].setdefault("parameters", []).extend(parameters)
    (folder / "contract.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return Contract.load(str(folder / "contract.yaml"))


@pytest.mark.parametrize("name", ["Accept-Language", "Cookie", "User-Agent"])
def test_a_field_that_the_contract_does_not_name_is_harmless(name: str) -> None:
    request = Request("GET", "/hospitals/1", [(name, "x")])
    assert selecting(request, frozenset()) == []
    assert observations(SHIPPED, SHIPPED.match("GET", "/hospitals/1"), request, GOOD)


@pytest.mark.parametrize(
    ("place", "name", "sent"),
    [
        ("header", "Accept-Language", "accept-language"),
        ("cookie", "clinic", "Cookie"),
        ("header", "X-Real-IP", "X-Real-Ip"),
    ],
)
def test_of_what_is_asked_with_a_parameter_of_the_contract_nothing_is_learned_for_others(
    tmp_path: Path, place: str, name: str, sent: str
) -> None:
    contract = declaring(tmp_path, {"name": name, "in": place, "schema": {"type": "string"}})
    match = contract.match("GET", "/hospitals/1")
    assert match.endpoint is not None
    request = Request("GET", "/hospitals/1", [(sent, "x")])
    assert selecting(request, match.endpoint.headers) == [f"{sent.lower()}=x"]
    assert observations(contract, match, request, GOOD) == []
    assert observations(contract, match, Request("GET", "/hospitals/1", []), GOOD)


@pytest.mark.parametrize("name", ["Accept", "Content-Type", "Authorization"])
def test_what_openapi_says_is_to_be_ignored_is_no_parameter(tmp_path: Path, name: str) -> None:
    contract = declaring(tmp_path, {"name": name, "in": "header", "schema": {"type": "string"}})
    assert contract.endpoints["hospitals.read"].headers == frozenset()


@pytest.mark.parametrize(
    "query", ["patient_id=1+2", "patient_id=1;patient_id=2", "patient_id", "patient_id=1&staff_id", "patient_id=%ff"]
)
def test_a_query_that_apis_read_otherwise_is_no_filter(query: str) -> None:
    assert list_filters(("patient_id", "staff_id"), query) is None
    assert list_filters(("patient_id", "staff_id"), "patient_id=1&staff_id=") is not None


@pytest.mark.parametrize("path", ["/hospitals/1.json", "/hospitals/1/", "/hospitals/%31"])
def test_that_nothing_is_there_by_another_spelling_is_no_observation(path: str) -> None:
    gone = Response(404, [("Content-Type", "application/json")], b'{"error":"not found"}')
    plain = observations(SHIPPED, SHIPPED.match("GET", "/hospitals/1"), Request("GET", "/hospitals/1", []), gone)
    assert any(isinstance(each, RecordMissing) for each in plain)
    assert observations(SHIPPED, SHIPPED.match("GET", path), Request("GET", path, []), gone) == []


def test_no_event_says_what_there_is_where_a_cookie_may_have_chosen_it() -> None:
    assert shows(Request("GET", "/hospitals", []), GOOD, ()) == "whole"
    assert shows(Request("GET", "/hospitals", [("Cookie", "clinic=2")]), GOOD, ()) is None
