"""What a pending write must not lose and nobody may read: its request, sealed with AES-256-GCM.

The key is a file outside DATA, so that a copy of DATA alone opens nothing. Sidecars that share a database share it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sidecar.http.messages import Headers
from sidecar.storage.made_once import read_or_make

NONCE: Final = 12
KEY: Final = 32


class SealError(RuntimeError):
    """The key cannot be read, or does not open what was sealed."""


class Seal:
    """Seals and opens requests. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._cipher = AESGCM(_key(path))

    def close(self, ident: str, headers: Headers, body: bytes) -> bytes:
        """`ident` binds the box to its entry: it opens for no other."""
        nonce = os.urandom(NONCE)
        plain = orjson.dumps({"headers": headers, "body": body.decode("latin-1")})
        return nonce + self._cipher.encrypt(nonce, plain, ident.encode())

    def open(self, ident: str, sealed: bytes) -> tuple[Headers, bytes]:
        """Raises SealError."""
        try:
            plain = orjson.loads(self._cipher.decrypt(sealed[:NONCE], sealed[NONCE:], ident.encode()))
        except InvalidTag:
            raise SealError(f"the seal key does not open entry {ident}") from None
        return [(name, value) for name, value in plain["headers"]], plain["body"].encode("latin-1")


def _key(path: Path) -> bytes:
    """The key; made, with mode 0600, where there is none. Two processes that make it at once agree on one."""
    try:
        key = read_or_make(path, lambda: os.urandom(KEY))
    except OSError as error:
        raise SealError(f"UNDERSTUDY_SEAL_KEY: {path}: {error.strerror}") from None
    if len(key) != KEY:
        raise SealError(f"UNDERSTUDY_SEAL_KEY: {path}: expected {KEY} bytes; found {len(key)}")
    return key
