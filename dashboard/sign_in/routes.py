"""The routes that are no Dash pages: signing in and out, downloads, and whether we are alive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, g, redirect, render_template, request, send_file

from dashboard.auth.authorization import BROWSER, CSRF, WATCH, clear_cookies, set_browser, set_cookies
from dashboard.auth.sessions import Locked
from dashboard.auth.users import Role
from dashboard.context import Parts
from dashboard.data.signed_lines import FORMS

PATHS = {
    "/logout": Role.DISCLOSURE,
    "/logout/everywhere": Role.DISCLOSURE,
    "/audit/export": Role.AUDITOR,
    "/audit/evidence/file": Role.AUDITOR,
    WATCH: Role.DISCLOSURE,
    "/disclosure/file": Role.DISCLOSURE,
}
"""What these routes need, for the guard."""


class Entrance:
    def __init__(self, parts: Parts, oidc: bool) -> None:
        self._parts = parts
        self._oidc = oidc

    def install(self, server: Flask) -> None:
        for rule, view, methods in (
            ("/login", self.form, ["GET"]),
            ("/login", self.sign_in, ["POST"]),
            ("/logout", self.sign_out, ["POST"]),
            ("/logout/everywhere", self.sign_out_everywhere, ["POST"]),
            ("/audit/export", self.download, ["GET"]),
            ("/audit/evidence/file", self.evidence, ["GET"]),
            ("/disclosure/file", self.disclosure, ["GET"]),
            (WATCH, lambda: {"status": "signed in"}, ["GET"]),
            ("/healthz", lambda: {"status": "alive"}, ["GET"]),
        ):
            server.add_url_rule(rule, f"{methods[0]} {rule}", view, methods=methods)

    def form(self, error: str = "", status: int = 200, name: str = "") -> Any:
        if g.session is not None and not error:
            return redirect("/")
        onward = next_path(request.values.get("next", "/"))
        page = render_template("login.html", error=error, next=onward, name=name, oidc=self._oidc)
        return Response(page, status, mimetype="text/html")

    def sign_in(self) -> Any:
        name, password = request.form.get("name", "").strip(), request.form.get("password", "")
        parts, agent = self._parts, request.headers.get("User-Agent", "")
        try:
            token = parts.sessions.sign_in(name, password, g.address, agent, request.cookies.get(BROWSER))
        except Locked as locked:
            known = name if parts.users.find(name) else "(no such user)"
            parts.trail.note(known, g.address, "sign-in", outcome="refused: too many failures")
            answer: Response = self.form(f"Too many failed sign-ins. Try again in {locked.seconds} s.", 429, name)
            answer.headers["Retry-After"] = str(locked.seconds)
            return answer
        if token is None:
            known = name if parts.users.find(name) else "(no such user)"  # people type passwords into the wrong field
            parts.trail.note(known, g.address, "sign-in", outcome="refused: wrong name or password")
            return self.form("Wrong name or password.", 401, name)
        answer = welcome(parts, token, next_path(request.form.get("next", "/")))
        set_browser(answer, parts.sessions.known_browser(name, request.cookies.get(BROWSER)))
        return answer

    def sign_out(self) -> Any:
        self._parts.sessions.end(g.session)
        return self._goodbye("sign-out", "this session")

    def sign_out_everywhere(self) -> Any:
        ended = self._parts.sessions.end_all(g.session.user)
        return self._goodbye("sign-out", f"everywhere ({ended} sessions)")

    def _goodbye(self, action: str, subject: str) -> Any:
        self._parts.trail.note(g.session, g.address, action, subject)
        answer = redirect("/login", 303)
        clear_cookies(answer)  # type: ignore[arg-type]
        return answer

    def download(self) -> Any:
        """One of the two files of a finished export, to the person who made it."""
        ident, part = request.args.get("id", ""), request.args.get("part", "file")
        export = self._parts.exports.find(ident, g.session.user)
        if export is None or export.state != "done" or part not in ("file", "manifest"):
            page = render_template("refused.html", status=404, why="there is no such export, or it is not finished")
            return Response(page, 404, mimetype="text/html")
        path = self._parts.exports.path(export, part)
        self._parts.trail.note(g.session, g.address, "download", path.name)
        return send_file(path, as_attachment=True, download_name=path.name, mimetype="application/octet-stream")

    def evidence(self) -> Any:
        """One of the files of an evidence pack."""
        packs = self._parts.packs
        return self._signed(packs.find(request.args.get("id", "")), packs.handed_out, "there is no such evidence pack")

    def disclosure(self) -> Any:
        """One of the files of a patient's access log; to who made it, and to auditors."""
        logs = self._parts.disclosures
        found = logs.find(request.args.get("id", ""), g.session.only_own)
        return self._signed(found, logs.handed_out, "there is no such access log")

    def _signed(self, made: Any, handed_out: Callable[[Any, str, str], tuple[str, bytes]], none: str) -> Any:
        form, part = request.args.get("form", "jsonl"), request.args.get("part", "file")
        if made is None or form not in FORMS or part not in ("file", "manifest"):
            return Response(render_template("refused.html", status=404, why=none), 404, mimetype="text/html")
        name, content = handed_out(made, form, part)
        self._parts.trail.note(g.session, g.address, "download", name)
        headers = {"Content-Disposition": f"attachment; filename={name}"}
        return Response(content, headers=headers, mimetype="application/octet-stream")


def welcome(parts: Parts, token: str, onward: str) -> Response:
    """Signed in: cookies, a line in the trail, and on to where the person wanted to go."""
    session = parts.sessions.find(token)
    assert session is not None
    parts.trail.note(session, g.address, "sign-in")
    answer: Any = redirect(onward, 303)
    set_cookies(answer, token, session.csrf)
    return answer  # type: ignore[no-any-return]


def next_path(wanted: str) -> str:
    """Where to go after signing in: a path of ours, never another site."""
    parts = urlsplit(wanted)
    ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return wanted if ours and wanted.isprintable() and "\\" not in wanted else "/"


__all__ = ["CSRF", "PATHS", "Entrance", "next_path", "welcome"]
