# pure
"""Whether a caller may, by the declared policies: one function for each kind of policy.

What is not known is never a reason to deny: an upstream that cannot be asked who somebody is stops nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl

import orjson

from sidecar.access.policies import Policy
from sidecar.contract import Action, Contract, Match


@dataclass(frozen=True, slots=True)
class Finding:
    """A request is against a policy. `detail` is what it did, in few words and with no content: `staff_id 7`."""

    policy: str
    detail: str = ""


@dataclass(frozen=True)
class Asked:
    """What a request asks, as policies see it: the same for a live request and for a recorded one."""

    match: Match
    method: str
    query: str
    user: str | None
    media: str | None
    """The body's media type, without parameters, in lower case."""
    size: int
    """Bytes of the body."""
    body: bytes | None
    """None: it is not known (a recorded body was cut, or not kept)."""


class Known(Protocol):
    """What is known when a request is judged. None is unknown, and unknown is never a reason to deny."""

    def own(self, user: str) -> frozenset[str] | None:
        """The ids of the records that are the user's own."""

    def value(self, resource: str, record: str, field: str) -> str | None:
        """What the field of that record holds now."""

    def revoked(self, user: str) -> bool: ...
    def accepted(self, user: str) -> bool | None:
        """Whether the upstream has accepted the request's credential before."""

    def down(self, endpoint: str) -> bool: ...
    def failures(self, user: str, minutes: int) -> int:
        """Failed sign-ins of the user within so many minutes."""

    def reading(self, user: str) -> int:
        """Subjects that the user has read within the hour."""

    def habit(self, user: str, days: int) -> int | None:
        """The most subjects that the user has read in an hour on an earlier day; None: fewer days are known."""


Judge = Callable[[Contract, Policy, Asked, Known], str | None]


@dataclass(frozen=True)
class Rule:
    """A kind of policy: its parameters with their types, and what judges. None: nothing against the request."""

    parameters: Mapping[str, type]
    judge: Judge


RULES: Final[dict[str, Rule]] = {}
"""By the kind's name, which is the function's."""
UNREADABLE: Final = "unreadable"


def _rule(**parameters: type) -> Callable[[Judge], Judge]:
    """Makes a function a kind of policy of its name."""

    def declare(judge: Judge) -> Judge:
        RULES[judge.__name__] = Rule(parameters, judge)
        return judge

    return declare


def findings(contract: Contract, policies: Iterable[Policy], asked: Asked, known: Known) -> list[Finding]:
    """What each of the policies has against the request, in their order."""
    found = []
    for policy in policies:
        detail = RULES[policy.kind].judge(contract, policy, asked, known)
        if detail is not None:
            found.append(Finding(policy.name, detail))
    return found


def untellable(policy: Policy, asked: Asked) -> bool:
    """Whether a recorded request cannot be judged by the policy, for want of its body."""
    endpoint = asked.match.endpoint
    if endpoint is None or asked.body is not None or endpoint.resource != policy.resource:
        return False
    wanted = {"field_is_caller": Action.CREATE, "field_is_kept": Action.UPDATE}.get(policy.kind)
    return endpoint.action is wanted and asked.size > 0


@_rule(resource=str, field=str)
def field_is_caller(contract: Contract, policy: Policy, asked: Asked, known: Known) -> str | None:
    """On a create of `resource`, `field` holds the id of the caller's own record."""
    endpoint = asked.match.endpoint
    if endpoint is None or (endpoint.resource, endpoint.action) != (policy.resource, Action.CREATE):
        return None
    values = _values(policy.given["field"], asked)
    own = known.own(asked.user) if values and asked.user is not None else None
    other = [] if own is None else [value for value in values if value not in own]
    return f"{policy.given['field']} {other[0]}" if other else None


@_rule(resource=str, field=str)
def field_is_kept(contract: Contract, policy: Policy, asked: Asked, known: Known) -> str | None:
    """An update of `resource` leaves `field` as it is."""
    endpoint, record = asked.match.endpoint, asked.match.record_id
    if endpoint is None or (endpoint.resource, endpoint.action) != (policy.resource, Action.UPDATE) or record is None:
        return None
    name = policy.given["field"]
    values = _values(name, asked)
    now = known.value(str(policy.resource), record, name) if values else None
    other = [] if now is None else [value for value in values if value != now]
    return f"{name} {now} to {other[0]}" if other else None


