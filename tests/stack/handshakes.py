"""What a TLS server takes, tried from outside with OpenSSL: protocols, ciphers, its chain, its certificate."""

from __future__ import annotations

import socket
import ssl
import subprocess
from contextlib import closing
from pathlib import Path

OLD = {"-tls1": "TLS 1.0", "-tls1_1": "TLS 1.1"}
ANYTHING = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"


def s_client(port: int, *words: str) -> str:
    """What `openssl s_client` prints."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", *words]
    done = subprocess.run(command, input="", capture_output=True, text=True, errors="replace", timeout=20, check=False)
    return done.stdout + done.stderr


def old_protocols(port: int) -> list[str]:
    """Those of TLS 1.0 and 1.1 that the server takes, with any cipher there is."""
    return [name for flag, name in OLD.items() if agreed(s_client(port, flag, "-cipher", ANYTHING))]


def agreed(said: str) -> bool:
    return "New, " in said and "Cipher is (NONE)" not in said


def ciphers(port: int) -> set[str]:
    """The cipher suites of TLS 1.2 that the server takes, each offered alone."""
    listed = subprocess.run(
        ["openssl", "ciphers", "-s", "-tls1_2", ANYTHING], capture_output=True, text=True, check=True
    ).stdout
    return {name for name in listed.strip().split(":") if not name.startswith("TLS_") and _takes(port, name)}


def _takes(port: int, cipher: str) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{cipher}:@SECLEVEL=0")
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as raw, context.wrap_socket(raw):
            return True
    except (ssl.SSLError, ConnectionError):
        return False


def serial(port: int, authority: Path) -> int:
    """The serial number of the certificate that a new connection is shown; its chain and name are verified."""
    context = ssl.create_default_context(cafile=str(authority))
    with (
        closing(socket.create_connection(("127.0.0.1", port), 5)) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        shown = connection.getpeercert()
    assert shown is not None
    return int(str(shown["serialNumber"]), 16)
