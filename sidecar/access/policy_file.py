"""Reads access policies: data beside the contract, `<contract>.policies.yaml`.

Beside `name`, `kind`, `mode` (off, report, enforce: until a person says otherwise), `status` and `says` (the refusal),
a policy takes what its kind takes: see `rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources as package_files
from pathlib import Path
from typing import Any, Final

import yaml

from sidecar.access.policies import REVOKED, Mode, Policy
from sidecar.access.rules import RULES
from sidecar.contract import LOADER, Contract, ContractError

_SHARED: Final[Mapping[str, type]] = {"name": str, "kind": str, "mode": str, "status": int, "says": str}


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
    rule = RULES.get(str(row.get("kind")))
    if rule is None:
        raise ContractError(f"{where}.kind: expected {', '.join(RULES)}; found {row.get('kind')!r}")
    kinds = rule.parameters
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
