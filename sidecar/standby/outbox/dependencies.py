# pure
"""Which writes must keep their order: those about the same record, those that refer to it or lie under it in the path,
and those of the person whose credentials another makes. Nothing else waits for anything.

A write holds keys, shared or alone. It waits for an earlier one that holds the same key, unless both share it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from rpds import HashTrieMap

from sidecar.contract import Action, Contract, Endpoint
from sidecar.standby.outbox.overlay import provisional

Key = tuple[str, str, str]
"""(what of it: exists, content or person; resource; id)."""
Real = Callable[[str, str], "str | None"]
"""(resource, provisional id) → the real one, or None while nobody knows."""


@dataclass(frozen=True)
class Needs:
    """What a write depends on. `missing`: a record that is not there yet. `binding`: later ones wait for it."""

    alone: frozenset[Key]
    shared: frozenset[Key]
    missing: bool = False
    binding: bool = True


@dataclass
class Held:
    """What the writes before hold."""

    alone: set[Key] = field(default_factory=set)
    shared: set[Key] = field(default_factory=set)

    def add(self, needs: Needs) -> None:
        if needs.binding:
            self.alone |= needs.alone
            self.shared |= needs.shared

    def stops(self, needs: Needs) -> bool:
        """Whether a write with these needs must wait."""
        if needs.missing or not self.alone.isdisjoint(needs.alone | needs.shared):
            return True
        return not self.shared.isdisjoint(needs.alone)


@dataclass(frozen=True)
class Holds:
    """The same of writes that come and go, as a value: how many hold each key."""

    alone: Any = field(default_factory=HashTrieMap)
    shared: Any = field(default_factory=HashTrieMap)

    def plus(self, needs: Needs) -> Holds:
        return self._changed(needs, 1) if needs.binding else self

    def minus(self, needs: Needs) -> Holds:
        return self._changed(needs, -1) if needs.binding else self

    def stops(self, needs: Needs) -> bool:
        """Whether a write with these needs must wait."""
        if needs.missing or any(key in self.alone for key in needs.alone | needs.shared):
            return True
        return any(key in self.shared for key in needs.alone)

    def _changed(self, needs: Needs, by: int) -> Holds:
        return Holds(_counted(self.alone, needs.alone, by), _counted(self.shared, needs.shared, by))


def _counted(counts: Any, keys: Iterable[Key], by: int) -> Any:
    for key in keys:
        left = counts.get(key, 0) + by
        counts = counts.insert(key, left) if left else counts.discard(key)
    return counts


def of_write(
    contract: Contract, endpoint: Endpoint, record: str | None, params: Mapping[str, str], fields: Mapping[str, Any],
    user: str | None, people: Iterable[object], real: Real,
) -> Needs:  # fmt: skip
    """The needs of a write. `params`: those of its path; `people`: the user names that its record has and gets."""
    resource = contract.resources[endpoint.resource or ""]
    alone: set[Key] = set()
    shared: set[Key] = set()
    missing = False
    if record is not None:
        known = real(resource.name, record) or record
        missing |= endpoint.action is not Action.CREATE and provisional(known)
        exists = ("exists", resource.name, known)
        if endpoint.action is Action.UPDATE:
            shared.add(exists)
            alone.add(("content", resource.name, known))
        else:
            alone.add(exists)
    named = [(target, fields.get(name)) for name, target in resource.references.items()]
    named += [(target, params.get(name)) for name, target in _parents(contract, endpoint).items()]
    for target, value in named:
        if value is None or value == "":
            continue
        known = real(target, str(value)) or str(value)
        missing |= provisional(known)
        shared.add(("exists", target, known))
    if resource.username_field is not None:
        alone |= {("person", "", name) for name in people if isinstance(name, str) and name}
    if user is not None:
        shared.add(("person", "", user))
    return Needs(frozenset(alone), frozenset(shared - alone), missing)


def of_entry(contract: Contract, row: Any, real: Real) -> Needs:
    """The needs of an entry of the outbox. One whose endpoint the contract has lost waits for a person: until then it
    holds its own record."""
    endpoint = contract.endpoints.get(row.endpoint)
    if endpoint is None or endpoint.resource is None:
        return Needs(frozenset({("exists", row.type, real(row.type, row.record) or row.record)}), frozenset())
    fields = orjson.loads(row.fields)
    base = orjson.loads(row.base) if row.base else {}
    name = contract.resources[row.type].username_field or ""
    params = contract.match(endpoint.method, row.target.partition("?")[0]).params
    people = (fields.get(name), base.get(name))
    needs = of_write(contract, endpoint, row.record, params, fields, row.user, people, real)
    if row.state != "parked":
        return needs
    # What is parked and took no effect holds up nobody, but for a create: what refers to its record waits for that.
    shared = frozenset(key for key in needs.shared if key[0] != "person")
    return replace(needs, shared=shared, binding=bool(row.sent or row.action == Action.CREATE))


def _parents(contract: Contract, endpoint: Endpoint) -> Mapping[str, str]:
    """The parameters of the path that name other records, by the segment before them: `/patients/{id}/notes`."""
    parts = endpoint.template.strip("/").split("/")
    return {
        part[1:-1]: before
        for before, part in zip(parts, parts[1:], strict=False)
        if part.startswith("{") and before in contract.resources and before != endpoint.resource
    }
