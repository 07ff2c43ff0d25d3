# pure
"""The standby as the system: what is proven of each resource, what is missing, and the next step towards owning it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from dashboard.values.sentences import singular
from sidecar.contract import Contract

ONLY_UPSTREAM: Final = "only the upstream can answer this"
"""The control plane's words for what no copy can do."""
READY: Final = "Every check passes: it can be promoted."


class Step(StrEnum):
    """What would bring a resource nearer."""

    DECIDE = "decide"
    FILL = "fill"
    PROVE = "prove"
    WAIT = "wait"
    PROMOTE = "promote"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Check:
    """One thing that must be so; `said`: that it is, or what is missing."""

    ok: bool
    said: str


@dataclass(frozen=True)
class Candidate:
    """A resource on its way. `advice`: the next step in a sentence."""

    name: str
    owned: bool
    checks: Sequence[Check]
    step: Step
    advice: str


def candidates(
    contract: Contract, resources: Mapping[str, Any], evidence: Mapping[str, Any], api: str
) -> list[Candidate]:
    """In the order in which they are best promoted. `resources` and `evidence` as the control plane tells them; `api`:
    what people call the upstream."""
    return [
        _candidate(contract, name, resources[name], evidence, api) for name in _order(contract) if name in resources
    ]


def only_upstream(states: Iterable[Mapping[str, Any]]) -> list[str]:
    """Endpoints that no promotion replaces, by name."""
    return [str(state["name"]) for state in states if state.get("ready_reason") == ONLY_UPSTREAM]


def _order(contract: Contract) -> list[str]:
    """What others refer to comes before them, where that is possible."""
    found: dict[str, None] = {}

    def visit(name: str, under: tuple[str, ...]) -> None:
        if name in found or name in under or name not in contract.resources:
            return
        for target in sorted(set(contract.resources[name].references.values())):
            visit(target, (*under, name))
        found[name] = None

    for name in contract.resources:
        visit(name, ())
    return list(found)


def _candidate(
    contract: Contract, name: str, row: Mapping[str, Any], evidence: Mapping[str, Any], api: str
) -> Candidate:
    parked, pending, doubtful = int(row["parked"]), int(row["pending"]), int(row["in_doubt"])
    one = singular(name)
    unproven, settling, proofs = _proofs(contract, name, evidence)
    checks = [
        Check(bool(row["complete"]), f"All {name} are known" if row["complete"] else f"Not all {name} are known"),
        Check(
            bool(row["verified"]),
            f"All {name} were read again since {api} may last have been changed unseen"
            if row["verified"]
            else f"{api} may have been changed unseen since the {name} were last read",
        ),
        Check(
            not row.get("private"),
            "Each caller sees other records" if row.get("private") else "All callers see the same records",
        ),
        Check(not doubtful, _many(doubtful, one, name, "in doubt")),
        Check(not parked, _many(parked, "write", "writes", "parked")),
        Check(not pending, _many(pending, "write", "writes", f"waiting to reach {api}")),
        *proofs,
    ]

    def at(step: Step, advice: str) -> Candidate:
        return Candidate(name, step is Step.NOTHING, checks, step, advice)

    if row["owner"] == "standby":
        return at(Step.NOTHING, f"The standby is the system for {name}. {api} hears of no change until it is demoted.")
    if parked:
        return at(Step.DECIDE, "Decide about the parked writes: nobody else will.")
    if not row["complete"] or not row["verified"] or doubtful:
        return at(Step.FILL, f"Fill the copy: {api} is asked for what was not seen.")
    prove = f"Prove what {' and '.join(unproven)} answers. " + (
        f"What settles it: {settling}." if settling else "Ordinary traffic does."
    )
    if not row["doubts"] and pending:
        return at(Step.WAIT, f"Wait: {_many(pending, 'write', 'writes', f'waiting to reach {api}')}.")
    if not row["doubts"]:
        missing = [check.said for check in checks if not (check.ok or (unproven and check in proofs))]
        but = f", but: {'; '.join(missing)}" if missing else ""
        first = f" First: {prove}" if unproven else ""
        return at(Step.PROMOTE, f"Nothing speaks against promoting it{but}.{first}" if but or first else READY)
    return at(Step.PROVE, prove) if unproven else at(Step.WAIT, f"Wait, and look again: {'; '.join(row['doubts'])}.")


def _many(count: int, one: str, several: str, what: str) -> str:
    if not count:
        return f"No {one} is {what}"
    return f"{count:,} {one if count == 1 else several} {'is' if count == 1 else 'are'} {what}"


def _proofs(contract: Contract, name: str, evidence: Mapping[str, Any]) -> tuple[list[str], str, list[Check]]:
    """Endpoints that are not proven, what would settle the first of them, and a check for each."""
    unproven, settling, checks = list[str](), "", list[Check]()
    for endpoint in contract.endpoints.values():
        row = evidence.get(endpoint.id)
        if endpoint.resource != name or row is None:
            continue
        derivations = row["derivations"]
        open_ = {each: seen for each, seen in derivations.items() if seen["state"] != "proven"}
        refuted = [each.replace("_", " ") for each, seen in open_.items() if seen["state"] == "refuted"]
        said = f"{endpoint.id}: {len(derivations) - len(open_)} of {len(derivations)} derivations are proven"
        if refuted:
            said += f"; refuted: {', '.join(refuted)}"
        elif not row["ready"]:
            said += f"; {row['reason']}"
        ok = bool(row["ready"]) and not open_
        checks.append(Check(ok, said if derivations else f"{endpoint.id}: nothing was compared yet"))
        if open_ or not derivations:
            unproven.append(endpoint.id)
            rivals = [rival["settled_by"] for seen in open_.values() for rival in seen["rivals"]]
            settling = settling or (rivals[0] if rivals else "")
    return unproven, settling, checks
