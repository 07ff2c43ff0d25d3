"""The contract: every row of what is known of HOSP matches, and nothing in the code is HOSP's."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import validate

from sidecar.contract import Action, Contract, ContractError

LIBRARY = Path(__file__).parents[3] / "support/library.yaml"
HOSP = Contract.load("hosp")


@pytest.mark.parametrize("path", [Path("sidecar/contracts/hosp.yaml"), LIBRARY])
def test_contracts_are_valid_openapi(path: Path) -> None:
    validate(yaml.safe_load((Path(__file__).parents[4] / path).read_text()))


@pytest.mark.parametrize(
    ("method", "path", "endpoint", "record"),
    [
        ("GET", "/", "status", None),
        ("GET", "/hospitals", "hospitals.list", None),
        ("GET", "/hospitals/3", "hospitals.read", "3"),
        ("POST", "/hospitals", "hospitals.create", None),
        ("PATCH", "/hospitals/3", "hospitals.update", "3"),
        ("DELETE", "/hospitals/3", "hospitals.delete", "3"),
        ("GET", "/staffs", "staffs.list", None),
        ("GET", "/staffs/me", "staffs.me", None),
        ("GET", "/staffs/7", "staffs.read", "7"),
        ("POST", "/staffs", "staffs.create", None),
        ("PATCH", "/staffs/7", "staffs.update", "7"),
        ("GET", "/patients", "patients.list", None),
        ("GET", "/patients/17", "patients.read", "17"),
        ("POST", "/patients", "patients.create", None),
        ("PATCH", "/patients/17", "patients.update", "17"),
        ("PUT", "/patients/17", "patients.replace", "17"),
        ("POST", "/patients/17/screen", "patients.screen", "17"),
        ("GET", "/notes", "notes.list", None),
        ("GET", "/notes/5", "notes.read", "5"),
        ("POST", "/notes", "notes.create", None),
        ("PATCH", "/notes/5", "notes.update", "5"),
        ("DELETE", "/notes/5", "notes.delete", "5"),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".json"])
def test_every_row_matches(method: str, path: str, endpoint: str, record: str | None, suffix: str) -> None:
    match = HOSP.match(method, path if path == "/" else path + suffix)
    assert match.endpoint is not None
    assert (match.endpoint.id, match.record_id) == (endpoint, record)


@pytest.mark.parametrize(
    "path",
    [
        "/wp-login.php",
        "/notes/",
        "/notes//",
        "//notes",
        "/notes/1/2",
        "/%ff",
        "/notes/%2e%2e",
        "/notes/../staffs",
        "notes",
    ]
    + ["/notes/017", "/notes/17x", "/notes/%31%37%00", "/notes/1%2F2", "/Notes", "/notes/-1", "*", ""],
)
def test_outside_the_contract(path: str) -> None:
    match = HOSP.match("GET", path)
    assert (match.endpoint is None) is (path != "/notes/")


def test_encoded_paths_mean_what_they_say() -> None:
    assert HOSP.match("GET", "/n%6Ftes/%31").record_id == "1"


def test_head_is_get_and_other_methods_are_named() -> None:
    assert HOSP.match("HEAD", "/notes").endpoint == HOSP.endpoints["notes.list"]
    for method in ("OPTIONS", "BREW", "TRACE"):
        match = HOSP.match(method, "/notes")
        assert match.endpoint is None
        assert match.known_path
        assert match.allowed == ("GET", "HEAD", "OPTIONS", "POST")


def test_secrets_and_pure_calls_are_known() -> None:
    assert HOSP.secrets == {"password"}
    assert HOSP.endpoints["staffs.create"].takes_secrets
    assert not HOSP.endpoints["notes.create"].takes_secrets
    assert HOSP.endpoints["patients.screen"].repeatable
    assert not HOSP.endpoints["notes.create"].repeatable


def test_another_contract_compiles_to_its_own_words() -> None:
    library = Contract.load(str(LIBRARY))
    match = library.match("GET", "/v1/books/978-3.json")
    assert match.endpoint is not None
    assert (match.endpoint.id, match.record_id) == ("books.one", "978-3")
    books = library.resources["books"]
    assert (books.id_field, books.visibility, books.order) == ("isbn", "caller", (("title", False), ("year", True)))
    assert books.secrets == {"pin"}
    assert library.endpoint_for("books", Action.LIST) == library.endpoints["books.all"]
    assert library.endpoints["books.all"].filters == ("author", "year")
    assert library.match("GET", "/v1/shelves/a%2Fb/books/x").params == {"shelf": "a/b", "isbn": "x"}


def test_a_missing_contract_is_named() -> None:
    with pytest.raises(ContractError, match="nosuch"):
        Contract.load("nosuch")


@given(st.text(max_size=40))
def test_no_path_breaks_matching(path: str) -> None:
    match = HOSP.match("GET", "/" + path)
    assert match.endpoint is None or match.known_path


@given(st.integers(0, 10**18))
def test_every_plain_number_is_a_record(number: int) -> None:
    assert HOSP.match("GET", f"/notes/{number}").record_id == str(number)


def test_it_is_compiled_again_only_once_its_file_says_something_else(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("openapi: 3.1.0\npaths: {/a: {get: {operationId: op}}}\n")
    first = Contract.load(str(path))
    assert Contract.load(str(path)) is first
    path.write_text("openapi: 3.1.0\npaths: {/b: {get: {operationId: op}}}\n")
    second = Contract.load(str(path))
    assert [each.template for each in first.endpoints.values()] == ["/a"]
    assert [each.template for each in second.endpoints.values()] == ["/b"]
