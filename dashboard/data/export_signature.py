"""Signs what leaves the audit, so that whoever holds it later can prove that it is unaltered. Ed25519."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sidecar.storage.made_once import read_or_make


class Signer:
    """The key is a file of mode 0600. It is the server's: `makes`, it is made when it is first needed; else whoever
    needs it raises FileNotFoundError. Raises OSError where it cannot be read."""

    def __init__(self, path: Path, *, makes: bool = True) -> None:
        self._path = path
        self._makes = makes

    def able(self) -> bool:
        """Whether there is a key, or will be."""
        return self._makes or self._path.exists()

    def key(self) -> Ed25519PrivateKey:
        raw = read_or_make(self._path, _fresh) if self._makes else self._path.read_bytes()
        return Ed25519PrivateKey.from_private_bytes(raw)

    def public(self) -> str:
        return self.key().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()

    def derived(self, purpose: bytes) -> bytes:
        """A key for something else, 32 bytes in URL-safe base64, that only this one leads to."""
        raw = self.key().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return urlsafe_b64encode(HKDF(SHA256(), 32, None, purpose).derive(raw))

    def sign(self, manifest: Mapping[str, Any]) -> bytes:
        """The manifest as JSON, with our public key and the signature over all the rest."""
        whole = {**manifest, "public_key": self.public()}
        signature = self.key().sign(_canonical(whole)).hex()
        return orjson.dumps({**whole, "signature": signature}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def check(file: Path, manifest: Path, public_key: str | None) -> str | None:
    """Why file and manifest do not belong together, or None: they do. `public_key`: who must have signed."""
    return fault(file.read_bytes(), manifest.read_bytes(), public_key, str(file), str(manifest))


def fault(content: bytes, manifest: bytes, public_key: str | None, file: str, name: str) -> str | None:
    """As `check`, of what `file` and its manifest, `name`, hold."""
    try:
        said = orjson.loads(manifest)
        signature, signer = bytes.fromhex(said.pop("signature")), said["public_key"]
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer)).verify(signature, _canonical(said))
    except (orjson.JSONDecodeError, KeyError, ValueError, AttributeError, TypeError):
        return f"{name}: not a manifest of ours"
    except InvalidSignature:
        return f"{name}: altered: its signature does not fit"
    if public_key is not None and signer != public_key:
        return f"{name}: signed by another key, {signer}"
    if sha256(content).hexdigest() != said.get("sha256"):
        return f"{file}: altered: it does not have the manifest's SHA-256"
    return None


def _fresh() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def _canonical(manifest: Mapping[str, Any]) -> bytes:
    return orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS)
