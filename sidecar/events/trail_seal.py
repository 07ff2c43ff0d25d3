"""The trail's files are signed, each as it is put away, with the digest of the one before it.

So none can be altered without the key that signs the journal, and none be taken out of their midst before its time
unnoticed; one at the end is missed where the journal's statements still tell that its segment was put away.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sidecar.journal.keys import SigningKey, raw_public
from sidecar.journal.offsets import started
from sidecar.storage.atomic_file import write_atomically

SEAL: Final = ".seal.json"
PUT_AWAY: Final = "retention, put away"
"""Why a segment is dropped of which what is to stay is in the trail."""


@dataclass
class Verdict:
    """`bad`: what is wrong, file by file. `older`: files from before there were seals, which prove nothing."""

    sealed: int = 0
    older: int = 0
    bad: list[str] = field(default_factory=list)


def seal(path: Path, key: SigningKey, suffix: str) -> None:
    """Signs a file of the trail after those that are there; one that is sealed as it is keeps its seal. Raises OSError,
    SigningError."""
    private, digest = key.private(), sha256(path.read_bytes()).hexdigest()
    told = {each: _told(each) for each in _seals(path.parent)}
    if told.get(_of(path, suffix), {}).get("sha256") == digest:
        return
    named = {(said.get("previous") or {}).get("file") for said in told.values()}
    last = [each for each in told if each.name not in named and each != _of(path, suffix)]
    said: dict[str, Any] = {
        "file": path.name,
        "sha256": digest,
        "previous": {"file": last[-1].name, "sha256": _digest(last[-1])} if last else None,
        "key": raw_public(private),
    }
    whole = {**said, "signature": private.sign(_canonical(said)).hex()}
    write_atomically(_of(path, suffix), orjson.dumps(whole, option=orjson.OPT_APPEND_NEWLINE))


def unseal(path: Path, suffix: str) -> None:
    """Its time has come: the seal goes with the file."""
    _of(path, suffix).unlink(missing_ok=True)


def verify(folder: Path, suffix: str, trusted: Collection[str], put_away: Collection[str], kept_since: int) -> Verdict:
    """`trusted`: public keys, in hex, that may have signed. `put_away`: segments that must be there, unless they began
    before `kept_since` (ns), when their time may have come. Raises OSError."""
    verdict = Verdict()
    names = {path.name for path in folder.glob(f"*{suffix}")}
    sealed = {path.name.removesuffix(SEAL) for path in _seals(folder)}
    for name in sorted({name.removesuffix(suffix) for name in names} - sealed):
        verdict.older += 1
        if sealed and started(name) > min(started(each) for each in sealed):
            verdict.bad.append(f"{name}{suffix}: it has no seal, and older ones have")
    for path in _seals(folder):
        why = _wrong(path, folder, trusted, kept_since)
        if why is not None:
            verdict.bad.append(f"{path.name}: {why}")
        verdict.sealed += why is None
    gone = [name for name in put_away if f"{name}{suffix}" not in names and started(name)[0] > kept_since]
    verdict.bad += [f"{name}{suffix}: removed: its segment was put away, and its time has not come" for name in gone]
    return verdict


def _wrong(path: Path, folder: Path, trusted: Collection[str], kept_since: int) -> str | None:
    try:
        said = orjson.loads(path.read_bytes())
        signature, signer, previous = bytes.fromhex(said.pop("signature")), str(said["key"]), said["previous"]
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer)).verify(signature, _canonical(said))
        content = (folder / said["file"]).read_bytes()
    except FileNotFoundError:
        return "removed: its file is not there"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "altered: not a seal"
    except InvalidSignature:
        return "altered: its signature does not fit"
    if signer not in trusted:
        return f"signed by another key, {signer}"
    if sha256(content).hexdigest() != said["sha256"]:
        return "altered: the file is not what was sealed"
    before = folder / previous["file"] if previous else None
    if before is None or (not before.exists() and started(before.name.removesuffix(SEAL))[0] <= kept_since):
        return None
    if not before.exists():
        return f"removed: {before.name} came before it, and its time has not come"
    return None if _digest(before) == previous["sha256"] else f"altered: {before.name} is not what came before it"


def _seals(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SEAL}"), key=lambda path: started(path.name.removesuffix(SEAL)))


def _told(path: Path) -> dict[str, Any]:
    """What a seal says, whether it is true or not; nothing where it is none."""
    try:
        said = orjson.loads(path.read_bytes())
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _of(path: Path, suffix: str) -> Path:
    return path.with_name(path.name.removesuffix(suffix) + SEAL)


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _canonical(said: dict[str, Any]) -> bytes:
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
