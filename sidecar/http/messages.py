# pure
"""A request and a response, whole, as they cross the wire: header fields in order, bodies counted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Headers = list[tuple[str, str]]
"""Fields in the order received, names as sent, values as latin-1 text."""


class SpooledBody(Protocol):
    """A body that is not held in memory (`spooled_body`)."""

    size: int

    def pieces(self) -> Iterator[bytes]:
        """The body, in order."""

    def whole(self) -> bytes:
        """The body in memory after all."""


class Cut(Exception):
    """What was being passed on has ended before its end. Its word says how."""


class PassedOnBody(Protocol):
    """The body of an answer that is passed on as it comes: it is too large to be held, or too slow to be waited for."""

    size: int | None
    """Bytes, as its head says; None: it does not say."""

    def pieces(self) -> AsyncIterator[bytes]:
        """All of it, in order, once. Raises Cut."""

    def close(self) -> None:
        """Nobody takes any more of it."""

    def when_over(self, tell: Callable[[str | None], None]) -> None:
        """Tells when no more of it comes: None when it was whole, or how it ended, in one word."""


@dataclass(slots=True)
class Request:
    """A client's request, whole: no Request exists for a body whose end is not certain."""

    method: str
    target: str
    """Path and query byte for byte as received (latin-1), without scheme and authority."""
    headers: Headers
    body: bytes = b""
    """Empty when `spool` holds it."""
    remote: str = ""
    """The client's address, after trusted proxies."""
    scheme: str = "http"
    host: str = ""
    """The Host the client used, port included."""
    version: str = "HTTP/1.1"
    spool: SpooledBody | None = None
    """A body too large for memory."""
    _made: tuple[Headers, dict[str, str], dict[Any, Any]] | None = field(
        default=None, init=False, repr=False, compare=False
    )
    """What was made of these headers: the first value of each field by its name in lower case, and more."""

    def another(self, method: str, target: str) -> Request:
        """One with the same fields, of the same client, without a body."""
        made = Request(
            method, target, self.headers, b"", self.remote, self.scheme, self.host, self.version
        )  # fmt: skip
        made._made = self._made
        return made

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.body) if self.spool is None else self.spool.size

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    def once(self, work: Callable[[Headers], T]) -> T:
        """What `work`, a function of a module, makes of the fields: once for all requests of a connection that have
        the same. It is not to be changed."""
        made = self._of_fields()[2]
        if work not in made:
            made[work] = work(self.headers)
        found: T = made[work]
        return found

    def header(self, name: str) -> str | None:
        """The first field of that name (lower case), or None."""
        return self._of_fields()[1].get(name)

    def _of_fields(self) -> tuple[Headers, dict[str, str], dict[Any, Any]]:
        made = self._made
        if made is None or made[0] is not self.headers:
            made = self._made = self.headers, _named(self.headers), {}
        return made


def _named(headers: Headers) -> dict[str, str]:
    """The first value of each field, by its name in lower case."""
    return {key.lower(): value for key, value in reversed(headers)}


@dataclass(slots=True)
class Response:
    """An answer. `headers` hold end-to-end fields only."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    passed_on: PassedOnBody | None = None
    """The body, where it is passed on as it comes: nothing can be learned from it, and `body` is empty."""
    _named: tuple[Headers, int, dict[str, str]] | None = field(default=None, init=False, repr=False, compare=False)
    """The first value of each field by its name in lower case, of so many fields of this list."""

    @property
    def size(self) -> int | None:
        """Bytes of the body; None: nobody knows yet."""
        return len(self.body) if self.passed_on is None else self.passed_on.size

    def header(self, name: str) -> str | None:
        """The first field of that name (lower case), or None."""
        named, headers = self._named, self.headers
        if named is None or named[0] is not headers or named[1] != len(headers):
            named = headers, len(headers), _named(headers)
            self._named = named
        return named[2].get(name)


def first(headers: Headers, name: str) -> str | None:
    for key, value in headers:
        if key.lower() == name:
            return value
    return None
