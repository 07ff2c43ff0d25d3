"""The key that signs the journal: Ed25519, a file of its own outside the journal, and its public half for everyone."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from sidecar.storage.atomic_file import write_atomically
from sidecar.storage.made_once import read_or_make


class SigningError(RuntimeError):
    """The key cannot be read, or is none; the message is one line for a person."""


class SigningKey:
    """The private key, read again for each signature: a rotation needs no restart."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def path(self) -> Path:
        return self._path

    def private(self) -> Ed25519PrivateKey:
        """The key; made, with mode 0600, where there is none. Raises SigningError."""
        try:
            key = load_pem_private_key(read_or_make(self._path, fresh), None)
        except OSError as error:
            raise SigningError(f"UNDERSTUDY_SIGN_KEY: {self._path}: {error.strerror}") from None
        except (ValueError, TypeError):
            raise SigningError(f"UNDERSTUDY_SIGN_KEY: {self._path}: expected an Ed25519 key in PEM") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise SigningError(f"UNDERSTUDY_SIGN_KEY: {self._path}: expected an Ed25519 key; found another kind")
        return key


def refuse_lost(key: Path, statements: Path) -> None:
    """Raises SigningError where statements are there and the key that signed them is not: a key made in silence would
    be one that nobody vouches for."""
    if not key.exists() and statements.exists() and statements.stat().st_size:
        raise SigningError(
            f"UNDERSTUDY_SIGN_KEY: {key} is not there, and {statements} was signed by it: put it back; if it is lost"
            " for good, `understudy keys --new-sign-key` makes another"
        )


def write_public(key: SigningKey, path: Path) -> None:
    """Puts the public key where everyone may read it, unless it is there."""
    pem = public_pem(key.private())
    if not path.exists() or path.read_bytes() != pem:
        write_atomically(path, pem)
        path.chmod(0o644)


def fresh() -> bytes:
    """A new private key, PEM."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def raw_public(key: Ed25519PrivateKey) -> str:
    """The public key, 32 bytes in hex: how statements name it."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def read_public(path: Path) -> str:
    """The public key in a PEM file, in hex. Raises SigningError."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise SigningError(f"{path}: {error.strerror}") from None
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise SigningError(f"{path}: expected an Ed25519 public key in PEM")
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
