# pure
"""Which names are those of secrets, in a query or a body: one rule for the journal, the event store and the standby.

A name is taken apart into its words (`apiKey`, `user[session_id]`, `X-Auth-Token`): `pin` is one, `opinion` has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from sidecar.http.remembered import remembered

SUBSTRINGS: Final = frozenset(
    {"password", "passwd", "passphrase", "passcode", "authorization", "cookie", "credential"}
    | {"api_key", "access_token", "refresh_token", "client_secret"}
)
"""What makes a secret of any name that has it inside."""
_WORDS: Final = frozenset(
    ("auth", "authentication", "bearer", "csrf", "jwt", "otp", "pin", "pwd", "pass", "secret", "secrets")
    + ("session", "sessionid", "sid", "token", "tokens", "totp", "xsrf", "apikey", "accesskey", "privatekey")
)
_KEYS: Final = frozenset(("api", "access", "private", "secret", "signing", "encryption"))
"""Words before `key` that make a secret of it."""
_SPLIT: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W_0-9A-Za-z]+")
_PARTS: Final = tuple(part.encode() for part in sorted(SUBSTRINGS))
_ALL: Final = sorted({*SUBSTRINGS, *_WORDS, "key"})
_STEMS: Final = tuple(w.encode() for w in _ALL if not any(other in w for other in _ALL if other != w))
"""Without any of these a text has no secret's name in it: quicker to see than what follows one."""
_BACKWARDS: Final = b"|".join(stem[::-1] for stem in _STEMS)
_HINT: Final = re.compile(rb"[:=]\s*+[\"'\\]*+[\w\]%.-]*?(?:" + _BACKWARDS + rb")")
"""What follows such a name, and the name: of a text read from its end, in lower case. So each is gone through once.
Forwards, what follows a word would be gone through again at each word in it; a picture in capitals has thousands."""


@remembered(4096)
def is_secret_name(name: str) -> bool:
    """Whether what goes by this name is a secret."""
    lowered = name.lower()
    if any(part in lowered for part in SUBSTRINGS):
        return True
    words = [word.lower() for word in _SPLIT.findall(name)]
    if not _WORDS.isdisjoint(words):
        return True
    return any(after == "key" and before in _KEYS for before, after in zip(words, words[1:], strict=False))


def may_hold_secret(text: bytes) -> bool:
    """Whether a text may have a secret under some name; quick, and rather once too often."""
    lowered = text.lower()
    if b"\\u" in lowered:
        return True
    for stem in _STEMS:
        if stem in lowered:
            return any(part in lowered for part in _PARTS) or _HINT.search(lowered[::-1]) is not None
    return False


def names_in(root: Any) -> Iterator[str]:
    """Every member's name in a JSON value, at any depth."""
    stack = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            yield from node
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
