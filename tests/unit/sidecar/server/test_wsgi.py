"""A WSGI application behind the loop: asked in a thread, with the request as it came, and told whole."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any, cast

import pytest
from flask import Flask, request

from sidecar.http.messages import Request
from sidecar.server.framing import Refusal
from sidecar.server.http1 import Http1
from sidecar.server.request_parser import Head
from sidecar.server.wsgi import WsgiApplication, asked, environ

HEAD = Head("GET", "/", "HTTP/1.1", [], 0, b"")
CLIENT = cast("Http1", None)


@pytest.mark.parametrize(
    ("host", "name", "port"),
    [
        ("h", "h", "80"), ("h:8081", "h", "8081"),
        ("[::1]", "[::1]", "80"), ("[::1]:8081", "[::1]", "8081"), ("", "localhost", "80"),
    ],
)  # fmt: skip
def test_where_it_was_asked(host: str, name: str, port: str) -> None:
    made = environ(Request("GET", "/", [("Host", host)], host=host))
    assert (made["SERVER_NAME"], made["SERVER_PORT"]) == (name, port)


def test_flask_sees_the_request_and_its_answer_comes_back() -> None:
    app, threads = Flask("test"), list[int]()

    @app.route("/a b/<name>", methods=["POST"])
    def say(name: str) -> tuple[str, int, dict[str, str]]:
        threads.append(threading.get_ident())
        fields = [request.headers["X-Twice"], request.headers["Content-Type"], str(request.content_length)]
        return f"{name} {request.query_string.decode()} {request.data.decode()}", 201, {"X-Said": " ".join(fields)}

    sent = Request(
        "POST", "/a%20b/%C3%A9?q=%20", [("X-Twice", "1"), ("X-Twice", "2"), ("Content-Type", "text/plain")], b"body",
        "192.0.2.7", host="h",
    )  # fmt: skip
    reply = asyncio.run(WsgiApplication(app).answer(HEAD, sent, CLIENT))
    response = reply.response
    assert (response.status, response.body.decode()) == (201, "é q=%20 body")
    assert response.header("x-said") == "1,2 text/plain 4"
    assert response.header("content-length") == str(len(response.body))
    assert threads != [threading.get_ident()]


def test_what_is_no_request_is_a_problem_and_the_application_is_not_asked() -> None:
    def never(_environ: dict[str, Any], _start: Callable[..., Any]) -> Iterable[bytes]:
        raise AssertionError

    served = WsgiApplication(never)
    reply = asyncio.run(served.answer(HEAD, Refusal(413, "too_large", "Too large."), CLIENT))
    assert (reply.response.status, reply.close) == (413, True)
    assert asyncio.run(served.refuse((400, "bad_head", "Malformed."), b"", "192.0.2.7")).status == 400


def test_what_the_application_opened_is_closed() -> None:
    closed: list[bool] = []

    class Pieces(list[bytes]):
        def close(self) -> None:
            closed.append(True)

    def told(_environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        start("200 OK", [])
        return Pieces([b"a", b"b"])

    assert asked(told, Request("GET", "/", [])).body == b"ab"
    assert closed == [True]
