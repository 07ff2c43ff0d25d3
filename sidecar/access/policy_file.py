"""Reads access policies: data beside the contract, `<contract>.policies.yaml`.

Beside `name`, `kind`, `mode` (off, report, enforce: until a person says otherwise), `status` and `says` (the refusal),
a policy takes what its kind takes: see `rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources as package_files
from pathlib import Path
from typing import Any, Final

from sidecar.access.policies import REVOKED, Mode, Policy
from sidecar.access.rules import RULES
from sidecar.contract import NOTHING, Contract, ContractError, parsed

_SHARED: Final[Mapping[str, type]] = {"name": str, "kind": str, "mode": str, "status": int, "says": str}
_KIND_NAMES: Final[Mapping[type, str]] = {str: "text", int: "a whole number"}


def load(contract: Contract, name_or_path: str) -> tuple[Policy, ...]:
    """The policies beside the contract of that name or path; without a file, revocation alone. Raises ContractError."""
    shipped = package_files.files("sidecar") / "contracts" / f"{name_or_path}.policies.yaml"
    path = Path(name_or_path).with_suffix(".policies.yaml")
    source = shipped if "/" not in name_or_path and shipped.is_file() else path
    if not source.is_file():
        return declared(contract, [], source.name)
    try:
        document = parsed(source.name, source.read_text())
    except OSError as error:
        raise ContractError("policies", source.name, "a file that can be read", error.strerror) from None
    rows = document.get("policies", NOTHING) if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise ContractError(source.name, "policies", "a list", rows)
    return declared(contract, rows, source.name)


def declared(contract: Contract, rows: list[Any], where: str) -> tuple[Policy, ...]:
    """Policies from plain values. Raises ContractError, naming the key, what was expected and what was found."""
    policies: dict[str, Policy] = {}
    for number, row in enumerate(rows):
        policy = _policy(contract, row, where, f"policies[{number}]")
        if policy.name in policies:
            raise ContractError(where, f"policies[{number}].name", "a name of its own", policy.name)
        policies[policy.name] = policy
    if not any(policy.fixed for policy in policies.values()):
        policies[REVOKED] = Policy(REVOKED, REVOKED, Mode.ENFORCE, 401, "This credential has been revoked.")
    return tuple(policies.values())


def _policy(contract: Contract, row: Any, where: str, at: str) -> Policy:
    if not isinstance(row, dict):
        raise ContractError(where, at, "a mapping", row)
    rule = RULES.get(str(row.get("kind")))
    if rule is None:
        raise ContractError(where, f"{at}.kind", ", ".join(RULES), row.get("kind", NOTHING))
    kinds = rule.parameters
    for key, kind in {**_SHARED, **kinds}.items():
        # YAML reads a bare `off` as false
        value = "off" if key == "mode" and row.get(key) is False else row.get(key)
        if type(value) is not kind:
            raise ContractError(where, f"{at}.{key}", _KIND_NAMES[kind], row.get(key, NOTHING))
    if unknown := {str(key) for key in row.keys() - _SHARED.keys() - kinds.keys()}:
        raise ContractError(where, f"{at}.{min(unknown)}", f"a key that {row['kind']} takes", min(unknown))
    if row["mode"] not in (*Mode, False):
        raise ContractError(where, f"{at}.mode", ", ".join(Mode), row["mode"])
    if row["kind"] == REVOKED and row["mode"] != Mode.ENFORCE:
        raise ContractError(where, f"{at}.mode", "enforce, for revocations always hold", row["mode"])
    if not 400 <= row["status"] < 600:
        raise ContractError(where, f"{at}.status", "400 to 599", row["status"])
    resource = row.get("resource")
    if resource is not None and resource not in contract.resources:
        raise ContractError(where, f"{at}.resource", "a resource of the contract", resource)
    given = {key: row[key] for key in kinds}
    return Policy(row["name"], row["kind"], Mode(row["mode"] or "off"), row["status"], row["says"], given)
