"""Which TLS is spoken: Mozilla's Server Side TLS profiles, version 5.7 (https://ssl-config.mozilla.org/guidelines/5.7.json).

Of `intermediate` the three DHE suites are left out: they need parameters of their own, and every client that the
profile is for speaks ECDHE. Pure data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Profile:
    """`protocols` from the oldest, in nginx's words; `ciphers` (TLS 1.2) and `suites` (TLS 1.3) in OpenSSL's."""

    name: str
    protocols: tuple[str, ...]
    ciphers: tuple[str, ...]
    suites: tuple[str, ...] = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
    curves: tuple[str, ...] = ("X25519", "prime256v1", "secp384r1")


PROFILES: Final[Mapping[str, Profile]] = {
    "intermediate": Profile(
        "intermediate",
        ("TLSv1.2", "TLSv1.3"),
        (
            "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305",
        ),
    ),
    "modern": Profile("modern", ("TLSv1.3",), ()),
}  # fmt: skip