@_rule()
def outside_contract(contract: Contract, policy: Policy, asked: Asked, known: Known) -> str | None:
    """The path is in the contract."""
    return "" if asked.match.endpoint is None and not asked.match.known_path else None


@_rule()
def method_not_in_contract(contract: Contract, policy: Policy, asked: Asked, known: Known) -> str | None:
    """The method is in the contract, on that path."""
    match = asked.match
    return asked.method[:10] if match.known_path and match.endpoint is None and asked.method != "OPTIONS" else None


@_rule()
def media_type_not_in_contract(contract: Contract, policy: Policy, asked: Asked, known: Known) -> str | None:
    """The body's media type is one that the contract names for the endpoint."""
    endpoint = asked.match.endpoint
    if endpoint is None or not asked.size or not endpoint.accepts or asked.media in endpoint.accepts:
        return None
    return asked.media or "none"


@_rule(bytes=int)
def oversize_body(contract: Contract, policy: Policy, asked: Asked, known: Known) -> str | None:
    """The body is no larger than `bytes`."""
    return f"more than {policy.given['bytes']} bytes" if asked.size > policy.given["bytes"] else None


@_rule()
def revoked_credential(contract: Contract, policy: Policy, asked: Asked, known: Known) -> str | None:
    """The user was not revoked. A person said so of this user: it holds whether it is declared or not, always denies,
    and has no exceptions; `restore` takes it back."""
    return "" if asked.user is not None and known.revoked(asked.user) else None


@_rule()
def unknown_credential_while_down(contract: Contract, policy: Policy, asked: Asked, known: Known) -> str | None:
    """While the endpoint's circuit is open, the credential was accepted before."""
    endpoint = asked.match.endpoint
    if asked.user is None or endpoint is None or endpoint.public or not known.down(endpoint.id):
        return None
    return "" if known.accepted(asked.user) is False else None


@_rule(times=int, minutes=int)
def failed_sign_ins(contract: Contract, policy: Policy, asked: Asked, known: Known) -> str | None:
    """Fewer than `times` failed sign-ins of the user within `minutes`; credentials that were accepted before are never
    stopped by it, so that nobody can lock a colleague out."""
    if asked.user is None or known.failures(asked.user, policy.given["minutes"]) < policy.given["times"]:
        return None
    return "" if known.accepted(asked.user) is False else None


@_rule(least=int, factor=int, newcomer=int, days=int)
def bulk_reading(contract: Contract, policy: Policy, asked: Asked, known: Known) -> str | None:
    """Within an hour, no more than `least` subjects (patients) were read, or `factor` times the most that this person
    has read on any earlier day; `newcomer` for somebody of whom fewer than `days` days are known."""
    endpoint, given = asked.match.endpoint, policy.given
    if asked.user is None or endpoint is None or endpoint.action.writes or endpoint.resource is None:
        return None
    read = known.reading(asked.user)
    if read <= given["least"]:
        return None
    habit = known.habit(asked.user, given["days"])
    limit = given["newcomer"] if habit is None else max(given["least"], given["factor"] * habit)
    return f"more than {limit} an hour" if read > limit else None


def _values(name: str, asked: Asked) -> list[str]:
    """Every value that the request gives the field, wherever the upstream may look for it: the query, the JSON body at
    its top or one object deeper, a form. A body that names the field and cannot be read gives it `unreadable`."""
    body = asked.body or b""
    found: list[Any] = [value for key, value in parse_qsl(asked.query) if _names(key, name)]
    if not body.strip():
        return [str(value) for value in found]
    try:
        sent = orjson.loads(body)
    except orjson.JSONDecodeError:
        if asked.media == "application/x-www-form-urlencoded":
            found += [value for key, value in parse_qsl(body.decode("latin-1")) if _names(key, name)]
        elif name.encode() in body:
            found.append(UNREADABLE)
        return [str(value) for value in found]
    if isinstance(sent, dict):
        inner = [value for value in sent.values() if isinstance(value, dict)]
        found += [part[name] for part in (sent, *inner) if part.get(name) is not None]
    return [str(value) for value in found]


def _names(key: str, name: str) -> bool:
    return key == name or key.endswith(f"[{name}]")
