# pure
"""Whether a write can be kept as it would be by the upstream: what is not certain to mean what it says is not accepted.

A write that the outbox takes is answered as done. So its media type, its preconditions and every member of its body
must be such that the contract says what becomes of them; any other goes to the upstream, or waits for it to be back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

import orjson

from sidecar.contract import Action, Endpoint, Resource
from sidecar.http.messages import Request

CONDITIONS: Final = ("if-match", "if-none-match", "if-unmodified-since", "if-modified-since", "if-range")
EXACT: Final = 2**53
"""Beyond it numbers in JSON are not the same to everybody."""
_OURS: Final = frozenset(("$ref", "x-understudy-resource"))


def fault(endpoint: Endpoint, resource: Resource, request: Request, needed: Collection[str] = ()) -> str | None:
    """Why the write cannot be accepted, in one word for the problem's `reason`; None: it can.

    `needed`: fields without which the upstream was seen to refuse such a write.
    """
    if request.method != endpoint.method:
        return "method_override"
    if any(request.header(name) is not None for name in CONDITIONS):
        return "precondition"
    if request.header("content-encoding") is not None or request.header("content-range") is not None:
        return "content_coding"
    if request.query:
        return "unknown_query"
    if endpoint.action is Action.DELETE:
        return "unexpected_body" if request.body else None
    return _media_fault(endpoint, request) or _body_fault(endpoint, resource, request.body, needed)


def _media_fault(endpoint: Endpoint, request: Request) -> str | None:
    media, _, rest = (request.header("content-type") or "").partition(";")
    media = media.strip().lower()
    accepted = endpoint.accepts or frozenset(("application/json",))
    if media not in accepted or not (media == "application/json" or media.endswith("+json")):
        return "media_type"
    named = dict(part.strip().lower().partition("=")[::2] for part in rest.split(";") if part.strip())
    return None if set(named) <= {"charset"} and named.get("charset", "utf-8").strip('"') == "utf-8" else "media_type"


def _body_fault(endpoint: Endpoint, resource: Resource, body: bytes, needed: Collection[str]) -> str | None:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "unreadable"
    if not isinstance(value, dict):
        return "unreadable"
    if not value:
        return "empty_body"
    schemas = endpoint.takes or resource.schemas
    if schemas and not value.keys() <= schemas.keys():
        return "unknown_field"  # also a body wrapped in the record's name
    if resource.id_field in value:
        return "chosen_id"
    if endpoint.action is Action.CREATE or endpoint.method == "PUT":
        required = endpoint.takes_required | set(needed)
        if endpoint.action is Action.CREATE:
            required |= resource.required - _generated(resource)
        if any(value.get(name) in (None, "") for name in required & (schemas.keys() or required)):
            return "required_field"
    elif any(name in value and value[name] in (None, "") for name in needed):
        return "required_field"
    for name, sent in value.items():
        if sent is None and "null" in _types(resource.schemas.get(name, {})) | resource.fields.get(name, frozenset()):
            continue
        if not fits(schemas.get(name, {}), sent):
            return "invalid_field"
    return None


def _generated(resource: Resource) -> set[str | None]:
    return {resource.id_field, resource.created_field, resource.updated_field, resource.url_field}


def fits(schema: Mapping[str, Any], value: Any) -> bool:
    """Whether a value is one that the schema means, exactly: what would have to be cast is not.

    A schema that says nothing of the value lets plain values through, and nothing nested.
    """
    if _OURS & schema.keys():
        return False
    if not all(fits(part, value) for part in schema.get("allOf", ())):
        return False
    if "anyOf" in schema and not any(fits(part, value) for part in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(fits(part, value) for part in schema["oneOf"]) != 1:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "const" in schema and value != schema["const"]:
        return False
    kinds = _types(schema)
    if kinds and not any(_IS[kind](value) for kind in kinds if kind in _IS):
        return False
    if isinstance(value, str):
        return _text_fits(schema, value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number_fits(schema, value)
    if isinstance(value, list):
        return "array" in kinds and all(fits(schema.get("items", {}), each) for each in value)
    if isinstance(value, dict):
        members = schema.get("properties", {})
        return bool(members) and value.keys() <= members.keys() and all(fits(members[n], v) for n, v in value.items())
    return True


_IS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def _types(schema: Mapping[str, Any]) -> frozenset[str]:
    kinds = schema.get("type", ())
    return frozenset([kinds] if isinstance(kinds, str) else kinds)


def _text_fits(schema: Mapping[str, Any], value: str) -> bool:
    if "\0" in value or not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        return False
    pattern = schema.get("pattern")
    if pattern is not None and re.search(pattern, value) is None:
        return False
    known = _FORMATS.get(schema.get("format", ""))
    try:
        return known is None or known(value)
    except ValueError:
        return False


def _number_fits(schema: Mapping[str, Any], value: float) -> bool:
    if not abs(value) <= EXACT:  # neither too large, nor not a number
        return False
    if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return False
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        return False
    return not ("exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"])


_FORMATS: Final[Mapping[str, Callable[[str], bool]]] = {
    "date": lambda value: date.fromisoformat(value).isoformat() == value,
    "date-time": lambda value: datetime.fromisoformat(value).tzinfo is not None,
    "uuid": lambda value: str(UUID(value)) == value.lower(),
}


def learn_needed(resource: Resource, sent: Mapping[str, Any], refusal: Any) -> set[str]:
    """The fields that a refusal demands: those that it names and that were not given. `refusal`: its JSON body, as
    `{"name": ["can't be blank"]}` or with `errors` around it; `{"patient": ["must exist"]}` means `patient_id`."""
    told = refusal.get("errors", refusal) if isinstance(refusal, dict) else None
    if not isinstance(told, dict):
        return set()
    named = {name if name in resource.schemas else f"{name}_id" for name, words in told.items() if words}
    return {name for name in named & resource.schemas.keys() if sent.get(name) in (None, "", [])}
