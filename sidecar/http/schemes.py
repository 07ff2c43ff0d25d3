# pure
"""How callers of an API say who they are, by its contract's `securitySchemes`: what they showed, and what we ask for.

Only Basic can be verified here. Who shows something else may well be who they say: nobody can tell but the upstream.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from sidecar.http.messages import Request

Schemes = Mapping[str, Mapping[str, Any]]
"""OpenAPI's `components.securitySchemes`: name → scheme, references resolved."""
_BY_FIELD: Final = frozenset(("oauth2", "openIdConnect"))
"""Types whose tokens come in Authorization, as Bearer."""


def shows_credentials(schemes: Schemes, request: Request) -> bool:
    """Whether the request has anything by which the upstream might know its caller. Any Authorization does."""
    return request.header("authorization") is not None or any(_shows(scheme, request) for scheme in schemes.values())


def challenge(schemes: Schemes, realm: str) -> str | None:
    """The WWW-Authenticate of a 401 for who has shown nothing; None: no scheme of the contract has one. Without any
    scheme in the contract it is Basic."""
    kinds = {_kind(scheme) for scheme in schemes.values()}
    if "basic" in kinds or not kinds:
        return challenge_of("Basic", realm)
    return challenge_of("Bearer", realm) if "bearer" in kinds else None


def challenge_of(scheme: str, realm: str) -> str:
    """A WWW-Authenticate. What a field cannot say of the realm's name is left out."""
    said = "".join(letter for letter in realm if " " <= letter <= "~" and letter not in '"\\')
    return f'{scheme} realm="{said or "API"}"'


def _kind(scheme: Mapping[str, Any]) -> str:
    kind = str(scheme.get("type"))
    return "bearer" if kind in _BY_FIELD else str(scheme.get("scheme", "")).lower() if kind == "http" else kind


def _shows(scheme: Mapping[str, Any], request: Request) -> bool:
    if scheme.get("type") != "apiKey":
        return scheme.get("type") == "mutualTLS"
    name, where = str(scheme.get("name", "")), scheme.get("in")
    if where == "header":
        return request.header(name.lower()) is not None
    if where == "query":
        return any(key == name for key, _ in parse_qsl(request.query, keep_blank_values=True))
    cookies = [value for key, value in request.headers if key.lower() == "cookie"]
    return any(part.partition("=")[0].strip() == name for value in cookies for part in value.split(";"))
