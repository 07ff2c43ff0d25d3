"""A contract compiled: which endpoint a request means, and what each endpoint and resource is.

Promises: matching takes time in proportion to the path's length, not to the number of endpoints; nothing here knows any
API by name; a contract that does not hold together is refused when it is loaded, by the key at fault.

The keys that we add to OpenAPI 3.1:

On an operation: `x-understudy-resource` (what it acts on), `x-understudy-action` (list, read, create, update, delete,
call), `x-understudy-self: true` (a read of the caller's own record), `x-understudy-pure: true` (a call whose answer
depends on its input alone, so that it may be sent twice), `x-understudy-store-result` (of a call: the resource that
its result is stored as, with STORE_RESULTS, and the fields that take title, body, subject and author).

On a schema: `x-understudy-resource` (it is a whole record of that resource), `x-understudy-id`, `x-understudy-order`
(of a list: field names, `-` for descending), `x-understudy-visibility` (everyone, caller), `x-understudy-references`
(field: resource), `x-understudy-url` (the field with the record's absolute URL), `x-understudy-username` (the field by
which its person signs in), `x-understudy-subject` (the field that holds the id of the record an audit is about),
`x-understudy-created` and `x-understudy-updated` (the fields with the record's times, ISO 8601).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from importlib import resources as package_files
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import yaml

LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where PyYAML has it: each process reads the contract as it starts."""
METHODS: Final = ("get", "post", "patch", "put", "delete", "options", "head", "trace")


class ContractError(ValueError):
    """The contract cannot be used; the message names the file and the key."""


class Action(StrEnum):
    """What an endpoint does to its resource."""

    LIST = "list"
    READ = "read"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    CALL = "call"

    @property
    def writes(self) -> bool:
        return self in (Action.CREATE, Action.UPDATE, Action.DELETE)


@dataclass(frozen=True)
class Endpoint:
    """One operation of the contract: the unit of health, takeover, objectives and policy."""

    id: str
    name: str
    method: str
    template: str
    action: Action
    resource: str | None = None
    pure: bool = False
    own: bool = False
    public: bool = False
    filters: tuple[str, ...] = ()
    success: tuple[int, ...] = ()
    body_kind: str = "any"
    """What a 2xx answer's JSON is at its top: array, object or any."""
    required: frozenset[str] = frozenset()
    """Members that the answer's object must have."""
    media: str = "application/json"
    takes_secrets: bool = False
    id_param: str | None = None
    numbers: frozenset[str] = frozenset()
    """Path parameters that are integers."""
    accepts: frozenset[str] = frozenset()
    """Media types of the request's body; none: the contract does not say."""
    takes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The members of the body's object, with their schemas; none: the contract does not say."""
    takes_required: frozenset[str] = frozenset()
    """Members that the body's object must have."""
    stores: Mapping[str, str] = field(default_factory=dict)
    """Where its result is stored: resource, the fields title, body, subject and author, and what it is called."""

    @property
    def safe(self) -> bool:
        return self.method == "GET"

    @property
    def repeatable(self) -> bool:
        """Whether sending it a second time changes nothing."""
        return self.safe or self.pure


@dataclass(frozen=True)
class Resource:
    """One kind of record that endpoints act on."""

    name: str
    id_field: str = "id"
    references: Mapping[str, str] = field(default_factory=dict)
    order: tuple[tuple[str, bool], ...] = ()
    """Fields with whether they descend."""
    visibility: str = "caller"
    url_field: str | None = None
    secrets: frozenset[str] = frozenset()
    username_field: str | None = None
    subject_field: str | None = None
    required: frozenset[str] = frozenset()
    list_matches_read: bool = False
    """Whether the items of its list are whole records."""
    fields: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """A whole record's fields, in the contract's order, with their JSON types."""
    schemas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The schemas of its fields; as they are sent, where they can be."""
    writable: frozenset[str] = frozenset()
    """Fields that creates and updates take; none: the contract does not say."""
    created_field: str | None = None
    updated_field: str | None = None
    path: str = ""
    """The template of a record's own path, with `{}` for the id."""


@dataclass(frozen=True)
class Match:
    """What a request means. `endpoint` is None outside the contract; `allowed` are the methods of a known path."""

    endpoint: Endpoint | None
    params: Mapping[str, str] = field(default_factory=dict)
    known_path: bool = False
    allowed: tuple[str, ...] = ()

    @property
    def record_id(self) -> str | None:
        """The id of the record that the path names."""
        return self.params.get(self.endpoint.id_param) if self.endpoint and self.endpoint.id_param else None


