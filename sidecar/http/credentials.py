# pure
"""Who a request says that it comes from: the Authorization field, read and written in one place."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """A Basic user name and password. Never logged: it has no repr."""

    user: str
    password: str


def parse_authorization(authorization: str | None) -> Credentials | None:
    """The Basic credentials of an Authorization field, or None where it holds none that can be read."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        raw = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    user, colon, password = text.partition(":")
    return Credentials(user, password) if colon else None


def basic_authorization(user: str, password: str) -> str:
    """The Authorization field of these credentials."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
