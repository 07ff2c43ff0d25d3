"""Lets in who may come in: every request, every page and every callback, refused unless it is said who may.

A callback belongs to a role; one that was not declared with `Callbacks.on` is refused to everyone. What changes
something must come from our own pages: it carries the session's token, and no foreign Origin.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final
from urllib.parse import quote, urlsplit

from dash import Dash
from flask import Flask, Response, g, jsonify, redirect, request

from dashboard.auth.sessions import Session, Sessions
from dashboard.auth.users import Role
from dashboard.still import Named
from sidecar.settings import Settings, within
from sidecar.settings.hosts import is_own_host

OPEN: Final = frozenset(
    {"/login", "/login/oidc", "/login/oidc/callback", "/healthz", "/assets/understudy.css", "/assets/icon.svg"}
)
"""What a visitor who is not signed in may ask for: the sign-in page and its looks, and whether we are alive."""
CALLBACK: Final = "/_dash-update-component"
WATCH: Final = "/session"
BROWSER: Final = "understudy_browser"
"""What an open page asks once a minute: is its session still alive? It is no use of the session."""
MACHINERY: Final = ("/_dash-", "/assets/", "/_favicon.ico")
SESSION: Final = "understudy"
HOME: Final = "/disclosure"
"""Where who may not see the overview begins."""
CSRF: Final = "_csrf_token"
CSRF_HEADER: Final = "X-CSRFToken"
SAFE: Final = ("GET", "HEAD", "OPTIONS")


class Callbacks:
    """Registers Dash's callbacks together with the least role that may call them."""

    def __init__(self, app: Dash) -> None:
        self._app = app
        self.roles: dict[str, Role] = {}
        self.named = Named()
        """What they read or change."""

    def on(self, role: Role, *dependencies: Any, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Like `Dash.callback`."""

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            before = set(self._app.callback_map)

            @wraps(function)
            def answer(*given: Any, **more: Any) -> Any:
                return self.named.still(function(*given, **more))

            self.named.add(dependencies)
            self._app.callback(*dependencies, **options)(answer)
            for name in set(self._app.callback_map) - before:
                self.roles[name] = role
            return function

        return register


class Guard:
    """Before and after every request."""

    def __init__(
        self, settings: Settings, sessions: Sessions, callbacks: Callbacks, pages: Mapping[str, Role], policy: str
    ) -> None:
        """`pages`: path → the least role; `policy`: the Content-Security-Policy."""
        self._settings = settings
        url = urlsplit(settings.dashboard_url or "").hostname
        self._hosts = (*settings.allowed_hosts, *([url] if url else []))
        self._sessions = sessions
        self._callbacks = callbacks
        self._pages = pages
        self._policy = policy

    def install(self, server: Flask) -> None:
        server.before_request(self.before)
        server.after_request(self.after)

    def before(self) -> Any:
        g.address, g.secure = self._where()
        g.session = None
        if not is_own_host(request.headers.get("Host"), self._hosts):
            return _refuse(421, "this is not the host that was asked for; UNDERSTUDY_ALLOWED_HOSTS names more of them")
        if request.method not in SAFE and self._is_foreign():
            return _refuse(403, "this did not come from the dashboard's own pages")
        token = request.cookies.get(cookie_name(g.secure))
        g.session = self._sessions.find(token, used=not _by_itself()) if token else None
        if request.path in OPEN:
            return None
        if g.session is None:
            return self._to_sign_in()
        if request.method not in SAFE and not _has_token(g.session):
            return _refuse(403, "the page is out of date: load it again")
        return self._admit(g.session)

    def _admit(self, session: Session) -> Any:
        if request.path == CALLBACK:
            body = request.get_json(silent=True)
            output = body.get("output") if isinstance(body, dict) else None
            needed = self._callbacks.roles.get(output) if isinstance(output, str) else None
        elif request.path.startswith(MACHINERY):
            return None
        else:
            if request.path == "/" and not session.role.includes(Role.AUDITOR):
                return redirect(HOME)
            needed = self._pages.get(request.path)
            if needed is None:
                return _refuse(404, "there is no such page")
        if needed is None or not session.role.includes(needed):
            return _refuse(403, "your role does not allow this")
        return None

    def _to_sign_in(self) -> Any:
        if request.method not in SAFE or request.path.startswith((*MACHINERY, WATCH)):
            return _refuse(401, "sign in first")
        query = request.query_string.decode("latin-1")
        return redirect("/login?next=" + quote(request.path + (f"?{query}" if query else ""), safe=""))

    def _is_foreign(self) -> bool:
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return True
        origin = request.headers.get("Origin")
        if origin is None:
            return False
        own = urlsplit(self._settings.dashboard_url).netloc if self._settings.dashboard_url else request.host
        return urlsplit(origin).netloc not in (own, request.host)

    def _where(self) -> tuple[str, bool]:
        """The client's address, and whether it speaks TLS: of trusted proxies, what they say."""
        address, secure = request.remote_addr or "", request.is_secure
        proxies = self._settings.trusted_proxies
        if within(address, proxies):
            hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
            while hops and within(address, proxies):
                address = hops.pop()
            secure = request.headers.get("X-Forwarded-Proto", "").strip().lower() == "https"
        return address, secure or (self._settings.dashboard_url or "").startswith("https:")

    def after(self, response: Response) -> Response:
        """Every answer, refusals too."""
        headers = response.headers
        headers["Content-Security-Policy"] = self._policy
        headers["X-Content-Type-Options"] = "nosniff"
        headers["X-Frame-Options"] = "DENY"
        headers["Referrer-Policy"] = "same-origin"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
        if getattr(g, "secure", False):
            headers["Strict-Transport-Security"] = "max-age=31536000"
        if not request.path.startswith(("/_dash-component-suites/", "/assets/")):
            headers["Cache-Control"] = "no-store"
        return response


def _by_itself() -> bool:
    """Whether the page asked without anybody's doing: a session that nobody uses ends, whatever stands open."""
    if request.path == WATCH:
        return True
    body = request.get_json(silent=True) if request.path == CALLBACK else None
    changed = body.get("changedPropIds") if isinstance(body, dict) else None
    return isinstance(changed, list) and bool(changed) and all(str(each).endswith(".n_intervals") for each in changed)


def cookie_name(secure: bool) -> str:
    """Browsers take a `__Host-` cookie only over TLS, from this host alone."""
    return f"__Host-{SESSION}" if secure else SESSION


def set_cookies(response: Response, token: str, csrf: str) -> None:
    """The session's, out of scripts' reach, and the token that our own scripts send back."""
    response.set_cookie(cookie_name(g.secure), token, httponly=True, secure=g.secure, samesite="Lax", path="/")
    response.set_cookie(CSRF, csrf, secure=g.secure, samesite="Strict", path="/")


def set_browser(response: Response, token: str) -> None:
    """Tells this browser from others at the next sign-in; it stays when its user signs out."""
    response.set_cookie(
        BROWSER, token, max_age=90 * 24 * 3600, httponly=True, secure=g.secure, samesite="Strict", path="/login"
    )


def clear_cookies(response: Response) -> None:
    response.delete_cookie(cookie_name(g.secure), path="/", secure=g.secure, httponly=True, samesite="Lax")
    response.delete_cookie(CSRF, path="/", secure=g.secure, samesite="Strict")


def _has_token(session: Session) -> bool:
    given = request.headers.get(CSRF_HEADER) or request.form.get(CSRF) or ""
    return hmac.compare_digest(given.encode("utf-8", "replace"), session.csrf.encode())


def _refuse(status: int, why: str) -> Response:
    if request.path.startswith("/_dash-") or request.method not in SAFE:
        answer: Response = jsonify({"error": why})
    else:
        from flask import render_template

        answer = Response(render_template("refused.html", why=why, status=status), mimetype="text/html")
    answer.status_code = status
    return answer
