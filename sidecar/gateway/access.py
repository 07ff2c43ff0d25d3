"""Who is calling, by what the request says. Pure."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from sidecar.gateway.exchange import Client, Request
from sidecar.gateway.framing import within
from sidecar.settings import Networks, Settings


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """A Basic user name and password. Never logged: it has no repr."""

    user: str
    password: str


def credentials(authorization: str | None) -> Credentials | None:
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


class TestTraffic:
    """Which requests are not people's: by user, header or network, as the settings name them."""

    __test__ = False

    def __init__(self, settings: Settings) -> None:
        self._users = frozenset(settings.test_users)
        self._headers = frozenset(settings.test_headers)
        self._networks: Networks = settings.test_networks

    def client(self, request: Request, user: str | None) -> Client:
        """test or user."""
        if user in self._users or within(request.remote, self._networks):
            return Client.TEST
        if self._headers and any((name.lower(), value.strip()) in self._headers for name, value in request.headers):
            return Client.TEST
        return Client.USER


def basic(user: str, password: str) -> str:
    """The Authorization field of these credentials."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
