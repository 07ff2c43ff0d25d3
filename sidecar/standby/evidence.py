"""Evidence: the comparisons made for each derivation of each endpoint, and what follows from them.

Unproven, until PROOF comparisons on different inputs have agreed and no rival lives; refuted by one difference, which
undoes what was there. Shared by processes, and kept over restarts. What was said is never kept: differences are masked.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from math import inf
from typing import Any, Final

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Integer,
    String,
    Table,
    Text,
    bindparam,
    insert,
    select,
    update,
)

from sidecar.contract import Contract, Endpoint
from sidecar.standby import queries
from sidecar.standby.derivations import (
    APART,
    MISSING,
    PAGES,
    PLACES,
    SHARED,
    Comparison,
    by_write,
    places,
    rivals,
    room,
    settles,
)
from sidecar.storage.database import metadata
from sidecar.storage.remembered import remembered

MOST: Final = 64
"""Inputs remembered of a derivation, so that the same is not counted twice."""

evidence: Final = Table(
    "evidence",
    metadata,
    Column("endpoint", String(200), primary_key=True),
    Column("derivation", String(200), primary_key=True),
    Column("agreements", Integer, nullable=False),
    Column("inputs", Text, nullable=False),
    Column("told_apart", Text, nullable=False),
    Column("differences", Integer, nullable=False),
    Column("difference", Text),
    Column("refuted", Boolean, nullable=False),
    Column("at", BigInteger, nullable=False),
)
"""`agreements`, `inputs` (digests) and `told_apart` (rivals) since the last `difference`, which is masked; `at`: ns."""
_REACH: Final = "reach:"
_THIS: Final = (evidence.c.endpoint == bindparam("of")) & (evidence.c.derivation == bindparam("derived"))
_FIND: Final = remembered(select(evidence).where(_THIS))
_SET: Final = update(evidence).where(_THIS)
_ADD: Final = insert(evidence)


class State(StrEnum):
    """What the comparisons amount to."""

    UNPROVEN = "unproven"
    PROVEN = "proven"
    REFUTED = "refuted"


@dataclass(frozen=True, slots=True)
class Standing:
    """What was compared of one derivation. A value: `after` makes the next one."""

    agreements: int = 0
    inputs: tuple[str, ...] = ()
    told_apart: frozenset[str] = frozenset()
    differences: int = 0
    difference: str | None = None
    refuted: bool = False
    reach: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """By field the longest that was seen not to be cut, and in how many records it was exactly so long."""

    def after(self, seen: Comparison, proof: int) -> Standing:
        """With one more comparison. A difference undoes all that agreed before; enough agreement since undoes it."""
        if seen.difference is not None:
            return Standing(0, (), frozenset(), self.differences + 1, seen.difference, refuted=True)
        key = _digest(seen.input)
        again, most = key in self.inputs, max(MOST, proof)
        told, reach = self.told_apart | seen.told_apart, self._further(seen.reach, 0 if again else most)
        if again or self.agreements >= most:
            same = (told, reach) == (self.told_apart, self.reach)
            return self if same else replace(self, told_apart=told, reach=reach)
        agreed = self.agreements + 1
        refuted = self.refuted and agreed < proof
        inputs = (*self.inputs, key)
        return replace(self, agreements=agreed, inputs=inputs, told_apart=told, reach=reach, refuted=refuted)

    def _further(self, seen: Mapping[str, float], most: int) -> Mapping[str, tuple[int, int]]:
        """How far it reaches now; what is as long as the longest is counted up to `most`."""
        further = dict(self.reach)
        for name, size in seen.items():
            if size == inf or (name not in further and len(further) >= MOST):
                continue
            shown, (longest, times) = int(size), further.get(name, (0, 0))
            if shown > longest:
                further[name] = shown, 1
            elif shown == longest and times < most:
                further[name] = longest, times + 1
        return further

    def beyond(self, shown: Mapping[str, float], proof: int) -> str | None:
        """Of what a list shows of a record, the field that may be cut there: no longer one was seen that is not, nor
        PROOF that are just as long, as what is always of one length. None: it shows all."""
        for name, size in shown.items():
            longest, times = self.reach.get(name, (0, 0))
            if size > longest or (size == longest and times < proof):
                return name
        return None

    def has(self, asked: str) -> bool:
        """Whether this input was compared, and agreed."""
        return _digest(asked) in self.inputs

    def holds(self, proof: int, otherwise: Collection[str]) -> bool:
        """Whether an answer may be given of which these rivals would give another."""
        return not self.refuted and self.agreements >= proof and self.told_apart.issuperset(otherwise)

    def state(self, proof: int, every_rival: Collection[str]) -> State:
        if self.refuted:
            return State.REFUTED
        return State.PROVEN if self.holds(proof, every_rival) else State.UNPROVEN


NOTHING: Final = Standing()


def _digest(asked: str) -> str:
    return sha256(asked.encode()).hexdigest()[:16]


def standing(connection: Connection, endpoint: str, derivation: str) -> Standing:
    """What was compared so far."""
    row = connection.execute(_FIND, {"of": endpoint, "derived": derivation}).one_or_none()
    return NOTHING if row is None else _standing(row)


def note(connection: Connection, endpoint: str, comparisons: Iterable[Comparison], proof: int) -> list[str]:
    """Keeps comparisons. Returns the derivations that they have refuted."""
    refuted = []
    for seen in comparisons:
        before = standing(connection, endpoint, seen.derivation)
        now = before.after(seen, proof)
        if now is before:
            continue
        if now.refuted and not before.refuted:
            refuted.append(seen.derivation)
        row: dict[str, Any] = {
            "agreements": now.agreements,
            "inputs": orjson.dumps(now.inputs).decode(),
            "told_apart": orjson.dumps(sorted([*now.told_apart, *_written(now.reach)])).decode(),
            "differences": now.differences,
            "difference": now.difference,
            "refuted": now.refuted,
            "at": time.time_ns(),
        }
        if connection.execute(_SET, {**row, "of": endpoint, "derived": seen.derivation}).rowcount == 0:
            connection.execute(_ADD, {**row, "endpoint": endpoint, "derivation": seen.derivation})
    return refuted


def every(connection: Connection) -> dict[tuple[str, str], Standing]:
    """All that was compared, by endpoint and derivation."""
    return {(row.endpoint, row.derivation): _standing(row) for row in connection.execute(select(evidence))}


def told(
    contract: Contract, endpoint: Endpoint, found: dict[tuple[str, str], Standing], proof: int,
    known: Collection[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """For people: of each derivation its state, agreements, living rivals with what would settle each, and the last
    difference. What was compared per caller is left out, as are rivals for which there is no room between the ids that
    are `known`."""
    resource = contract.resources.get(endpoint.resource or "")
    rows, left_out = {}, room(known)
    told_apart = found.get((endpoint.id, MISSING), NOTHING).told_apart
    few = {PLACES[name]: count for name, count in places(known, left_out, told_apart, proof).items()}
    for (of, derivation), seen in sorted(found.items()):
        needed = few.get(derivation, 0 if derivation in PLACES.values() else proof)
        if of != endpoint.id or derivation.startswith("shared:") or not needed:
            continue
        names = [name for name in rivals(resource, derivation) if name not in PAGES or name in left_out]
        living = [name for name in names if name not in seen.told_apart]
        rows[derivation] = {
            "state": seen.state(needed, names),
            "agreements": seen.agreements,
            "needed": needed,
            "rivals": [{"name": name, "settled_by": settles(name)} for name in living],
            "told_apart": sorted(seen.told_apart),
            "differences": seen.differences,
            "last_difference": seen.difference,
        }
    return rows


def of_resource(
    contract: Contract, found: dict[tuple[str, str], Standing], resource: str, proof: int
) -> dict[str, Any]:  # fmt: skip
    """For people: how much is known of callers seeing the same of a resource, and of how many callers; and of whose
    writes leave its records alone."""
    callers = [one for (of, name), one in found.items() if of == resource and name.startswith(f"{SHARED}:")]
    more: dict[str, dict[str, Any]] = {SHARED: {"callers": sum(one.agreements > 0 for one in callers)}, APART: {}}
    names = {SHARED: rivals(None, SHARED), APART: tuple(map(by_write, contract.resources))}
    return {
        derivation: {
            "state": seen.state(proof, names[derivation]), "agreements": seen.agreements, "needed": proof,
            "rivals": [{"name": n, "settled_by": settles(n)} for n in names[derivation] if n not in seen.told_apart],
            "told_apart": sorted(seen.told_apart), "differences": seen.differences,
            "last_difference": seen.difference, **more[derivation],
        }
        for derivation in names if (seen := found.get((resource, derivation))) is not None
    }  # fmt: skip


def settled(connection: Connection, contract: Contract, proof: int) -> frozenset[str]:
    """Endpoints of which everything compared has agreed often enough, and of which it is known too whose writes leave
    their records alone: they are compared by sample only."""
    counts: dict[str, bool] = {}
    found, wrote = every(connection), set(map(by_write, queries.last_writes(connection)))
    for (endpoint, derivation), seen in found.items():
        if derivation in PLACES.values():
            continue  # a place may have fewer ids; what is not there is rare, and always compared
        counts[endpoint] = counts.get(endpoint, True) and seen.agreements >= proof and not seen.refuted
    alone = {kind for kind in contract.resources if found.get((kind, APART), NOTHING).told_apart >= wrote}
    of = {endpoint.id: endpoint.resource for endpoint in contract.endpoints.values() if endpoint.resource}
    return frozenset(name for name, enough in counts.items() if enough and of.get(name) in (None, *alone))


def _standing(row: Any) -> Standing:
    told, reach = set[str](), {}
    for each in orjson.loads(row.told_apart):
        if each.startswith(_REACH):
            longest, times, name = each.removeprefix(_REACH).split(":", 2)
            reach[name] = int(longest), int(times)
        else:
            told.add(each)
    return Standing(
        row.agreements, tuple(orjson.loads(row.inputs)), frozenset(told), row.differences, row.difference,
        bool(row.refuted), reach,
    )  # fmt: skip


def _written(reach: Mapping[str, tuple[int, int]]) -> list[str]:
    """As it is kept among the rivals that were told apart, where a program of the release before leaves it."""
    return [f"{_REACH}{longest}:{times}:{name}" for name, (longest, times) in reach.items()]
