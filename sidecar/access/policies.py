"""Access policies as they are declared: data beside the contract, `<contract>.policies.yaml`. Pure but for `load`.

The kinds, and what each takes beside `name`, `kind`, `mode` (off, report, enforce: until a person says otherwise),
`status` and `says` (the refusal):

- `field_is_caller`: on a create of `resource`, `field` holds the id of the caller's own record.
- `field_is_kept`: an update of `resource` leaves `field` as it is.
- `outside_contract`: the path is in the contract.  `method_not_in_contract`: so is the method on that path.
- `media_type_not_in_contract`: the body's media type is one that the contract names for the endpoint.
- `oversize_body`: the body is no larger than `bytes`.
- `revoked_credential`: the user was not revoked. A person said so of this user: it holds whether it is declared or not,
  always denies, and has no exceptions; `restore` takes it back.
- `unknown_credential_while_down`: while the endpoint's circuit is open, the credential was accepted before.
- `failed_sign_ins`: fewer than `times` failed sign-ins of the user within `minutes`; credentials that were accepted
  before are never stopped by it, so that nobody can lock a colleague out.
- `bulk_reading`: within an hour, no more than `least` subjects (patients) were read, or `factor` times the most that
  this person has read on any earlier day; `newcomer` for somebody of whom fewer than `days` days are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import resources as package_files
from pathlib import Path
from typing import Any, Final

import yaml

from sidecar.contract import LOADER, Contract, ContractError


class Mode(StrEnum):
    """What a policy does: nothing, say what it would have denied, or deny."""

    OFF = "off"
    REPORT = "report"
    ENFORCE = "enforce"


_KINDS: Final[Mapping[str, Mapping[str, type]]] = {
    "field_is_caller": {"resource": str, "field": str},
    "field_is_kept": {"resource": str, "field": str},
    "outside_contract": {},
    "method_not_in_contract": {},
    "media_type_not_in_contract": {},
    "oversize_body": {"bytes": int},
    "revoked_credential": {},
    "unknown_credential_while_down": {},
    "failed_sign_ins": {"times": int, "minutes": int},
    "bulk_reading": {"least": int, "factor": int, "newcomer": int, "days": int},
}
REVOKED: Final = "revoked_credential"
_SHARED: Final[Mapping[str, type]] = {"name": str, "kind": str, "mode": str, "status": int, "says": str}


@dataclass(frozen=True)
class Policy:
    """One declared policy. `given` are its kind's parameters."""

    name: str
    kind: str
    mode: Mode
    status: int
    says: str
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fixed(self) -> bool:
        """Whether it always denies, whatever anybody sets."""
        return self.kind == REVOKED

    @property
    def resource(self) -> str | None:
        return self.given.get("resource")


def load(contract: Contract, name_or_path: str) -> tuple[Policy, ...]:
    """The policies beside the contract of that name or path; without a file, revocation alone. Raises ContractError."""
    shipped = package_files.files("sidecar") / "contracts" / f"{name_or_path}.policies.yaml"
    path = Path(name_or_path).with_suffix(".policies.yaml")
    source = shipped if "/" not in name_or_path and shipped.is_file() else path
    if not source.is_file():
        return declared(contract, [], source.name)
    try:
        document = yaml.load(source.read_text(), Loader=LOADER)  # nosec B506: a safe one
    except (OSError, yaml.YAMLError) as error:
        raise ContractError(f"{source.name}: {' '.join(str(error).split())}") from None
    rows = document.get("policies") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise ContractError(f"{source.name}: policies: expected a list; found {type(rows).__name__}")
    return declared(contract, rows, source.name)


def declared(contract: Contract, rows: list[Any], where: str) -> tuple[Policy, ...]:
    """Policies from plain values. Raises ContractError, naming the key, what was expected and what was found."""
    policies: dict[str, Policy] = {}
    for number, row in enumerate(rows):
        policy = _policy(contract, row, f"{where}: policies[{number}]")
        if policy.name in policies:
            raise ContractError(f"{where}: policies[{number}].name: expected a name of its own; found {policy.name!r}")
        policies[policy.name] = policy
    if not any(policy.fixed for policy in policies.values()):
        policies[REVOKED] = Policy(REVOKED, REVOKED, Mode.ENFORCE, 401, "This credential has been revoked.")
    return tuple(policies.values())


def _policy(contract: Contract, row: Any, where: str) -> Policy:
    if not isinstance(row, dict):
        raise ContractError(f"{where}: expected a mapping; found {type(row).__name__}")
    kinds = _KINDS.get(str(row.get("kind")))
    if kinds is None:
        raise ContractError(f"{where}.kind: expected {', '.join(_KINDS)}; found {row.get('kind')!r}")
    for key, kind in {**_SHARED, **kinds}.items():
        # YAML reads a bare `off` as false
        value = "off" if key == "mode" and row.get(key) is False else row.get(key)
        if type(value) is not kind:
            raise ContractError(f"{where}.{key}: expected {kind.__name__}; found {row.get(key)!r}")
    if unknown := row.keys() - _SHARED.keys() - kinds.keys():
        raise ContractError(f"{where}.{min(unknown)}: {row['kind']} takes no such key")
    if row["mode"] not in (*Mode, False):
        raise ContractError(f"{where}.mode: expected {', '.join(Mode)}; found {row['mode']!r}")
    if row["kind"] == REVOKED and row["mode"] != Mode.ENFORCE:
        raise ContractError(f"{where}.mode: expected enforce, for revocations always hold; found {row['mode']!r}")
    if not 400 <= row["status"] < 600:
        raise ContractError(f"{where}.status: expected 400 to 599; found {row['status']!r}")
    resource = row.get("resource")
    if resource is not None and resource not in contract.resources:
        raise ContractError(f"{where}.resource: expected a resource of the contract; found {resource!r}")
    given = {key: row[key] for key in kinds}
    return Policy(row["name"], row["kind"], Mode(row["mode"] or "off"), row["status"], row["says"], given)
