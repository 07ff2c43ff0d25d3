"""A small real OpenID Connect provider: discovery, keys, authorization with PKCE, token. Signs everyone in at once."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "understudy", "client-secret"


@dataclass
class Provider:
    """`claims` are the next person's; `spoil` changes the token's claims before they are signed."""

    claims: dict[str, Any] = field(
        default_factory=lambda: {"sub": "u-1", "email": "holt@vet.example", "groups": ["vets"]}
    )
    spoil: dict[str, Any] = field(default_factory=dict)
    sign_with: RSAKey | None = None

    def __post_init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig", "alg": "RS256"})
        self.codes: dict[str, dict[str, Any]] = {}
        provider = self

        class Handler(_Handler):
            def do_GET(self) -> None:
                provider.get(self)

            def do_POST(self) -> None:
                provider.post(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def get(self, handler: _Handler) -> None:
        parts = urlsplit(handler.path)
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path == "/.well-known/openid-configuration":
            paths = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/keys"}
            handler.say(200, {"issuer": self.url, **{name: self.url + path for name, path in paths.items()}})
        elif parts.path == "/keys":
            handler.say(200, {"keys": [self.key.as_dict(private=False)]})
        elif parts.path == "/authorize" and asked["client_id"] == CLIENT and asked["code_challenge_method"] == "S256":
            code = secrets.token_urlsafe(16)
            self.codes[code] = {**asked, "claims": dict(self.claims)}
            handler.say(302, {}, f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")
        else:
            handler.say(404, {})

    def post(self, handler: _Handler) -> None:
        form = {key: values[0] for key, values in parse_qs(handler.body().decode()).items()}
        expected = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        kept = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        proof = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if handler.headers["Authorization"] != expected or kept is None or proof != kept["code_challenge"]:
            handler.say(400, {"error": "invalid_grant"})
            return
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": kept["nonce"],
            **kept["claims"],
        }
        token = jwt.encode({"alg": "RS256", "kid": "k1"}, {**claims, **self.spoil}, self.sign_with or self.key)
        handler.say(200, {"access_token": "a", "token_type": "Bearer", "expires_in": 300, "id_token": token})

    def __enter__(self) -> Provider:
        return self

    def __exit__(self, *_: Any) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def say(self, status: int, document: Any, location: str = "") -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def log_message(self, *_: Any) -> None:
        """Quiet."""
