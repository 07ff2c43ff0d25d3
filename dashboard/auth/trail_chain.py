"""The dashboard's own trail as a chain: each entry is signed with the hash of the one before.

So none can be altered, taken out or put in between without the key. That the end is missing shows in the head, which
each node keeps beside its key: the hash of the last entry that it wrote.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from dashboard.data.export_signature import Signer

FIRST: Final = "0" * 64
"""What the first entry has before it."""
SIGNED: Final = ("at", "user", "role", "address", "action", "subject", "reason", "outcome", "previous", "signer")
"""The columns that an entry's hash covers."""


@dataclass
class Verdict:
    """`first_bad`: the id of an entry and what is wrong with it, or with the end. `older`: entries from before there
    were signatures, which prove nothing. `signers`: public key → how many entries it has signed."""

    entries: int = 0
    older: int = 0
    first_bad: str | None = None
    signers: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.first_bad is None

    def bad(self, why: str) -> None:
        self.first_bad = self.first_bad or why


def sealed(row: Mapping[str, Any], previous: str | None, signer: Signer) -> dict[str, Any]:
    """The row with what makes it a link. `previous`: the hash of the entry before it; None: there is none."""
    linked = {**row, "previous": previous or FIRST, "signer": signer.public()}
    digest = _digest(linked)
    return {**linked, "hash": digest.hex(), "signature": signer.key().sign(digest).hex()}


def verify(rows: Iterable[Mapping[str, Any]], trusted: Collection[str], head: str | None) -> Verdict:
    """`rows`: every entry, the oldest first. `trusted`: public keys, in hex, that may have signed. `head`: the hash of
    an entry that must be there; None: not known."""
    verdict, previous = Verdict(), FIRST
    for row in rows:
        verdict.entries += 1
        if row["hash"] is None and previous == FIRST:
            verdict.older += 1
            continue
        why = _wrong(row, previous, trusted)
        if why is not None:
            verdict.bad(f"entry {row['id']}: {why}")
            return verdict
        verdict.signers[row["signer"]] = verdict.signers.get(row["signer"], 0) + 1
        previous = row["hash"]
        head = None if head == previous else head
    if head is not None:
        verdict.bad("the end is missing: the last entry that this node wrote is not there")
    return verdict


def _wrong(row: Mapping[str, Any], previous: str, trusted: Collection[str]) -> str | None:
    if row["hash"] is None:
        return "not signed"
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
