"""Test traffic: requests that do not count towards objectives."""

from __future__ import annotations

from sidecar.exchange import Client
from sidecar.http.messages import Request
from sidecar.settings import Networks, Settings, within


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
