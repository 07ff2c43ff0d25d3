"""A local certificate authority for development: `python -m compose.tls.authority FOLDER NAME…`.

Writes ca.pem, and for the names server.pem (certificate, authority and key in one file, as HAProxy takes it), with
server.crt and server.key beside it, as nginx does; keys with mode 0600. Run again, it renews the server's certificate
under the same authority. A real certificate is given to `understudy lb` by its path instead (compose/README.md: HTTPS).
"""

from __future__ import annotations

import ipaddress
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAYS: Final = 90
AUTHORITY_DAYS: Final = 3650
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def write(folder: Path, names: list[str], now: datetime | None = None, key: Key | None = None) -> None:
    """Makes, or renews, the server's certificate for these host names and addresses. `key` None: a new one on P-256."""
    now = now or datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    authority, authority_key = _authority(folder, now)
    key = key or ec.generate_private_key(ec.SECP256R1())
    server = _server(names, key, authority, authority_key, now)
    chain = server.public_bytes(serialization.Encoding.PEM) + authority.public_bytes(serialization.Encoding.PEM)
    _put(folder / "server.key", _pem(key))
    _put(folder / "server.crt", chain, 0o644)
    _put(folder / "server.pem", chain + _pem(key))


def expiry(certificate: Path) -> datetime:
    """When the first certificate in the file ends. Raises ValueError when there is none."""
    return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc


def staple(folder: Path, now: datetime | None = None) -> None:
    """Writes server.pem.ocsp, the authority's word that the server's certificate is good, for a week."""
    now = now or datetime.now(UTC)
    authority, authority_key = _authority(folder, now)
    server = x509.load_pem_x509_certificate((folder / "server.crt").read_bytes())
    good, week = ocsp.OCSPCertStatus.GOOD, now + timedelta(days=7)
    response = (
        ocsp.OCSPResponseBuilder()
        .add_response(server, authority, hashes.SHA1(), good, now, week, None, None)  # the id's hash, as RFC 5019 asks  # nosec B303
        .responder_id(ocsp.OCSPResponderEncoding.HASH, authority)
        .sign(authority_key, hashes.SHA256())
    )
    _put(folder / "server.pem.ocsp", response.public_bytes(serialization.Encoding.DER), 0o644)


def _authority(folder: Path, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    if (folder / "ca.key").exists():
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes()), key
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Understudy development authority")
    made = (
        _builder(name, name, key.public_key(), now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _put(folder / "ca.key", _pem(key))
    _put(folder / "ca.pem", made.public_bytes(serialization.Encoding.PEM), 0o644)
    return made, key


def _server(
    names: list[str], key: Key, authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey, now: datetime,
) -> x509.Certificate:  # fmt: skip
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        _builder(_name(names[0]), authority.subject, key.public_key(), now, DAYS)
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(signer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _put(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replaces the file in one step: a balancer that reloads sees the old one or the new one."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    fresh.replace(path)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python -m compose.tls.authority FOLDER NAME…")
    write(Path(sys.argv[1]), sys.argv[2:])