OUTSIDE: Final = Match(None)
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass
class _Node:
    """A step of the path: fixed children by name, one parameter child, and the operations that end here."""

    fixed: dict[str, _Node] = field(default_factory=dict)
    param: _Node | None = None
    operations: dict[str, tuple[Endpoint, tuple[str, ...]]] = field(default_factory=dict)

    @cached_property
    def allowed(self) -> tuple[str, ...]:
        """The methods that are answered here."""
        return tuple(sorted({*self.operations, *(("HEAD",) if "GET" in self.operations else ()), "OPTIONS"}))


class Contract:
    """A compiled OpenAPI document."""

    def __init__(self, name: str, document: Mapping[str, Any]) -> None:
        self.name = name
        self._document = document
        self.resources: dict[str, Resource] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self._root = _Node()
        self._whole: dict[str, str] = {}
        schemas = document.get("components", {}).get("schemas", {})
        self.secrets: frozenset[str] = frozenset({*_secret_fields(schemas), *self._secrets_sent()})
        """Names that hold secrets, wherever they occur."""
        for schema_name, schema in document.get("components", {}).get("schemas", {}).items():
            if "x-understudy-resource" in schema:
                self._add_resource(schema_name, schema)
        for template, item in document.get("paths", {}).items():
            for method in METHODS:
                if method in item:
                    self._add_endpoint(template, method.upper(), item[method], item.get("parameters", []))
        self._by_action = {
            (endpoint.resource, endpoint.action): endpoint
            for endpoint in reversed(self.endpoints.values())
            if not endpoint.own
        }
        self._check()

    @classmethod
    def load(cls, name_or_path: str) -> Contract:
        """The shipped contract of that name, or the one in that file. Raises ContractError."""
        shipped = package_files.files("sidecar") / "contracts" / f"{name_or_path}.yaml"
        path = Path(name_or_path)
        try:
            text = shipped.read_text() if "/" not in name_or_path and shipped.is_file() else path.read_text()
        except OSError as error:
            raise ContractError(f"contract {name_or_path}: {error.strerror}; give a shipped name or a path") from None
        try:
            document = yaml.load(text, Loader=LOADER)  # nosec B506: a safe one
        except yaml.YAMLError as error:
            raise ContractError(f"{name_or_path}: {' '.join(str(error).split())}") from None
        if not isinstance(document, dict) or not str(document.get("openapi", "")).startswith("3.1"):
            raise ContractError(f"{name_or_path}: openapi: expected an OpenAPI 3.1 document")
        return cls(path.stem, document)

    def match(self, method: str, raw_path: str) -> Match:
        """The endpoint that a request means.

        `raw_path` is the path as received, percent-encoded, without its query. A trailing `.json` is a format and not
        part of an id; HEAD means GET. An encoded slash stays inside its segment, and a path that does not decode to
        UTF-8, or holds `.` or `..` segments, is outside the contract, as are `//`, a trailing slash but for one, and a
        number that is not written plainly: who knows which record `/notes/017x` is to the upstream.
        """
        segments = _segments(raw_path)
        if segments is None:
            return OUTSIDE
        found = _descend(self._root, segments, ())
        if found is None:
            return OUTSIDE
        node, values = found
        operation = node.operations.get("GET" if method == "HEAD" else method)
        if operation is None:
            return Match(None, {}, True, node.allowed)
        endpoint, names = operation
        if any(
            name in endpoint.numbers and not _NUMBER.fullmatch(value) for name, value in zip(names, values, strict=True)
        ):
            return OUTSIDE
        return Match(endpoint, dict(zip(names, values, strict=True)), True, node.allowed)

    def endpoint_for(self, resource: str, action: Action) -> Endpoint | None:
        """The endpoint that does that to the resource (the first declared, where several do)."""
        return self._by_action.get((resource, action))

    def subject(self, match: Match, body: Any) -> str | None:
        """The id of the record that an audit is about, from the path or else from a record in the JSON body."""
        if match.endpoint is None or match.endpoint.resource is None:
            return None
        resource = self.resources[match.endpoint.resource]
        if resource.subject_field is None:
            return None
        if resource.subject_field == resource.id_field and match.record_id is not None:
            return match.record_id
        value = body.get(resource.subject_field) if isinstance(body, dict) else None
        return str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else None

    def _add_resource(self, schema_name: str, schema: Mapping[str, Any]) -> None:
        name = str(schema["x-understudy-resource"])
        visibility = schema.get("x-understudy-visibility", "caller")
        if visibility not in ("everyone", "caller"):
            raise self._error(f"schemas.{schema_name}.x-understudy-visibility", "everyone or caller", visibility)
        self._whole[f"#/components/schemas/{schema_name}"] = name
        self.resources[name] = Resource(
            name=name,
            id_field=schema.get("x-understudy-id", "id"),
            references=dict(schema.get("x-understudy-references", {})),
            order=tuple((key.lstrip("-"), key.startswith("-")) for key in schema.get("x-understudy-order", [])),
            visibility=visibility,
            url_field=schema.get("x-understudy-url"),
            username_field=schema.get("x-understudy-username"),
            subject_field=schema.get("x-understudy-subject"),
            required=frozenset(schema.get("required", [])),
            secrets=self.secrets,
            list_matches_read=self._list_is_whole(name),
            fields={name: _types(declared) for name, declared in schema.get("properties", {}).items()},
            schemas={**schema.get("properties", {}), **dict(self._writable_of(name))},
            writable=frozenset(n for n, _ in self._writable_of(name)),
            created_field=schema.get("x-understudy-created"),
            updated_field=schema.get("x-understudy-updated"),
            path=self._path_of(name),
        )

    def _add_endpoint(self, template: str, method: str, operation: Mapping[str, Any], shared: list[Any]) -> None:
        where = f"paths.{template}.{method.lower()}"
        if "operationId" not in operation:
            raise self._error(f"{where}.operationId", "an id", None)
        try:
            action = Action(operation.get("x-understudy-action", "call"))
        except ValueError:
            expected = ", ".join(Action)
            raise self._error(f"{where}.x-understudy-action", expected, operation["x-understudy-action"]) from None
        names = tuple(part[1:-1] for part in template.split("/") if part.startswith("{"))
        parameters = [self._resolve(parameter) for parameter in [*shared, *operation.get("parameters", [])]]
        media, schema = self._answer(operation)
        accepts = self._resolve(operation.get("requestBody", {})).get("content", {})
        sent = [content.get("schema", {}) for content in accepts.values()]
        endpoint = Endpoint(
            id=str(operation["operationId"]),
            name=f"{method} {template}",
            method=method,
            template=template,
            action=action,
            resource=operation.get("x-understudy-resource"),
            pure=bool(operation.get("x-understudy-pure", False)),
            own=bool(operation.get("x-understudy-self", False)),
            public=operation.get("security", self._document.get("security")) in ([], None),
            filters=tuple(p["name"] for p in parameters if p["in"] == "query") if action is Action.LIST else (),
            success=tuple(int(code) for code in operation.get("responses", {}) if str(code).startswith("2")),
            body_kind=str(schema.get("type")) if schema.get("type") in ("array", "object") else "any",
            required=frozenset(schema.get("required", [])) if schema.get("type") == "object" else frozenset(),
            media=media,
            takes_secrets=any(_secret_fields({"sent": self._resolve(part)}) for part in sent),
            id_param=names[0] if names else None,
            numbers=frozenset(p["name"] for p in parameters if p.get("schema", {}).get("type") == "integer"),
            accepts=frozenset(media.lower() for media in accepts),
            takes=self._takes(sent),
            takes_required=frozenset(self._resolve(sent[0]).get("required", [])) if sent else frozenset(),
            stores=self._stores(where, operation),
        )
        if endpoint.id in self.endpoints:
            raise self._error(f"{where}.operationId", "an id of its own", endpoint.id)
        self.endpoints[endpoint.id] = endpoint
        node = self._root
        for part in _split(template):
            if part.startswith("{"):
                node.param = node.param or _Node()
                node = node.param
            else:
                node = node.fixed.setdefault(part, _Node())
        node.operations[method] = (endpoint, names)

    def _takes(self, sent: list[Any]) -> dict[str, Mapping[str, Any]]:
        members = self._resolve(sent[0]).get("properties", {}) if sent else {}
        return {name: self._resolve(schema) for name, schema in members.items()}

    def _stores(self, where: str, operation: Mapping[str, Any]) -> Mapping[str, str]:
        given = operation.get("x-understudy-store-result", {})
        for key in ("resource", "title", "body", "subject", "author", "called") if given else ():
            if not isinstance(given.get(key), str):
                raise self._error(f"{where}.x-understudy-store-result.{key}", "text", given.get(key))
        return dict(given)

    def _answer(self, operation: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """The media type and resolved schema of the first 2xx answer that has a body."""
        for code, response in operation.get("responses", {}).items():
            if str(code).startswith("2"):
                for media, content in self._resolve(response).get("content", {}).items():
                    return media, self._resolve(content.get("schema", {}))
        return "application/json", {}

    def _operations_of(self, resource: str, action: str) -> Iterator[Mapping[str, Any]]:
        for item in self._document.get("paths", {}).values():
            for method in METHODS:
                operation = item.get(method, {})
                if (operation.get("x-understudy-resource"), operation.get("x-understudy-action")) == (resource, action):
                    yield operation

    def _secrets_sent(self) -> Iterator[str]:
        for item in self._document.get("paths", {}).values():
            for method in METHODS:
                body = self._resolve(item.get(method, {}).get("requestBody", {}))
                for content in body.get("content", {}).values():
                    yield from _secret_fields({"sent": self._resolve(content.get("schema", {}))})

    def _writable_of(self, resource: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for action in ("create", "update"):
            for operation in self._operations_of(resource, action):
                for content in self._resolve(operation.get("requestBody", {})).get("content", {}).values():
                    members = self._resolve(content.get("schema", {})).get("properties", {})
                    yield from ((member, self._resolve(declared)) for member, declared in members.items())

    def _path_of(self, resource: str) -> str:
        for template, item in self._document.get("paths", {}).items():
            operation = item.get("get", {})
            named = (operation.get("x-understudy-resource"), operation.get("x-understudy-action")) == (resource, "read")
            if named and template.count("{") == 1:
                return re.sub(r"\{.*?\}", "{}", template)
        return ""

    def _list_is_whole(self, resource: str) -> bool:
        for operation in self._operations_of(resource, "list"):
            for code, response in operation.get("responses", {}).items():
                content = self._resolve(response).get("content", {}) if str(code).startswith("2") else {}
                for media in content.values():
                    reference = media.get("schema", {}).get("items", {}).get("$ref")
                    return self._whole.get(reference) == resource
        return False

    def _resolve(self, value: Any) -> Any:
        """Follows a local `$ref`."""
        for _ in range(16):
            if not isinstance(value, dict) or "$ref" not in value:
                return value
            reference, target = value["$ref"], self._document
            for step in reference.removeprefix("#/").split("/"):
                if step not in target:
                    raise self._error(reference, "a definition", None)
                target = target[step]
            value = target
        raise self._error(str(value), "references that end", "a circle")

    def _check(self) -> None:
        for endpoint in self.endpoints.values():
            if endpoint.action is not Action.CALL and endpoint.resource is None:
                raise self._error(f"{endpoint.id}.x-understudy-resource", "the resource it acts on", None)
            if endpoint.resource is not None and endpoint.resource not in self.resources:
                raise self._error(f"{endpoint.id}.x-understudy-resource", "a schema's resource", endpoint.resource)
            if endpoint.action in (Action.UPDATE, Action.DELETE) and endpoint.id_param is None:
                raise self._error(f"{endpoint.id}", "a path with the record's id", endpoint.template)
        for resource in self.resources.values():
            for key, target in resource.references.items():
                if target not in self.resources:
                    raise self._error(f"{resource.name}.x-understudy-references.{key}", "a resource", target)

    def _error(self, key: str, expected: str, found: object) -> ContractError:
        return ContractError(f"{self.name}: {key}: expected {expected}; found {'nothing' if found is None else found}")


def _secret_fields(schemas: Mapping[str, Any]) -> set[str]:
    """Names of properties with `format: password`."""
    return {
        name
        for schema in schemas.values()
        if isinstance(schema, dict)
        for name, declared in schema.get("properties", {}).items()
        if isinstance(declared, dict) and declared.get("format") == "password"
    }


def _types(declared: Any) -> frozenset[str]:
    kinds = declared.get("type", ()) if isinstance(declared, dict) else ()
    return frozenset([kinds] if isinstance(kinds, str) else kinds)


def _split(path: str) -> list[str]:
    return path.strip("/").split("/") if path.strip("/") else []


def _segments(raw_path: str) -> list[str] | None:
    """The decoded segments of a path, or None for one that no endpoint can have."""
    if not raw_path.startswith("/"):
        return None
    trimmed = raw_path.removesuffix("/") if len(raw_path) > 1 else raw_path
    if trimmed.endswith(".json"):
        trimmed = trimmed.removesuffix(".json")
    segments = []
    for part in trimmed.split("/")[1:] if trimmed != "/" else ():
        try:
            decoded = unquote_to_bytes(part).decode() if "%" in part else part
        except UnicodeDecodeError:
            return None
        if decoded in ("", ".", "..") or "\0" in decoded or not decoded.isprintable():
            return None
        segments.append(decoded)
    return segments


def _descend(node: _Node, segments: list[str], values: tuple[str, ...]) -> tuple[_Node, tuple[str, ...]] | None:
    """The node a path ends at; a fixed segment is preferred to a parameter, which is tried when it leads nowhere."""
    if not segments:
        return (node, values) if node.operations else None
    head, rest = segments[0], segments[1:]
    if head in node.fixed:
        found = _descend(node.fixed[head], rest, values)
        if found is not None:
            return found
    return _descend(node.param, rest, (*values, head)) if node.param is not None else None
