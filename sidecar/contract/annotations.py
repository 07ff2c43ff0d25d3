# pure
"""The keys that we add to OpenAPI 3.1, compiled into endpoints and resources; one that cannot hold is told by its name.

On an operation: `x-understudy-resource` (what it acts on), `x-understudy-action` (list, read, create, update, delete,
call), `x-understudy-self: true` (a read of the caller's own record), `x-understudy-pure: true` (a call whose answer
depends on its input alone, so that it may be sent twice), `x-understudy-store-result` (of a call: the resource that
its result is stored as, with STORE_RESULTS, and the fields that take title, body, subject and author).

On a schema: `x-understudy-resource` (it is a whole record of that resource), `x-understudy-id`, `x-understudy-order`
(of a list: field names, `-` for descending), `x-understudy-visibility` (everyone, caller), `x-understudy-references`
(field: resource), `x-understudy-url` (the field with the record's absolute URL), `x-understudy-username` (the field by
which its person signs in), `x-understudy-subject` (the field that holds the id of the record an audit is about),
`x-understudy-created` and `x-understudy-updated` (the fields with the record's times, ISO 8601), `x-understudy-own`
(fields that nothing but a write to the record itself changes, though writes do not name them, or they hold more than
plain values: any other such field may be a copy or a count of other records, and is doubted once anything is written).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sidecar.contract.model import NOTHING, Action, ContractError, Endpoint, Resource
from sidecar.contract.parts import Part
from sidecar.contract.router import parameters, steps

METHODS: Final = ("get", "post", "patch", "put", "delete", "options", "head", "trace")
VISIBILITIES: Final = ("everyone", "caller")
STORED: Final = ("resource", "title", "body", "subject", "author", "called")
NOT_PARAMETERS: Final = frozenset(("accept", "content-type", "authorization"))
"""Header parameters that OpenAPI says are to be ignored."""
SUCCESS: Final = re.compile(r"2[0-9]{2}", re.ASCII)


class Annotations:
    """What a document says, and what our keys add. Raises ContractError where it does not hold together."""

    def __init__(self, name: str, document: Mapping[str, Any]) -> None:
        self._root = Part(name, document, document)
        self._paths = {key: item for key, item in self._root.members("paths").items() if not key.startswith("x-")}
        self._schemas = {
            key: schema.mapping()
            for key, schema in self._root.member("components").members("schemas").items()
            if not isinstance(schema.value, bool)
        }
        self._whole = {
            f"#/components/schemas/{key}": resource
            for key, schema in self._schemas.items()
            if (resource := schema.text("x-understudy-resource")) is not None
        }
        self._operations = tuple(self._all_operations())
        self.secrets: frozenset[str] = frozenset(self._secrets())
        """Names that hold secrets, wherever they occur."""
        self.schemes: Mapping[str, Any] = {
            name: scheme.mapping().value
            for name, scheme in self._root.member("components").members("securitySchemes").items()
        }
        """How callers say who they are: OpenAPI's security schemes."""
        self.resources: dict[str, Resource] = {}
        for schema in self._schemas.values():
            if (resource := schema.text("x-understudy-resource")) is not None:
                self.resources[resource] = self._resource(resource, schema)
        self.endpoints: dict[str, Endpoint] = {}
        for template, item, operation, method in self._operations:
            endpoint = self._endpoint(template, item, operation, method)
            if endpoint.id in self.endpoints:
                raise ContractError(name, f"{operation.key}.operationId", "an id of its own", endpoint.id)
            self._check(endpoint, operation)
            self.endpoints[endpoint.id] = endpoint

    def _resource(self, name: str, schema: Part) -> Resource:
        visibility = schema.text("x-understudy-visibility") or "caller"
        if visibility not in VISIBILITIES:
            raise ContractError(
                schema.name, f"{schema.key}.x-understudy-visibility", " or ".join(VISIBILITIES), visibility
            )
        references = schema.table("x-understudy-references")
        for key, target in references.items():
            if target not in self._whole.values():
                raise ContractError(schema.name, f"{schema.key}.x-understudy-references.{key}", "a resource", target)
        return Resource(
            name=name,
            id_field=schema.text("x-understudy-id") or "id",
            references=references,
            order=tuple((key.lstrip("-"), key.startswith("-")) for key in schema.texts("x-understudy-order")),
            visibility=visibility,
            url_field=schema.text("x-understudy-url"),
            username_field=schema.text("x-understudy-username"),
            subject_field=schema.text("x-understudy-subject"),
            required=frozenset(schema.texts("required")),
            secrets=self.secrets,
            list_matches_read=self._list_is_whole(name),
            fields={
                str(field): _types(schema, field, said) for field, said in schema.member("properties").value.items()
            },
            schemas={**_members(schema), **dict(self._writable(name))},
            writable=frozenset(field for field, _ in self._writable(name)),
            own=_own(schema, frozenset(field for field, _ in self._writable(name))),
            declared_own=_declared_own(schema),
            created_field=schema.text("x-understudy-created"),
            updated_field=schema.text("x-understudy-updated"),
            path=self._path(name),
        )

    def _endpoint(self, template: str, item: Part, operation: Part, method: str) -> Endpoint:
        action = _action(operation)
        given = [*item.elements("parameters"), *operation.elements("parameters")]
        found = [
            (each, each.needed("name", "a name"), each.needed("in", "path, query, header or cookie")) for each in given
        ]
        media, schema = _answer(operation)
        accepts = operation.member("requestBody").members("content")
        is_object = schema.value.get("type") == "object"
        sent = [content.schema() for content in accepts.values()]
        names = parameters(template)
        return Endpoint(
            id=operation.needed("operationId", "an id"),
            name=f"{method} {template}",
            method=method,
            template=template,
            action=action,
            resource=operation.text("x-understudy-resource"),
            pure=operation.flag("x-understudy-pure"),
            own=operation.flag("x-understudy-self"),
            public=not (operation if operation.has("security") else self._root).elements("security"),
            filters=tuple(name for _, name, place in found if place == "query") if action is Action.LIST else (),
            headers=frozenset(_field(name, place) for _, name, place in found if place in ("header", "cookie"))
            - NOT_PARAMETERS,
            success=tuple(int(code) for code, _ in _successes(operation)),
            body_kind=str(schema.value["type"]) if is_object or schema.value.get("type") == "array" else "any",
            required=frozenset(schema.texts("required")) if is_object else frozenset(),
            media=media,
            takes_secrets=any(True for part in sent for _ in _secret_fields(part)),
            id_param=_record_parameter(template, names),
            numbers=frozenset(name for each, name, _ in found if each.schema().value.get("type") == "integer"),
            accepts=frozenset(media.lower() for media in accepts),
            takes=_members(sent[0]) if sent else {},
            takes_required=frozenset(sent[0].texts("required")) if sent else frozenset(),
            stores=self._stores(operation),
        )

    def _check(self, endpoint: Endpoint, operation: Part) -> None:
        key = f"{operation.key}.x-understudy-resource"
        if endpoint.resource is None and endpoint.action is not Action.CALL:
            raise ContractError(operation.name, key, "the resource it acts on")
        if endpoint.resource is not None and endpoint.resource not in self.resources:
            raise ContractError(operation.name, key, "a schema's resource", endpoint.resource)
        if endpoint.action in (Action.UPDATE, Action.DELETE) and endpoint.id_param is None:
            raise ContractError(operation.name, operation.key, "a path with the record's id", endpoint.template)

    def _stores(self, operation: Part) -> Mapping[str, str]:
        given = operation.member("x-understudy-store-result")
        return {key: given.needed(key, "text") for key in STORED} if given.value else {}

    def _all_operations(self) -> Iterator[tuple[str, Part, Part, str]]:
        """Template, path item, operation, method."""
        for template, item in self._paths.items():
            if not template.startswith("/"):
                raise ContractError(item.name, item.key, "a path, which begins with /", template)
            for step in steps(template):
                if step.startswith("{") and not re.fullmatch(r"\{[^{}]+\}", step):
                    raise ContractError(item.name, item.key, "a parameter that is a whole step, {name}", step)
            operations = item.children()
            for method in METHODS:
                if method in operations:
                    yield template, item, operations[method].mapping(), method.upper()

    def _operations_of(self, resource: str, action: Action) -> Iterator[tuple[str, Part]]:
        for template, _, operation, _ in self._operations:
            if operation.text("x-understudy-resource") == resource and _action(operation) is action:
                yield template, operation

    def _secrets(self) -> Iterator[str]:
        for schema in self._schemas.values():
            yield from _secret_fields(schema)
        for _, _, operation, _ in self._operations:
            for content in operation.member("requestBody").members("content").values():
                yield from _secret_fields(content.schema())

    def _writable(self, resource: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for action in (Action.CREATE, Action.UPDATE):
            for _, operation in self._operations_of(resource, action):
                for content in operation.member("requestBody").members("content").values():
                    yield from _members(content.schema()).items()

    def _path(self, resource: str) -> str:
        """A record's own path: that of the read which names nothing but the record."""
        for template, operation in self._operations_of(resource, Action.READ):
            if operation.key.endswith(".get") and template.count("{") == 1:
                return re.sub(r"\{.*?\}", "{}", template)
        return ""

    def _list_is_whole(self, resource: str) -> bool:
        for _, operation in self._operations_of(resource, Action.LIST):
            for _, answer in _successes(operation):
                for content in answer.members("content").values():
                    return self._whole.get(str(content.schema().schema("items").reference)) == resource
        return False


def _action(operation: Part) -> Action:
    said = operation.text("x-understudy-action") or Action.CALL
    try:
        return Action(said)
    except ValueError:
        key = f"{operation.key}.x-understudy-action"
        raise ContractError(operation.name, key, ", ".join(Action), said) from None


def _successes(operation: Part) -> Iterator[tuple[str, Part]]:
    """The codes and answers of success. A range would not say which status a write is answered with."""
    for code, answer in operation.members("responses").items():
        if code.startswith("2"):
            if not SUCCESS.fullmatch(code):
                raise ContractError(operation.name, f"{operation.key}.responses.{code}", "a status, 200 to 299", code)
            yield code, answer.mapping()


def _answer(operation: Part) -> tuple[str, Part]:
    """The media type and schema of the first answer of success that has a body."""
    for _, answer in _successes(operation):
        for media, content in answer.members("content").items():
            return media, content.schema()
    return "application/json", Part(operation.name, {}, {}, operation.key)


def _secret_fields(schema: Part) -> Iterator[str]:
    """Names of properties with `format: password`, also by reference."""
    for name, declared in schema.members("properties").items():
        if isinstance(declared.value, dict) and declared.value.get("format") == "password":
            yield name


def _members(schema: Part) -> dict[str, Mapping[str, Any]]:
    """An object's members with their own schemas."""
    return {
        name: part.mapping().value
        for name, part in schema.member("properties").children().items()
        if isinstance(part.value, dict)
    }


def _record_parameter(template: str, names: tuple[str, ...]) -> str | None:
    """The parameter with the record's id: the one that the path ends with (`/owners/{owner}/pets/{id}`), else the
    first."""
    if not names:
        return None
    return names[-1] if template.rstrip("/").endswith("}") else names[0]


def _types(schema: Part, field: str, declared: Any) -> frozenset[str]:
    """A property's JSON types, where it names them itself."""
    said = declared.get("type", NOTHING) if isinstance(declared, dict) else NOTHING
    kinds = [] if said is NOTHING else [said] if isinstance(said, str) else said
    if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
        raise ContractError(schema.name, f"{schema.key}.properties.{field}.type", "a type, or a list of types", said)
    return frozenset(kinds)


def _field(name: str, place: str) -> str:
    return "cookie" if place == "cookie" else name.lower()


def _own(schema: Part, writable: frozenset[str]) -> frozenset[str]:
    """What writes set, or where the contract does not say, what is not only read; and what tells what record it is."""
    names = ("id", "url", "created", "updated", "username", "subject")
    roles = {schema.text(f"x-understudy-{name}") for name in names} - {None}
    given = {
        str(field) for field, said in schema.member("properties").value.items()
        if not (isinstance(said, dict) and said.get("readOnly"))
    }  # fmt: skip
    fixed = {*map(str, roles), *schema.table("x-understudy-references"), "id"}
    return frozenset(fixed | (writable or given) | _declared_own(schema))


def _declared_own(schema: Part) -> frozenset[str]:
    """Raises ContractError for what is no field."""
    names = frozenset(schema.texts("x-understudy-own"))
    unknown = sorted(names - schema.member("properties").value.keys())
    if unknown:
        raise ContractError(schema.name, f"{schema.key}.x-understudy-own", "fields of the record", unknown[0])
    return names
