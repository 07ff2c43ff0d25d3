"""What a front door needs for HTTPS beside HTTP, each part with a switch of its own. Reads the certificate's files.

The steps of a cut-over, in order, each undone by the one before it:
1. HTTPS beside HTTP: nobody is sent anywhere.  2. `redirect get`: GET and HEAD move (301).  3. `hsts 300`: browsers
remember for five minutes.  4. `redirect all`: everything moves, a write keeps its method and body (308).
5. `hsts 31536000`. Clients that cannot follow a 308 are found in step 2, by the writes that still come over HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from compose.tls import certificate as certificates
from compose.tls.profiles import PROFILES, Profile

Redirect = Literal["off", "get", "all"]
REDIRECTS: Final = ("off", "get", "all")
CHALLENGES: Final = "/.well-known/acme-challenge/"
"""Where an ACME authority asks for its proof (RFC 8555, 8.3): never redirected."""


@dataclass(frozen=True)
class Https:
    """`listen` is `host:port`. `hsts` in seconds; 0: no field. `staple`: there is an OCSP response."""

    listen: str
    certificate: Path
    key: Path
    profile: Profile
    redirect: Redirect = "off"
    hsts: int = 0
    staple: bool = False

    @property
    def port(self) -> str:
        """As it stands in a URL: with its colon, nothing for 443."""
        port = self.listen.rpartition(":")[2]
        return "" if port == "443" else f":{port}"

    @property
    def response(self) -> Path:
        return response_of(self.certificate)


def response_of(certificate: Path) -> Path:
    """Where the certificate's OCSP response lies, in DER: HAProxy looks for it under this name."""
    return certificate.with_name(certificate.name + ".ocsp")


def describe(
    listen: str, certificate: Path, key: Path | None, profile: str, redirect: Redirect, hsts: float
) -> tuple[Https, list[str]]:
    """HTTPS with these files, and warnings. `key` None: it is in the certificate's file. Raises ValueError."""
    own = (key or certificate).absolute()
    found = certificates.read(certificate.absolute(), own)
    https = Https(listen, certificate.absolute(), own, PROFILES[profile], redirect, int(hsts))
    warnings = []
    staple = https.response.exists()
    if found.responder is not None and not staple:
        warnings.append(
            f"the certificate names the OCSP responder {found.responder}, and there is no {https.response}: nothing is "
            "stapled (compose/README.md: HTTPS)"
        )
    if https.hsts and redirect == "off":
        warnings.append("--hsts sends browsers to HTTPS for that long, although --redirect is off")
    return Https(listen, https.certificate, own, https.profile, redirect, https.hsts, staple), warnings
