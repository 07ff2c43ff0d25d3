"""`python -m compose.make_secrets DIR`: makes the secrets of docker-compose.yml that are missing.

The directory is closed to others; the files in it are readable, for the containers' user is none of this machine's.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

SIDECARS: Final = ("one", "two")
"""Of docker-compose.yml's full profile."""


def make(folder: Path) -> list[str]:
    """The names of those that were made."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    made = []

    def once(name: str, content: bytes) -> bytes:
        path = folder / name
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444), "wb") as file:
                file.write(content)
            made.append(name)
        return path.read_bytes()

    once("control_token", secrets.token_urlsafe(32).encode())
    once("seal_key", secrets.token_bytes(32))
    for sidecar in SIDECARS:  # each signs its own journal
        once(f"sign_key_{sidecar}", _ed25519())
    once("grafana_password", secrets.token_urlsafe(18).encode())
    password = once("database_password", secrets.token_urlsafe(32).encode()).decode()
    once("database_url", f"postgresql+psycopg://understudy:{password}@postgresql:5432/understudy".encode())
    return made


def _ed25519() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


if __name__ == "__main__":
    print("made:", ", ".join(make(Path(sys.argv[1]))) or "nothing, all are there")
