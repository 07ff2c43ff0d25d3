# pure
"""Who a request says that it comes from: the Authorization field, read and written in one place.

Basic is read as leniently as any upstream does (Rails' `Base64.decode64` passes over what is not in the alphabet, and
stops at a pad), so that no spelling names a user to the upstream and nobody to us. What goes on is only what was read,
in one canonical spelling: there is then nothing that the upstream could read otherwise.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Final

from sidecar.http.messages import Headers
from sidecar.http.remembered import remembered

_BASIC: Final = re.compile(r"\s*basic(?![A-Za-z0-9!#$%&'*+.^_`|~-])(.*)", re.ASCII | re.IGNORECASE | re.DOTALL)
_STRICT: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", re.ASCII)
_ALPHABET: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


class TwoAuthorizations(ValueError):
    """More than one Authorization field: we would believe one, the upstream perhaps the other."""


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """A Basic user name and password. Never logged: it has no repr."""

    user: str
    password: str
    authorization: str = field(default="", compare=False)
    """The field that says so, in the one spelling that is sent on."""


def parse_authorization(authorization: str | None) -> Credentials | None:
    """The Basic credentials of an Authorization field, or None where it holds none.

    Without a colon all of it is the name. A name is UTF-8 or, failing that, latin-1.
    """
    return _parsed(authorization) if authorization else None


@remembered(512)
def _parsed(authorization: str) -> Credentials | None:
    found = _BASIC.fullmatch(authorization)
    if found is None:
        return None
    raw = decode_base64(found[1].strip(" \t"))
    if not raw:
        return None
    if b":" not in raw:
        raw += b":"
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    user, _, password = text.partition(":")
    return Credentials(user, password, f"Basic {base64.b64encode(raw).decode()}")


def canonical_authorization(headers: Headers) -> Headers:
    """The fields, with Basic credentials in their canonical spelling, and without Basic of which nothing can be read.

    What is of another scheme is not ours to change. Raises TwoAuthorizations.
    """
    places = [place for place, (name, _) in enumerate(headers) if name.lower() == "authorization"]
    if not places:
        return headers
    if len(places) > 1:
        raise TwoAuthorizations("The request has more than one Authorization field.")
    name, value = headers[places[0]]
    if _BASIC.fullmatch(value) is None:
        return headers
    caller = parse_authorization(value)
    if caller is not None and caller.authorization == value:
        return headers
    canonical = [] if caller is None else [(name, caller.authorization)]
    return [*headers[: places[0]], *canonical, *headers[places[0] + 1 :]]


def decode_base64(text: str) -> bytes:
    """As Ruby's `unpack("m")` reads it: other characters are passed over, and a pad in its place is the end."""
    if _STRICT.fullmatch(text):
        return base64.b64decode(text)
    quads: list[str] = [""]
    for character in text:
        if character in _ALPHABET:
            if len(quads[-1]) == 4:
                quads.append("")
            quads[-1] += character
        elif character == "=" and len(quads[-1]) in (2, 3):
            break
    last = quads[-1]
    whole = "".join(quads[:-1])
    # one character more is 6 bits, less than a byte: it says nothing
    return base64.b64decode(whole + (last + "=" * (-len(last) % 4) if len(last) > 1 else ""))


def folded(user: str) -> str:
    """A user's name without what some API may pass over: case, blanks around and doubled, forms of one character."""
    return " ".join(unicodedata.normalize("NFKC", user).casefold().replace("\0", " ").split())


def basic_authorization(user: str, password: str) -> str:
    """The Authorization field of these credentials."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
