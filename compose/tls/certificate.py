"""A server's certificate as its file holds it: the chain, the key, how long it holds, and whether OCSP applies to it.

Reads the file that HAProxy takes (chain and key in one) and the two that nginx takes. Raises ValueError, which names
the file, for what a balancer or its clients would stumble over: no certificate, no key, a key of another certificate,
a chain that is cut, a certificate that has ended.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID

_KEY: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)


@dataclass(frozen=True)
class Certificate:
    """One server's. `responder`: the OCSP responder that it names; None: OCSP does not apply to it."""

    serial: int
    ends: datetime
    responder: str | None


def read(certificate: Path, key: Path, now: datetime | None = None) -> Certificate:
    """What the files hold. Raises ValueError."""
    chain = _chain(certificate)
    _check_key(chain[0], certificate, key)
    for issued, issuer in zip(chain, chain[1:], strict=False):
        try:
            issued.verify_directly_issued_by(issuer)
        except Exception as error:
            why = f"{_name(issuer.subject)} has not issued what stands before it ({type(error).__name__})"
            raise ValueError(f"{certificate}: the chain is not in order: {why}") from None
    if len(chain) == 1 and chain[0].issuer != chain[0].subject:
        raise ValueError(f"{certificate}: the chain is cut: the certificate of {_name(chain[0].issuer)} is missing")
    leaf = chain[0]
    if leaf.not_valid_after_utc <= (now or datetime.now(UTC)):
        raise ValueError(f"{certificate}: ended on {leaf.not_valid_after_utc:%Y-%m-%d}")
    return Certificate(leaf.serial_number, leaf.not_valid_after_utc, _responder(leaf))


def _chain(path: Path) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise ValueError(f"{path}: holds no certificate in PEM") from None
    return found


def _check_key(leaf: x509.Certificate, certificate: Path, path: Path) -> None:
    try:
        pem = _KEY.search(path.read_bytes())
        key = serialization.load_pem_private_key(pem[0], None) if pem else None
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError):
        raise ValueError(f"{path}: the private key cannot be read; a balancer needs one without a passphrase") from None
    if key is None:
        raise ValueError(f"{path}: holds no private key in PEM")
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
        raise ValueError(f"{path}: the private key is not that of {certificate}")


def _responder(leaf: x509.Certificate) -> str | None:
    try:
        access = leaf.extensions.get_extension_for_oid(ExtensionOID.AUTHORITY_INFORMATION_ACCESS).value
    except x509.ExtensionNotFound:
        return None
    assert isinstance(access, x509.AuthorityInformationAccess)
    found = (each for each in access if each.access_method == AuthorityInformationAccessOID.OCSP)
    return next((str(each.access_location.value) for each in found), None)


def _name(of: x509.Name) -> str:
    return of.rfc4514_string()
