# pure
"""What a contract says, compiled: endpoints, resources, and what a request means; and how it is told what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

NOTHING: Final = object()
"""What was found where there is nothing."""


class ContractError(ValueError):
    """A contract, or what stands beside it, cannot be used.

    The message names the culprit: `where` (a file, or a contract's name), the `key` in it (or its line), what was
    `expected` there and what was `found`.
    """

    def __init__(self, where: str, key: str, expected: str, found: object = NOTHING) -> None:
        super().__init__(f"{where}: {key}: expected {expected}; found {shown(found)}")
        self.where, self.key, self.expected, self.found = where, key, expected, found


def shown(found: object) -> str:
    """A value as a person who wrote it would know it again, cut short."""
    if found is NOTHING:
        return "nothing"
    if isinstance(found, Mapping):
        return "a mapping"
    if isinstance(found, (list, tuple)):
        return "a list"
    text = {None: "null", True: "true", False: "false"}.get(found) if found is None or isinstance(found, bool) else None
    said = " ".join(str(found).split()) if text is None else text
    return said if len(said) <= 80 else f"{said[:79]}…"


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
    headers: frozenset[str] = frozenset()
    """Header parameters, in lower case, and `cookie` where it has a cookie parameter: each may select other content."""
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
    own: frozenset[str] = frozenset()
    """Fields that nothing but a write to the record itself changes."""
    declared_own: frozenset[str] = frozenset()
    """Those of them that the contract names so, whatever they hold."""
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
