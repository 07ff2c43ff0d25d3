"""A contract compiled: which endpoint a request means, and what each endpoint and resource is.

Promises: matching takes time in proportion to the path's length, not to the number of endpoints; nothing here knows any
API by name; a contract that does not hold together is refused when it is loaded, by the key at fault. `annotations`
documents the keys that we add to OpenAPI.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from sidecar.contract.annotations import Annotations
from sidecar.contract.document import parsed, read, text_of
from sidecar.contract.model import NOTHING, OUTSIDE, Action, ContractError, Endpoint, Match, Resource
from sidecar.contract.router import Router

__all__ = ["NOTHING", "OUTSIDE", "Action", "Contract", "ContractError", "Endpoint", "Match", "Resource", "parsed"]

SHORT: Final = 200
"""Characters of a path up to which it is remembered what it means."""


class Contract:
    """A compiled OpenAPI document. Raises ContractError where it does not hold together."""

    def __init__(self, name: str, document: Mapping[str, Any]) -> None:
        said = Annotations(name, document)
        self.name = name
        self.resources = said.resources
        self.endpoints = said.endpoints
        self.secrets = said.secrets
        self.schemes = said.schemes
        """How callers say who they are: OpenAPI's security schemes, by name."""
        self._router = Router()
        for endpoint in self.endpoints.values():
            self._router.add(endpoint)
        self._again = lru_cache(maxsize=4096)(self._router.match)
        self._by_action = {
            (endpoint.resource, endpoint.action): endpoint
            for endpoint in reversed(self.endpoints.values())
            if not endpoint.own
        }

    @classmethod
    def load(cls, name_or_path: str) -> Contract:
        """The shipped contract of that name, or the one in that file; compiled once for as long as the file says the
        same. Raises ContractError."""
        return _compiled(name_or_path, text_of(name_or_path))

    def match(self, method: str, raw_path: str) -> Match:
        """The endpoint that a request means. `raw_path` is the path as received, without its query."""
        return self._again(method, raw_path) if len(raw_path) <= SHORT else self._router.match(method, raw_path)

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


@lru_cache(maxsize=4)
def _compiled(name_or_path: str, text: str) -> Contract:
    return Contract(*read(name_or_path, text))
