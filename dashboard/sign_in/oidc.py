"""Signing in by OpenID Connect: the authorization code flow with PKCE, one provider, roles from a claim.

The provider says who somebody is; which role that gives is said here (OIDC_ROLES). Somebody whose claim gives no role
is not let in. What a sign-in under way must remember is in a short-lived, sealed cookie: visitors fill nothing here.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from typing import Any, Final

import requests  # noqa: TID251 - Authlib's client is one; it never talks to the upstream
from authlib.integrations.requests_client import OAuth2Session
from cryptography.fernet import Fernet, InvalidToken
from flask import Flask, Response, g, json, redirect, render_template, request
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from dashboard.auth.users import AccessError, Role
from dashboard.context import Parts
from dashboard.data.export_signature import Signer
from dashboard.sign_in.routes import next_path, welcome
from sidecar.settings import PREFIX, SettingError

log = logging.getLogger(__name__)
COOKIE: Final = "understudy_oidc"
PATIENCE: Final = 5.0
UNDER_WAY: Final = 600
"""Seconds that somebody may take at the provider."""
SKEW: Final = 60
ALGORITHMS: Final = ["RS256", "PS256", "ES256", "EdDSA"]


class Refused(Exception):
    """Why somebody is not let in, for them to read."""


class SignIn:
    """Two routes: away to the provider, and back from it."""

    def __init__(self, parts: Parts) -> None:
        settings = parts.settings
        for name in ("oidc_client_id", "oidc_roles"):
            if not getattr(settings, name):
                raise SettingError(f"{PREFIX}{name.upper()}: required with {PREFIX}OIDC_ISSUER; found nothing")
        self._parts = parts
        self._issuer = str(settings.oidc_issuer)
        self._roles = {value: Role(role) for value, role in settings.oidc_roles}
        self._fernet = Fernet(Signer(settings.data / "export.key").derived(b"oidc cookie"))
        self._lock = threading.Lock()
        self._found: dict[str, Any] = {}
        self._keys: KeySet | None = None

    def install(self, server: Flask) -> None:
        server.add_url_rule("/login/oidc", "oidc", self.away)
        server.add_url_rule("/login/oidc/callback", "oidc-callback", self.back)

    def away(self) -> Any:
        try:
            endpoint = self._provider()["authorization_endpoint"]
        except (Refused, KeyError) as error:
            return self._no(error if isinstance(error, Refused) else Refused("the provider says too little of itself"))
        nonce, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        client = self._client()
        url, state = client.create_authorization_url(endpoint, nonce=nonce, code_verifier=verifier)
        onward = next_path(request.args.get("next", "/"))
        kept = json.dumps({"state": state, "nonce": nonce, "verifier": verifier, "next": onward})
        answer: Any = redirect(url, 303)
        sealed = self._fernet.encrypt(kept.encode()).decode()
        answer.set_cookie(
            COOKIE, sealed, max_age=UNDER_WAY, httponly=True, secure=g.secure, samesite="Lax", path="/login/oidc"
        )
        return answer

    def back(self) -> Any:
        try:
            kept = self._kept()
            claims = self._claims(kept)
            user = self._parts.users.adopt(f"{self._issuer} {claims['sub']}", _name(claims), self._role(claims))
        except (Refused, AccessError) as error:
            return self._no(error)
        token = self._parts.sessions.start(user, g.address, request.headers.get("User-Agent", ""))
        answer = welcome(self._parts, token, kept["next"])
        answer.delete_cookie(COOKIE, path="/login/oidc")
        return answer

    def _kept(self) -> dict[str, str]:
        """What was kept when this browser went away. Raises Refused for anybody else's answer."""
        try:
            sealed = request.cookies.get(COOKIE, "").encode()
            kept: dict[str, str] = json.loads(self._fernet.decrypt(sealed, ttl=UNDER_WAY))
        except InvalidToken:
            raise Refused("this sign-in was not begun here, or took too long") from None
        if not secrets.compare_digest(request.args.get("state", "").encode(), kept["state"].encode()):
            raise Refused("this sign-in was not begun here")
        if "error" in request.args or "code" not in request.args:
            raise Refused("the provider did not let you in")
        return kept

    def _claims(self, kept: dict[str, str]) -> dict[str, Any]:
        """The ID token's claims, checked: signature, issuer, audience, times, nonce."""
        try:
            answer = self._client().fetch_token(
                self._provider()["token_endpoint"],
                code=request.args["code"],
                code_verifier=kept["verifier"],
                timeout=PATIENCE,
            )
            raw = answer["id_token"]
        except Refused:
            raise
        except Exception as error:
            log.warning("the provider gave no token", extra={"fields": {"error.type": type(error).__name__}})
            raise Refused("the provider gave no proof of who you are") from None
        return self._checked(raw, kept["nonce"])

    def _checked(self, raw: str, nonce: str) -> dict[str, Any]:
        rules = jwt.JWTClaimsRegistry(
            leeway=SKEW,
            iss={"essential": True, "value": self._provider()["issuer"]},
            aud={"essential": True, "value": str(self._parts.settings.oidc_client_id)},
            nonce={"essential": True, "value": nonce},
            exp={"essential": True},
            sub={"essential": True},
        )
        for fresh in (False, True):  # a key that is not known may be new
            try:
                token = jwt.decode(raw, self._key_set(fresh), algorithms=ALGORITHMS)
                rules.validate(token.claims)
                return dict(token.claims)
            except (JoseError, ValueError) as error:
                failed = type(error).__name__
        log.warning("an ID token was refused", extra={"fields": {"error.type": failed}})
        raise Refused("the provider's proof of who you are does not hold")

    def _role(self, claims: dict[str, Any]) -> Role:
        """The highest role that the claim gives. Raises Refused."""
        value = claims.get(self._parts.settings.oidc_claim)
        values = value if isinstance(value, list) else [value]
        roles = [self._roles[each] for each in values if isinstance(each, str) and each in self._roles]
        if not roles:
            raise Refused("you are known, but nobody has given you a role here")
        return max(roles, key=list(Role).index)

    def _client(self) -> OAuth2Session:
        settings = self._parts.settings
        base = settings.dashboard_url or f"{'https' if g.secure else 'http'}://{request.host}"
        return OAuth2Session(
            settings.oidc_client_id,
            settings.oidc_client_secret,
            scope="openid profile email",
            redirect_uri=f"{base}/login/oidc/callback",
            code_challenge_method="S256",
        )

    def _provider(self) -> dict[str, Any]:
        """What the provider says of itself, asked once an hour. Raises Refused."""
        with self._lock:
            if time.monotonic() - self._found.get("asked", -1e9) < 3600:
                found: dict[str, Any] = self._found["document"]
                return found
        document = _get(f"{self._issuer}/.well-known/openid-configuration")
        if document.get("issuer", "").rstrip("/") != self._issuer.rstrip("/"):
            raise Refused("the provider does not call itself what it should")
        with self._lock:
            self._found = {"asked": time.monotonic(), "document": document}
        return document

    def _key_set(self, fresh: bool) -> KeySet:
        if self._keys is None or fresh:
            self._keys = KeySet.import_key_set(_get(self._provider()["jwks_uri"]))  # type: ignore[arg-type]
        return self._keys

    def _no(self, error: Exception) -> Response:
        self._parts.trail.note("(OpenID Connect)", g.address, "sign-in", outcome=f"refused: {error}"[:300])
        page = render_template("login.html", error=f"Not signed in: {error}.", next="/", name="", oidc=True)
        return Response(page, 403, mimetype="text/html")


def _name(claims: dict[str, Any]) -> str:
    for key in ("preferred_username", "email", "name", "sub"):
        if isinstance(claims.get(key), str) and claims[key].strip():
            return " ".join(str(claims[key]).split())[:100]
    raise Refused("the provider does not say your name")


def _get(url: str) -> dict[str, Any]:
    try:
        answer = requests.get(url, timeout=PATIENCE, allow_redirects=False)
        document = answer.json() if answer.status_code == 200 else None
    except (requests.RequestException, ValueError) as error:
        log.warning("the provider does not answer", extra={"fields": {"error.type": type(error).__name__}})
        document = None
    if not isinstance(document, dict):
        raise Refused("your organisation's sign-in does not answer; try again, or use a password")
    return document
