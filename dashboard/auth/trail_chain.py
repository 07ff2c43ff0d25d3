"""The dashboard's own trail as a chain: each entry is signed with the hash of the one before.

So none can be altered, taken out or put in between without the key. That the end is missing shows in the head, which
each node keeps beside its key: the last entry that it wrote.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from dashboard.auth.trail_head import End
from dashboard.data.export_signature import Signer

FIRST: Final = "0" * 64
"""What the first entry has before it."""
SIGNED: Final = ("at", "user", "role", "address", "action", "subject", "reason", "outcome", "previous", "signer")
"""The columns that an entry's hash covers."""


@dataclass
class Verdict:
    """`faults`: the id of an entry and what is wrong with it, or with the end. `older`: entries from before there were
    signatures, which prove nothing. `signers`: public key → how many entries it has signed."""

    entries: int = 0
    older: int = 0
    faults: list[str] = field(default_factory=list)
    signers: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.faults


def sealed(row: Mapping[str, Any], previous: str | None, signer: Signer) -> dict[str, Any]:
    """The row with what makes it a link. `previous`: the hash of the entry before it; None: there is none."""
    linked = {**row, "previous": previous or FIRST, "signer": signer.public()}
    digest = _digest(linked)
    return {**linked, "hash": digest.hex(), "signature": signer.key().sign(digest).hex()}


def verify(
    rows: Iterable[Mapping[str, Any]], trusted: Collection[str], ends: Collection[End], *, whole: bool = True
) -> Verdict:
    """`rows`: every entry, the oldest first; not `whole`: those from one on, whatever came before. `trusted`: public
    keys, in hex, that may have signed. `ends`: entries that must be there.

    One that is not signed breaks no chain, so all such are named; what comes after any other fault is not looked at.
    """
    verdict, previous = Verdict(), FIRST if whole else None
    missing = {end.hash: end for end in ends}
    for row in rows:
        verdict.entries += 1
        if row["hash"] is None:
            if previous in (FIRST, None):
                verdict.older += 1
            else:
                verdict.faults.append(f"entry {row['id']}: not signed")
            continue
        why = _wrong(row, row["previous"] if previous is None else previous, trusted)
        if why is not None:
            verdict.faults.append(f"entry {row['id']}: {why}")
            return verdict
        verdict.signers[row["signer"]] = verdict.signers.get(row["signer"], 0) + 1
        previous = row["hash"]
        missing.pop(previous, None)
    for end in missing.values():
        verdict.faults.append(f"the end is missing: {end}, the last that this node wrote, is not there")
    return verdict


def _wrong(row: Mapping[str, Any], previous: str, trusted: Collection[str]) -> str | None:
    if row["signer"] not in trusted:
        return f"signed by another key, {row['signer']}"
    if _digest(row).hex() != row["hash"]:
        return "altered: its hash is another one"
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(row["signer"])).verify(
            bytes.fromhex(row["signature"]), bytes.fromhex(row["hash"])
        )
    except (InvalidSignature, ValueError, TypeError):
        return "altered: its signature does not fit"
    return None if row["previous"] == previous else "removed or put in between: it does not continue the one before"


def _digest(row: Mapping[str, Any]) -> bytes:
    return sha256(orjson.dumps({name: row[name] for name in SIGNED}, option=orjson.OPT_SORT_KEYS)).digest()
