# pure
"""Names that a request carries through every system: our own event ids, X-Request-Id, and W3C's trace context."""

from __future__ import annotations

import random
import re


def uuid7(now_ns: int) -> str:
    """A UUIDv7 (RFC 9562, 5.7): 48 bits of milliseconds, then random bits, so that ids sort by time.

    It need not be hard to guess: the generator is seeded by the system, anew in each process, and asks it no more.
    """
    value = (now_ns // 1_000_000) << 80 | random.getrandbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def request_id(given: str | None, otherwise: str) -> str:
    """The client's X-Request-Id when it is 1 to 128 visible ASCII characters, else ours."""
    return given if given is not None and _REQUEST_ID.fullmatch(given) else otherwise


def traceparent(given: str | None) -> str:
    """The client's W3C trace context when it is well formed, else a new one that is not sampled."""
    if given is not None and _TRACEPARENT.fullmatch(given):
        return given
    return f"00-{random.getrandbits(128):032x}-{random.getrandbits(64):016x}-00"
