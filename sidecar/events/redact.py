"""What may be written down of a request or an answer. Pure.

A field whose name contains a secret name, in any case and at any depth, has its value replaced; so have query
parameters of such names, and the caller's own secrets wherever they are echoed. A body that may hold a secret and
cannot be read as JSON is not recorded at all, nor is its digest: a digest of a short secret can be guessed.
"""

from __future__ import annotations

import codecs
import re
import zlib
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, quote_plus, unquote_plus

import orjson

from sidecar.http.credentials import parse_authorization
from sidecar.http.messages import Headers, Request
from sidecar.http.remembered import remembered
from sidecar.http.secret_names import SUBSTRINGS, is_secret_name, may_hold_secret

REDACTED: Final = "[redacted]"
LARGEST: Final = 1 << 20
"""A longer body (or one that is longer when unpacked) is counted, and not recorded."""
_USERINFO: Final = re.compile(r"\A((?:[\w+.-]*:)?//|(?!/))[^/]*@")
SHORTEST: Final = 4
"""A secret value shorter than this is replaced in its field only: as an echo it could be any word."""
FEW: Final = 32
"""Forms of secrets for which a text is searched one after another."""
LONGEST_SEARCH: Final = 1 << 26
"""Characters that are gone through for the secrets that a text may echo; one that takes more is redacted whole."""


class Redactor:
    """Redacts one exchange: learns the caller's secrets from the request first, then cleans request and answer."""

    __slots__ = ("_names", "_values", "_words")

    def __init__(self, secret_names: frozenset[str], request: Request) -> None:
        self._names, self._words = _names(secret_names)
        self._values = dict(request.once(_callers_secrets))
        """The caller's secrets, each in the forms in which it may be echoed."""

    def secret_name(self, name: str) -> bool:
        """Whether the contract or the common rule calls what goes by this name a secret."""
        lowered = name.lower()
        return any(word in lowered for word in self._names) or is_secret_name(name)

    def text(self, text: str) -> str:
        """The text without the caller's own secrets, in plain, JSON and percent-encoded form."""
        forms = [form for value in self._values.values() for form in value]
        if len(forms) > FEW:
            begun = _begun(forms, text)
            forms = [form for form in forms if tuple(form[:SHORTEST]) in begun]
            if len(forms) * len(text) > LONGEST_SEARCH:
                return REDACTED
        for form in forms:
            if form in text:
                text = text.replace(form, REDACTED)
        return text

    def path(self, path: str) -> str:
        """The path. Of a target in absolute form (which is refused, and recorded) without the user and the password."""
        return self.text(_USERINFO.sub(rf"\1{REDACTED}@", path) if "@" in path else path)

    def query(self, query: str) -> str:
        """The query byte for byte, but for the values of secret parameters."""
        if not query:
            return ""
        return "".join(self._pair(part) for part in re.split("([&;])", query)) if self._suspect(query) else query

    def body(self, body: bytes, encoding: str | None, cap: int, *, request: bool) -> str | None:
        """What may be recorded of a body, at most `cap` bytes of UTF-8; None: nothing may.

        Of a request only JSON is taken: in anything else a secret could hide under a name we do not know.
        """
        plain = _unpacked(body, encoding)
        if plain is None or len(plain) > LARGEST:
            return None
        suspect = _suspect(plain, self._words)
        if suspect or request:
            try:
                value = orjson.loads(plain)
                plain = orjson.dumps(self._cleaned(value)) if suspect else plain
            except (orjson.JSONDecodeError, orjson.JSONEncodeError):
                return None
        return self._capped(plain, cap)

    def _capped(self, plain: bytes, cap: int) -> str | None:
        try:
            whole = self.text(plain.decode())
        except UnicodeDecodeError:
            return None
        if "\0" in whole:
            return None
        return whole if len(whole) * 4 <= cap else codecs.utf_8_decode(whole.encode()[:cap], "strict", False)[0]

    def _suspect(self, text: str) -> bool:
        return self._text_holds(unquote_plus(text)) if "%" in text or "+" in text else self._text_holds(text)

    def _text_holds(self, text: str) -> bool:
        """Whether there may be a secret in the text, under some name in it."""
        lowered = text.lower()
        return any(word in lowered for word in self._names) or may_hold_secret(text.encode("utf-8", "replace"))

    def _pair(self, part: str) -> str:
        key, equals, value = part.partition("=")
        if not (self.secret_name(unquote_plus(key)) or self._suspect(value or part)):
            return part
        self._learn(unquote_plus(value))
        return f"{key}={REDACTED}" if equals and not _holds_value(unquote_plus(key)) else REDACTED

    def _cleaned(self, root: Any) -> Any:
        """The value with secrets replaced in place; a loop, not recursion: the depth is the client's choice."""
        if not isinstance(root, (dict, list)):
            return self._scalar(root)
        stack: list[Any] = [root]
        while stack:
            node = stack.pop()
            for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
                if isinstance(key, str) and self.secret_name(key):
                    self._learn(value)
                    node[key] = REDACTED
                elif isinstance(value, (dict, list)):
                    stack.append(value)
                elif isinstance(value, str):
                    node[key] = self._scalar(value)
        return root

    def _scalar(self, value: Any) -> Any:
        """JSON inside a string may hold a secret too."""
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "[", '"') and self._text_holds(value):
            return REDACTED
        return value

    def _learn(self, value: Any) -> None:
        if isinstance(value, str) and len(value) >= SHORTEST and value not in self._values:
            self._values[value] = _forms(value)


