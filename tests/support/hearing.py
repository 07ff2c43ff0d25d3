"""A standby that hears of an upstream, without a process of its own: what unit tests of what it learns begin with."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import delete

from sidecar.contract import Contract
from sidecar.http.messages import Request, Response
from sidecar.settings import load_settings
from sidecar.standby.standby import Standby
from sidecar.storage.database import metadata, open_engine
from tests.support.tables import lay

HOSP = Contract.load("hosp")
JSON = [("Content-Type", "application/json; charset=utf-8")]


def request(method: str, target: str, body: Any = None) -> Request:
    return Request(method, target, list(JSON), b"" if body is None else json.dumps(body).encode(), host="h")


def response(status: int, value: Any = None) -> Response:
    return Response(status, list(JSON), b"" if value is None else json.dumps(value).encode())


class Hearing:
    """One that may be used by many tests: `reset` makes it forget."""

    def __init__(self, data: Path, **given: str) -> None:
        """`given`: settings, in lower case."""
        settings = {f"UNDERSTUDY_{name.upper()}": value for name, value in given.items()}
        self.settings = load_settings({"UNDERSTUDY_DATA": str(data), **settings})
        self.engine = open_engine(self.settings)
        lay(self.engine)
        self.standby = Standby(HOSP, self.engine, self.settings)

    def reset(self) -> None:
        self.standby.flush()
        with self.engine.begin() as connection:
            for table in metadata.sorted_tables:
                connection.execute(delete(table))
        self.standby.mark_gap("a new example begins")
        self.standby.outbox.touch()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.standby.close()
        self.engine.dispose()
