"""The command line's way to the control plane: one request, its JSON, or one line that says what went wrong."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from sidecar.settings import PREFIX, Settings, parsers

TIMEOUT: Final = 10.0
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # nosec B104 # an address to look for


class ControlError(Exception):
    """The control plane did not do what was asked; the message is one line for a person. `status` is 0: no answer.
    `unknown`: it may have done it all the same, for the answer did not come."""

    def __init__(self, message: str, status: int = 0, *, unknown: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.unknown = unknown


def get(settings: Settings, path: str, timeout: float = TIMEOUT) -> Any:
    """The JSON at `path`. Raises ControlError."""
    return _ask(settings, "GET", path, None, timeout=timeout)


def post(settings: Settings, path: str, body: Any = None, by: str | None = None, timeout: float = TIMEOUT) -> Any:
    """Posts `body` as JSON with CONTROL_TOKEN and returns the answer's JSON. Raises ControlError."""
    if not settings.control_token:
        raise ControlError(f"{PREFIX}CONTROL_TOKEN is not set: actions need the sidecar's token")
    return _ask(settings, "POST", path, {} if body is None else body, by, timeout)


class Control:
    """The control plane of one sidecar, as its settings name it."""

    def __init__(self, settings: Settings, by: str | None = None) -> None:
        """`by`: on whose behalf actions are taken; the control plane writes it down."""
        self._settings = settings
        self._by = by

    def at(self, address: str) -> Control:
        """That of another node, which has the same token. `address`: host:port. Raises ValueError."""
        listen = parsers.address(address)
        return Control(replace(self._settings, control_listen=listen), self._by)

    def get(self, path: str) -> Any:
        return get(self._settings, path)

    def text(self, path: str) -> str:
        """What stands at `path`, as text. Raises ControlError."""
        return _ask(self._settings, "GET", path, None, read=_plain)  # type: ignore[no-any-return]

    def post(self, path: str, body: Any = None) -> Any:
        return post(self._settings, path, body, self._by)


def segment(value: str) -> str:
    """An id as one segment of a path."""
    return quote(value, safe="")


def _ask(
    settings: Settings, method: str, path: str, body: Any, by: str | None = None, timeout: float = TIMEOUT,
    read: Callable[[str, int, str, bytes], Any] | None = None,
) -> Any:  # fmt: skip
    host, port = settings.control_listen
    host = _ANYWHERE.get(host, host)
    where = f"{host}:{port}"
    headers = {"Accept": "application/json, application/problem+json"}
    if settings.control_token:
        headers["Authorization"] = f"Bearer {settings.control_token}"
    if by:
        headers["X-Understudy-By"] = by.encode("ascii", "replace").decode()
    content = None if body is None else json.dumps(body).encode()
    if content is not None:
        headers["Content-Type"] = "application/json"
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        status, reason, text = answer.status, answer.reason, answer.read()
    except ConnectionRefusedError:
        raise ControlError(f"the sidecar's control plane does not answer at {where} (is it running?)") from None
    except TimeoutError:
        raise ControlError(
            f"the sidecar's control plane at {where} took longer than {timeout:.0f} s", unknown=True
        ) from None
    except socket.gaierror:
        raise ControlError(f"the sidecar's control plane: no address for {host}") from None
    except (OSError, http.client.HTTPException) as error:
        why = f"the sidecar's control plane at {where} broke off ({type(error).__name__})"
        raise ControlError(why, unknown=True) from None
    finally:
        connection.close()
    return (read or _read)(where, status, reason, text)


def _plain(where: str, status: int, reason: str, text: bytes) -> str:
    if status >= 400:
        raise ControlError(f"{where} answered {status} {reason}", status)
    return text.decode(errors="replace")


def _read(where: str, status: int, reason: str, text: bytes) -> Any:
    try:
        content = json.loads(text)
    except ValueError:
        raise ControlError(f"{where} answered {status} {reason} without JSON: is that the control plane?") from None
    if status < 400:
        return content
    detail = content.get("detail") or content.get("title") if isinstance(content, dict) else None
    raise ControlError(" ".join(str(detail or f"{status} {reason}").split()), status)