def _callers_secrets(headers: Headers) -> dict[str, tuple[str, ...]]:
    """What a request's fields hold of them."""
    told = [value for key, value in headers if key.lower() in ("authorization", "cookie", "proxy-authorization")]
    secrets = [secret for value in told for secret in _credentials(value) if len(secret) >= SHORTEST]
    return {secret: _forms(secret) for secret in secrets}


@remembered(4096)
def _suspect(plain: bytes, words: tuple[bytes, ...]) -> bool:
    """Whether a body may hold a secret under some name; most short ones are seen again and again."""
    lowered = plain.lower()
    return may_hold_secret(plain) or any(word in lowered for word in words)


def _holds_value(key: str) -> bool:
    return any(mark in key for mark in "={:\"'")


@lru_cache(maxsize=16)
def _names(given: frozenset[str]) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
    names = tuple(sorted({name.lower() for name in given} | SUBSTRINGS))
    return names, tuple(name.encode() for name in names)


def _begun(forms: list[str], text: str) -> set[tuple[str, ...]]:
    """With which characters forms begin that the text may hold. It is gone through once, however many there are."""
    every = zip(*(text[i:] for i in range(SHORTEST)), strict=False)
    return {tuple(form[:SHORTEST]) for form in forms}.intersection(every)


@remembered(256)
def _forms(value: str) -> tuple[str, ...]:
    """In plain, JSON and percent-encoded form."""
    if value.isascii() and value.isalnum():
        return (value,)
    written = orjson.dumps(value.encode("utf-8", "replace").decode())[1:-1].decode()
    return tuple(dict.fromkeys((value, written, quote(value, errors="replace"), quote_plus(value, errors="replace"))))


@remembered(256)
def _credentials(value: str) -> list[str]:
    """The secrets in an Authorization or Cookie field: the token itself, and the password of Basic."""
    _, _, token = value.partition(" ")
    found = [value, token.strip()] if token else [value]
    caller = parse_authorization(value)
    if caller is not None:
        found.append(caller.password)
    else:
        found += [part.partition("=")[2].strip() for part in value.split(";")]
    return found


def _unpacked(body: bytes, encoding: str | None) -> bytes | None:
    """The body without its Content-Encoding, or None when that cannot be undone within bounds."""
    if encoding is None or encoding.lower() in ("", "identity"):
        return body
    if encoding.lower() not in ("gzip", "x-gzip", "deflate"):
        return None
    unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        plain = unpack.decompress(body, LARGEST + 1)
    except zlib.error:
        return None
    return plain if unpack.eof else None
