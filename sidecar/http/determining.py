# pure
"""Whether an answer to a read tells what is there: by the fields of the request that may select, and by its own."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256
from typing import Final

from sidecar.http.messages import Headers, Request, Response
from sidecar.http.remembered import remembered

_ANY: Final = frozenset(
    [
        "host",
        "user-agent",
        "accept",
        "accept-encoding",
        "accept-language",
        "accept-charset",
        "authorization",
        "connection",
        "keep-alive",
        "te",
        "cookie",
        "cache-control",
        "pragma",
        "content-type",
        "content-length",
        "origin",
        "referer",
        "date",
        "via",
        "forwarded",
        "priority",
        "dnt",
        "from",
        "upgrade-insecure-requests",
        "x-request-id",
        "x-requested-with",
        "traceparent",
        "tracestate",
        "x-real-ip",
        "expect",
        "if-none-match",
        "if-modified-since",
        "x-csrf-token",
        "save-data",
    ]
)
"""Fields of a request that select no other content, unless Vary names them."""
_ALIKE: Final = frozenset(("accept", "accept-encoding", "origin", "authorization", "cookie", "x-requested-with"))
"""Fields that Vary may name although what is learned does not differ by them: format, caller and manner are kept
apart."""
TOTALS: Final = ("x-total-count", "x-total", "total-count", "x-pagination-total-count")
"""Fields by which an answer says how many there are in all."""
_TELLING: Final = frozenset((*TOTALS, "link", "x-has-more", "x-total-pages"))
"""Fields by which an answer may say that it is a part."""


def determines(request: Request, response: Response, declared: Collection[str]) -> bool:
    """Whether an answer to a GET tells what is there: whole, asked without a body or a field that may select, fresh."""
    if request.size or selecting(request, declared):
        return False
    if response.status == 206 or response.header("content-range") is not None:
        return False
    names = varies(response)
    return names is not None and _ALIKE.issuperset(names) and not is_aged(response)


def shows(request: Request, response: Response, declared: Collection[str]) -> str | None:
    """What an event says of an answer to a GET that tells what is there: "whole", or "whole:N" where it says itself
    that there are N in all; None: it may be a part, or another one's, or chosen by a cookie, which no event names."""
    if request.method != "GET" or request.header("cookie") is not None or not determines(request, response, declared):
        return None
    if _TELLING.isdisjoint(name.lower() for name, _ in response.headers):
        return "whole"
    counted = total(response)
    if goes_on(response, counted or 0):
        return None
    return "whole" if counted is None else f"whole:{counted}"


def total_shown(shown: str) -> int | None:
    """How many there are in all, by what `shows` said."""
    counted = shown.partition(":")[2]
    return int(counted) if counted.isdecimal() else None


def selecting(request: Request, declared: Collection[str]) -> list[str]:
    """The fields, with their values, that may select other content: those that the contract has `declared` (in lower
    case), and whatever is not known to be harmless."""
    told = request.once(_told)
    return sorted(f"{low}={value}" for low, value, harmless in told if not harmless or low in declared)


def _told(headers: Headers) -> list[tuple[str, str, bool]]:
    """Each field's name in lower case, its value, and whether it selects no content unless it is declared."""
    return [(low, value, harmless) for name, value in headers for low, harmless in (_field(name),)]


@remembered(4096)
def _field(name: str) -> tuple[str, bool]:
    """A field's name in lower case, and whether it selects no content unless it is declared."""
    low = name.lower()
    return low, low in _ANY or low.startswith(("sec-", "x-forwarded-", "x-b3-", "understudy-", "x-understudy-"))


def manner(request: Request) -> str:
    """By what an API may choose what it tells and not say so: the language that is asked for, as it was written, and
    the cookies, of which no more than a digest is kept. Empty: neither."""
    wanted = (request.header("accept-language") or "").strip()
    if request.header("cookie") is None:
        return wanted
    sent = "; ".join(value for name, value in request.headers if name.lower() == "cookie")
    return f"{wanted} cookie={sha256(sent.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}".strip()


def spelling(path: str, template: str) -> str:
    """By what a path differs from how the contract writes it, where we take it for the same: `.json` at its end, a
    slash more or less, escapes. What another spelling means is the upstream's to say. Empty: it does not differ."""
    trimmed = path.removesuffix("/") if path != "/" else path
    slash = "/" if path.endswith("/") != template.endswith("/") else ""
    return (".json" if trimmed.endswith(".json") else "") + slash + ("%" if "%" in path else "")


def varies(response: Response) -> list[str] | None:
    """The fields that Vary names, in lower case; None: it varies by more than can be told."""
    names = [n.strip().lower() for key, value in response.headers if key.lower() == "vary" for n in value.split(",")]
    return None if "*" in names else sorted({name for name in names if name})


def is_aged(response: Response) -> bool:
    """Whether it comes from a cache, from before we asked."""
    age = response.header("age")
    return age is not None and age.strip() != "0"


def total(response: Response) -> int | None:
    """How many there are in all, where the answer says so."""
    for name in TOTALS:
        value = (response.header(name) or "").strip()
        if value.isdecimal():
            return int(value)
    return None


def goes_on(response: Response, shown: int) -> bool:
    """Whether a list says that there are more than it shows."""
    counted, more = total(response), (response.header("x-has-more") or "").strip().lower()
    links = " ".join(value for key, value in response.headers if key.lower() == "link").lower().replace('"', "")
    pages = (response.header("x-total-pages") or "1").strip()
    return "rel=next" in links or (counted is not None and counted != shown) or more in ("1", "true") or pages > "1"
