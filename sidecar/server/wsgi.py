"""A WSGI application behind the event loop: what Flask serves, in a few threads where it may wait."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from sidecar.http.messages import Headers, Request, Response
from sidecar.http.problem import problem
from sidecar.server.framing import Refusal
from sidecar.server.http1 import Arrived, Http1, Reply
from sidecar.server.request_parser import Head, Why

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
THREADS: Final = 8


class WsgiApplication:
    """Serves it. It is called in threads, one a request."""

    def __init__(self, wsgi: Wsgi, threads: int = THREADS) -> None:
        self._wsgi = wsgi
        self._threads = ThreadPoolExecutor(threads, "wsgi")

    async def answer(self, head: Head, arrived: Arrived, client: Http1) -> Reply:
        if isinstance(arrived, Refusal):
            return Reply(measured(problem(arrived.status, arrived.detail)), close=True)
        ask = asyncio.get_running_loop().run_in_executor
        return Reply(measured(await ask(self._threads, asked, self._wsgi, arrived)))

    async def refuse(self, why: Why, head: bytes, remote: str) -> Response:
        return measured(problem(why[0], why[2]))


def asked(wsgi: Wsgi, request: Request, extra: dict[str, Any] | None = None) -> Response:
    """What the application says to the request."""
    said: list[tuple[str, Headers]] = []

    def start_response(status: str, fields: Headers, _error: Any = None) -> Callable[[bytes], Any]:
        said.append((status, fields))
        return lambda _: None

    pieces = wsgi(environ(request) | (extra or {}), start_response)
    try:
        body = b"".join(pieces)
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()
    status, fields = said[-1]
    return Response(int(status.split(" ", 1)[0]), list(fields), body)


def environ(request: Request) -> dict[str, Any]:
    """The request as PEP 3333 has it."""
    body = request.body if request.spool is None else request.spool.whole()
    name, colon, port = request.host.rpartition(":")
    host, port = (name, port) if colon and not request.host.endswith("]") else (request.host, "")
    made: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "RAW_URI": request.target,
        "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
        "QUERY_STRING": request.query,
        "SERVER_NAME": host or "localhost",
        "SERVER_PORT": port or ("443" if request.scheme == "https" else "80"),
        "SERVER_PROTOCOL": request.version,
        "REMOTE_ADDR": request.remote,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": request.scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "CONTENT_LENGTH": str(len(body)),
    }
    for name, value in request.headers:
        key = name.upper().replace("-", "_")
        if key in ("CONTENT_LENGTH", "TRANSFER_ENCODING"):
            continue
        key = key if key == "CONTENT_TYPE" else f"HTTP_{key}"
        made[key] = f"{made[key]},{value}" if key in made else value
    return made


def measured(response: Response) -> Response:
    """With its length, which the server does not add."""
    if response.header("content-length") is None and response.status not in (204, 304):
        response.headers.append(("Content-Length", str(len(response.body))))
    return response
