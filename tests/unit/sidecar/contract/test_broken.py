"""A contract that does not hold together is refused with its file and the key at fault, and never by a traceback."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sidecar.contract import Contract, ContractError

LIBRARY = yaml.safe_load((Path(__file__).parents[3] / "support/library.yaml").read_text())
HOSP = json.loads(json.dumps(yaml.safe_load(Path("sidecar/contracts/hosp.yaml").read_text())))
BOOKS = "paths./v1/books.get"
BOOK = "components.schemas.Book"


def at(document: Any, key: str) -> Any:
    """What stands under a key like paths./v1/books.get."""
    for name in key.split("."):
        document = document[name]
    return document


def put(key: str, value: Any) -> Callable[[Any], None]:
    where, _, name = key.rpartition(".")
    return lambda document: (at(document, where) if where else document).update({name: value})


def removed(key: str) -> Callable[[Any], None]:
    where, _, name = key.rpartition(".")
    return lambda document: (at(document, where) if where else document).pop(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("openapi", "3.0.0"), "openapi: expected an OpenAPI 3.1 document; found 3.0.0"),
        (removed("openapi"), "openapi: expected an OpenAPI 3.1 document; found nothing"),
        (put("paths", None), "paths: expected a mapping; found null"),
        (put("paths", []), "paths: expected a mapping; found a list"),
        (put("paths.v2", {}), "paths.v2: expected a path, which begins with /; found v2"),
        (put("paths./v1/{a", {}), "paths./v1/{a: expected a parameter that is a whole step, {name}; found {a"),
        (put("paths./v1/books", "x"), "paths./v1/books: expected a mapping; found x"),
        (put(BOOKS, None), f"{BOOKS}: expected a mapping; found null"),
        (removed(f"{BOOKS}.operationId"), f"{BOOKS}.operationId: expected an id; found nothing"),
        (put(f"{BOOKS}.operationId", ["a"]), f"{BOOKS}.operationId: expected text; found a list"),
        (put(f"{BOOKS}.operationId", "books.one"), "operationId: expected an id of its own; found books.one"),
        (put(f"{BOOKS}.x-understudy-action", "lst"), f"{BOOKS}.x-understudy-action: expected list, read"),
        (put(f"{BOOKS}.x-understudy-resource", "boks"), "expected a schema's resource; found boks"),
        (removed(f"{BOOKS}.x-understudy-resource"), "expected the resource it acts on; found nothing"),
        (put(f"{BOOKS}.x-understudy-pure", "so"), f"{BOOKS}.x-understudy-pure: expected true or false; found so"),
        (
            put(f"{BOOKS}.x-understudy-store-result", {"title": "t"}),
            "x-understudy-store-result.resource: expected text",
        ),
        (put(f"{BOOKS}.security", "none"), f"{BOOKS}.security: expected a list; found none"),
        (put(f"{BOOKS}.responses", None), f"{BOOKS}.responses: expected a mapping; found null"),
        (put(f"{BOOKS}.responses", {"2XX": {}}), f"{BOOKS}.responses.2XX: expected a status, 200 to 299; found 2XX"),
        (put(f"{BOOKS}.responses", {"200": None}), f"{BOOKS}.responses.200: expected a mapping; found null"),
        (put(f"{BOOKS}.responses.200.content", 7), f"{BOOKS}.responses.200.content: expected a mapping; found 7"),
        (put(f"{BOOKS}.parameters", [{"in": "query"}]), f"{BOOKS}.parameters[0].name: expected a name; found nothing"),
        (
            put(f"{BOOKS}.parameters", [{"name": "a"}]),
            f"{BOOKS}.parameters[0].in: expected path, query",
        ),
        (put(f"{BOOKS}.parameters", [None]), f"{BOOKS}.parameters[0]: expected a mapping; found null"),
        (put(f"{BOOKS}.parameters", {"a": 1}), f"{BOOKS}.parameters: expected a list; found a mapping"),
        (
            put(f"{BOOKS}.requestBody", {"$ref": "#/nowhere"}),
            "get.requestBody.$ref: expected that there is #/nowhere",
        ),
        (
            put(f"{BOOKS}.requestBody", {"$ref": 3}),
            f"{BOOKS}.requestBody.$ref: expected a reference within",
        ),
        (
            put(BOOK, {"$ref": f"#/{BOOK.replace('.', '/')}"}),
            f"{BOOK}.$ref: expected references that end",
        ),
        (put(f"{BOOK}.x-understudy-visibility", "all"), "visibility: expected everyone or caller; found all"),
        (put(f"{BOOK}.x-understudy-references", {"a": "b"}), f"{BOOK}.x-understudy-references.a: expected a resource"),
        (put(f"{BOOK}.x-understudy-order", "title"), f"{BOOK}.x-understudy-order: expected a list; found title"),
        (put(f"{BOOK}.required", [True]), f"{BOOK}.required[0]: expected text; found true"),
        (put(f"{BOOK}.properties.isbn", {"type": 3}), f"{BOOK}.properties.isbn.type: expected a type"),
    ],
)
def test_it_is_refused_by_its_key(change: Callable[[Any], None], message: str, tmp_path: Path) -> None:
    document = copy.deepcopy(LIBRARY)
    change(document)
    broken = tmp_path / "broken.yaml"
    broken.write_text(yaml.safe_dump(document))
    with pytest.raises(ContractError) as caught:
        Contract.load(str(broken))
    assert "broken" in caught.value.where
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"openapi: [", "line 2: expected YAML"),
        (b"openapi: 3.1.0\npaths: {\n", "line 3: expected YAML"),
        (b"openapi: 2026-13-45\n", "the file: expected YAML"),
        (b"\xff\xfe", "expected UTF-8"),
        (b"", "openapi: expected an OpenAPI 3.1 document; found null"),
        (b"- openapi", "openapi: expected an OpenAPI 3.1 document; found a list"),
    ],
)
def test_a_file_that_is_no_document_is_told_by_its_line(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_bytes(data)
    with pytest.raises(ContractError) as caught:
        Contract.load(str(tmp_path / "broken.yaml"))
    assert str(tmp_path) in str(caught.value)
    assert message in str(caught.value)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=6)
    | st.sampled_from(["2XX", "list", "object", "query"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["$ref", "type", "in", "a"]), inner),
    max_leaves=4,
)


NAMES = st.text(max_size=6) | st.sampled_from(["2XX", "$ref", "x-understudy-id"])


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container and a key in it."""
    found = []
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        found.append((value, key))
        if isinstance(inner, (dict, list)):
            found += places(inner)
    return found


@given(st.data())
def test_whatever_is_changed_it_loads_or_is_refused_by_name(data: st.DataObject) -> None:
    document = copy.deepcopy(HOSP)
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(document)))
        how = data.draw(st.sampled_from(["replaced", "removed", "renamed"]))
        if how == "replaced":
            container[key] = data.draw(JSON)
        elif how == "removed":
            del container[key]
        elif isinstance(container, dict):
            container[data.draw(NAMES)] = container.pop(key)
    with refused_by_name_if_at_all():
        contract = Contract("hosp", document)
        for path in ("/", "/notes/1", "/a/b/c"):
            contract.match("GET", path)


@contextmanager
def refused_by_name_if_at_all() -> Iterator[None]:
    """Lets a contract be refused, if it is by a key of its own."""
    try:
        yield
    except ContractError as error:
        if error.where != "hosp" or not error.key or not str(error).startswith(f"hosp: {error.key}: expected "):
            raise AssertionError(f"does not name the culprit: {error}") from error
