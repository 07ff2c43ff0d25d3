"""The gate before every answer that the upstream has not itself given: the evidence for each rule behind it must hold.

A rule's rivals matter for an answer only where they would give another one; each of those must have been told apart.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson
from sqlalchemy import Connection

from sidecar.contract import Action, Contract, Endpoint, Resource
from sidecar.http.determining import spelling
from sidecar.http.messages import Request
from sidecar.standby import evidence, knowledge, queries
from sidecar.standby.answer import Answer, DontKnow, format_wanted, in_contracts_order, plain_filters
from sidecar.standby.derivations import (
    APART,
    CUT,
    DELETED,
    ITEM,
    LIST,
    MISSING,
    ONE_PAGE,
    PLACES,
    SHARED,
    STEADY,
    WRITTEN,
    by_filter,
    by_format,
    by_manner,
    by_write,
    crosses_a_cap,
    leaves_out,
    list_rivals,
    places,
    reach,
    rivals,
    room,
    settles,
    shared_with,
)
from sidecar.standby.tables import GONE, READ, WRITE

UNPROVEN: Final = "unproven"
WIDER: Final = frozenset({"ignored", "prefix", "contains", "at_least", "at_most"})
"""Of what a filter by an integer may mean, that which lets others through than those that are equal; null, where there
is any, is one more. The other meanings differ for texts alone."""


@dataclass(frozen=True, slots=True)
class Claim:
    """An answer stands on this derivation of this endpoint; `otherwise`: the rivals that would give another answer.

    `agreed`: fewest agreements; None: PROOF. `reach`: by field how much a list shows of it, of which no more is known.
    """

    endpoint: str
    derivation: str
    otherwise: frozenset[str] = frozenset()
    agreed: int | None = None
    reach: Mapping[str, float] = field(default_factory=dict)


class Gate:
    """Judges claims. Only looks."""

    def __init__(self, contract: Contract, *, proof: int, serve_unproven: bool) -> None:
        self._contract = contract
        self._proof = proof
        self._serve = serve_unproven

    def passes(
        self, connection: Connection, resource: Resource, answer: Answer | DontKnow, claims: Sequence[Claim]
    ) -> Answer | DontKnow:
        """The answer, if all that it stands on holds; what the standby owns needs no proof."""
        if isinstance(answer, DontKnow) or not claims:
            return answer
        failing = [(claim, why) for claim in claims if (why := self._why_not(connection, claim)) is not None]
        if not failing or resource.name in queries.owned_types(connection):
            return answer
        claim, why = failing[0]
        refuted = any(evidence.standing(connection, each.endpoint, each.derivation).refuted for each, _ in failing)
        if self._serve and not refuted:
            return replace(answer, unproven=True)
        return DontKnow(UNPROVEN, f"{claim.derivation.partition(' ')[0]} of {claim.endpoint}: {why}")

    def shared(self, resource: Resource, user: str, *, shown: bool) -> list[Claim]:
        """For what was not `shown` to this caller, but to another: that callers see the same, and this one too."""
        if shown:
            return []
        own = frozenset({"callers_own"})
        return [Claim(resource.name, SHARED, own), Claim(resource.name, shared_with(user), own, 1)]

    def shown(self, resource: Resource, user: str, row: Any, whole: Any) -> list[Claim]:
        """For a record by its row (None: there is none), and its resource's row of `collections`: that this caller was
        the one who was shown it last, by itself or in a list; else that callers see the same."""
        listed = whole is not None and whole.complete and whole.caller == user
        own = row is not None and (row.caller == user or (listed and row.stamp <= whole.stamp))
        return self.shared(resource, user, shown=own)

    def apart(self, resource: Resource, written: Collection[str]) -> list[Claim]:
        """For what is known of a resource from before these others (or others of its own) were `written`: that it is as
        it was."""
        return [Claim(resource.name, APART, frozenset(map(by_write, written)))] if written else []

    def absent(
        self, connection: Connection, endpoint: str, resource: Resource, user: str, row: Any, whole: Any, record: str
    ) -> list[Claim] | None:  # fmt: skip
        """For that a record is not there, by its row (None: there is none) and its resource's row of `collections`.
        None: nothing says so."""
        if row is not None and row.state == GONE and row.source == WRITE:
            return [Claim(endpoint, DELETED, frozenset({"still_shown"}))]
        if whole is None or not whole.complete:
            return None
        known = queries.ids(connection, resource.name)
        left_out = leaves_out(known, record)
        claims = [Claim(endpoint, MISSING, left_out), *self.shared(resource, user, shown=whole.caller == user)]
        return claims + self._places(connection, endpoint, known, left_out if len(left_out) == 1 else ())

    def _places(
        self, connection: Connection, endpoint: str, known: Collection[str], left_out: Collection[str]
    ) -> list[Claim]:  # fmt: skip
        """For that nothing is where these rivals would have something."""
        told = evidence.standing(connection, endpoint, MISSING).told_apart
        wanted = places(known, left_out, told, self._proof)
        return [Claim(endpoint, PLACES[name], agreed=needed) for name, needed in wanted.items()]

    def source(self, endpoint: str, row: Any) -> list[Claim]:
        """For a record by how it came to be known (its row, or None): read itself, nothing."""
        if row is None or row.source == READ:
            return []
        if row.source == WRITE:
            return [Claim(endpoint, WRITTEN, frozenset({"answer_is_an_echo"}))]
        return [Claim(endpoint, ITEM, frozenset({"list_shows_otherwise"}), reach=_reach(row))]

    def respelled(self, endpoint: Endpoint, request: Request, written: Endpoint) -> list[Claim]:
        """For a path of a write that is not spelled as the contract has it: that a read (by `endpoint`) so spelled was
        seen to mean the same."""
        spelled = spelling(request.path, written.template)
        return [Claim(endpoint.id, by_format(spelled), agreed=1)] if spelled else []

    def steady(self, resource: Resource) -> list[Claim]:
        """For what is shown of a record that is not its own: that it was not seen to change by itself."""
        return [Claim(resource.name, STEADY, agreed=0)]

    def manner(self, connection: Connection, resource: Resource, wanted: str) -> list[Claim]:
        """For who asks in another manner than those who were learned from: that both are told the same."""
        if knowledge.in_manner(connection, resource.name, wanted):
            return []
        return [Claim(resource.name, by_manner(wanted))]

    def format(self, endpoint: Endpoint, request: Request) -> list[Claim]:
        """For JSON to who did not ask for JSON alone: that the upstream gave it to those who asked so."""
        wanted = format_wanted(request, endpoint.template)
        return [] if wanted is None else [Claim(endpoint.id, by_format(wanted), agreed=1)]

    def filters(self, endpoint: Endpoint, pairs: Sequence[Any]) -> list[Claim]:
        """For a filter of which no record can tell what it means: every rival that would list some must be gone."""
        return [
            Claim(endpoint.id, by_filter(str(name)), frozenset(("ignored",) if value else ("ignored", "blank_is_all")))
            for name, value in pairs
        ]

    def refuses(self, connection: Connection, resource: Resource, claims: Sequence[Claim]) -> DontKnow | None:
        """Why nothing may stand on these; None: it may."""
        passed = self.passes(connection, resource, Answer(200, [], b""), claims)
        return passed if isinstance(passed, DontKnow) else None

    def listing(
        self, connection: Connection, endpoint: Endpoint, resource: Resource, whole: Any, rows: Sequence[Any],
        values: list[dict[str, Any]], pairs: Sequence[tuple[str, str]],
    ) -> list[Claim] | DontKnow:  # fmt: skip
        """What a list made of these records stands on. The list that was last shown, unchanged, stands on itself."""
        ours = in_contracts_order(resource, values, pairs)
        if ours is None or not plain_filters(values, pairs):
            return []  # it will not be answered
        text = [orjson.dumps(value).decode() for value in ours]
        if not pairs and knowledge.list_digest(text) == whole.digest:
            return []
        ids = [str(value[resource.id_field]) for value in ours]
        known = {row.id for row in rows}
        read = self._contract.endpoint_for(resource.name, Action.READ) or endpoint
        beyond = room(known) & CUT
        if crosses_a_cap(whole.listed, len(known)) and not self._serve and not self._owns(connection, resource):
            return DontKnow(UNPROVEN, f"whether a list of more than {whole.listed} {resource.name} is cut")
        claims = [Claim(read.id, MISSING, beyond, 1 if beyond else 0)]
        claims += self._places(connection, read.id, known, beyond)
        if any(row.source == "list" for row in rows) and not pairs:
            claims.append(Claim(read.id, ITEM, agreed=0))
        told = frozenset[str]()
        if not pairs:
            told = evidence.standing(connection, endpoint.id, LIST).told_apart
        elif len(pairs) == 1:
            told = evidence.standing(connection, endpoint.id, by_filter(pairs[0][0])).told_apart
        for derivation, said in list_rivals(resource, values, pairs, told).items():
            otherwise = frozenset(name for name, listed in said.items() if listed != ids)
            claims.append(Claim(endpoint.id, derivation, otherwise))
        return claims

    def narrowed(
        self, connection: Connection, endpoint: Endpoint, resource: Resource, whole: Any,
        values: list[dict[str, Any]], pair: tuple[str, str], *, nulls: bool,
    ) -> list[Claim] | None:  # fmt: skip
        """The same of a list by one filter, of which only the records are at hand that the filter may let through;
        None: for this all must be. The field is an integer in all records, or null (`nulls`) in some."""
        told = evidence.standing(connection, endpoint.id, by_filter(pair[0])).told_apart
        if not told >= (WIDER | {"null_too"} if nulls else WIDER):
            return None
        ours = in_contracts_order(resource, values, [pair])
        if ours is None or not plain_filters(values, [pair]):
            return None
        now = queries.known_count(connection, resource.name)
        if crosses_a_cap(whole.listed, now) and not self._serve and not self._owns(connection, resource):
            return None
        read = self._contract.endpoint_for(resource.name, Action.READ) or endpoint
        beyond = [Claim(read.id, MISSING, CUT, 1)]
        if ONE_PAGE not in evidence.standing(connection, read.id, MISSING).told_apart:
            beyond += [Claim(read.id, PLACES[name]) for name in sorted(CUT)]
        if any(self._why_not(connection, claim) is not None for claim in beyond):
            return None  # it may be that not all of them have room
        ids = [str(value[resource.id_field]) for value in ours]
        claims = beyond
        for derivation, said in list_rivals(resource, values, [pair], told).items():
            claims.append(Claim(endpoint.id, derivation, frozenset(n for n, listed in said.items() if listed != ids)))
        return claims

    def missing(self, connection: Connection, endpoint: Endpoint) -> str | None:
        """What is not yet proven of what an endpoint's answers may stand on; None: nothing."""
        resource = self._contract.resources[endpoint.resource or ""]
        if endpoint.own:
            return None  # to each caller what they were answered
        names = {by_filter(name) for name in endpoint.filters} if endpoint.action is Action.LIST else {MISSING, ITEM}
        for name in sorted(names):
            known = queries.ids(connection, resource.name)
            otherwise = frozenset(rivals(resource, name)) if name != MISSING else room(known)
            if name.startswith("filter:"):
                otherwise = frozenset({"ignored"})
            claims = [Claim(endpoint.id, name, otherwise)]
            if name == MISSING:
                claims += self._places(connection, endpoint.id, known, otherwise)
            for claim in claims:
                why = self._why_not(connection, claim)
                if why is not None:
                    return f"{claim.derivation} is {why}"
        return None

    def _owns(self, connection: Connection, resource: Resource) -> bool:
        return resource.name in queries.owned_types(connection)

    def _why_not(self, connection: Connection, claim: Claim) -> str | None:
        """Why a claim does not hold; None: it does."""
        seen = evidence.standing(connection, claim.endpoint, claim.derivation)
        needed = self._proof if claim.agreed is None else claim.agreed
        if seen.holds(needed, claim.otherwise):
            cut = seen.beyond(claim.reach, self._proof)
            return None if cut is None else f"unproven; lists may cut {cut}; it is settled by a read of a longer one"
        if seen.refuted:
            return f"refuted ({seen.difference})"
        living = sorted(claim.otherwise - seen.told_apart)
        agreed = f"unproven ({seen.agreements} of {needed} agreements)"
        return f"{agreed}; {living[0]} may be; it is settled by {settles(living[0])}" if living else agreed


def _reach(row: Any) -> dict[str, float]:
    """Of a record's row: how much is known of it, where it may have been cut."""
    return {} if row.body is None else reach(orjson.loads(row.body))
