"""What the gateway itself says is an answer of Flask's."""

from __future__ import annotations

from flask import Flask, request
from flask import Response as FlaskResponse

from sidecar.gateway.gateway import ANSWER


def own_answers() -> Flask:
    """An application that sends what its environment says."""
    app = _Answers("sidecar", static_folder=None)
    app.before_request(_answer)
    return app


class _Answers(Flask):
    """Flask that looks for no route: it has none, and the exception that says so would hold the exchange, body and all,
    until the next garbage collection."""

    def create_url_adapter(self, request: object) -> None:
        return None


def _answer() -> FlaskResponse:
    """The gateway's answer, as Flask sends it."""
    answer = request.environ[ANSWER]
    return FlaskResponse(answer.body, answer.status, answer.headers)
