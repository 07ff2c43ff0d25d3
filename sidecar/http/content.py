# pure
"""A body as it is meant: its content coding undone, its media type named."""

from __future__ import annotations

import zlib
from typing import Final

from sidecar.http.messages import Response

LARGEST_KEPT: Final = 4 << 20
"""Bytes of an answer, other than JSON, beyond which the standby does not keep it: nothing is learned from it then."""
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS


class Unreadable(ValueError):
    """The body cannot be what its headers say."""


def decode_body(response: Response, limit: int) -> bytes:
    """The body with its content coding undone. Raises Unreadable, also beyond `limit` bytes."""
    coding = (response.header("content-encoding") or "identity").strip().lower()
    if coding == "identity":
        return response.body
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise Unreadable(f"content coding {coding[:20]} was not asked for")
    decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        body = decoder.decompress(response.body, limit)
    except zlib.error as error:
        raise Unreadable(str(error)) from None
    if not decoder.eof:
        raise Unreadable("the compressed body is cut short or too large")
    return body


def media_type(content_type: str | None) -> str | None:
    """A Content-Type's media type, without parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower() if content_type else None
