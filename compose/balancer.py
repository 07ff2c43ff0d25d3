"""What a load balancer has to know, whichever it is: where things listen, and the contract's endpoints as patterns.

Pure: values in, values out. Raises DoorError, which names what does not fit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from compose.tls.https import Https
from sidecar.contract import Contract, Endpoint
from sidecar.settings import Settings
from sidecar.settings.parsers import address

Mode = Literal["inline", "failover"]
MODES: Final = ("inline", "failover")
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # nosec B104 # an address to look for


AFTER: Final = 5
"""Seconds, Retry-After of what the balancer itself answers."""
_UNKNOWN: Final = "Whether a write took effect is not known: look before you send it again."
PROBLEMS: Final = {
    status: json.dumps({"type": "about:blank", "title": title, "status": status, "detail": said})
    for status, title, said in (
        (502, "Bad Gateway", f"No whole answer came. {_UNKNOWN}"),
        (503, "Service Unavailable", "Nobody is there to answer. Nothing was done."),
        (504, "Gateway Timeout", f"No answer came in time. {_UNKNOWN}"),
    )
}
"""What the balancer itself answers where nobody does: problem+json, without a single quote in it."""
WAITING_HELPS: Final = (503, 504)
"""Those with Retry-After: after a 502 a write may have been cut off."""


class DoorError(ValueError):
    """A balancer cannot be described; the message says why in one line."""


@dataclass(frozen=True)
class Sidecar:
    """Where one sidecar serves users, and where its control plane answers checks; each `host:port`.

    `agent`: the port of its agent (setting AGENT_LISTEN) on the control plane's host; None: it has none.
    """

    name: str
    serves: str
    control: str
    agent: str | None = None

    @property
    def control_host(self) -> str:
        return self.control.rpartition(":")[0]

    @property
    def control_port(self) -> str:
        return self.control.rpartition(":")[2]


@dataclass(frozen=True)
class Route:
    """One endpoint as balancers match it: a method and an anchored pattern of the path, specific ones first.

    `template` is the contract's own: `/notes/{id}`."""

    id: str
    method: str
    pattern: str
    template: str


@dataclass(frozen=True)
class Door:
    """All of it. `upstream` is `host:port`, `upstream_name` what its certificate names, `upstream_tls` says whether it
    speaks TLS. `upstream_host` is the Host of its health check. `max_body` is in bytes."""

    mode: Mode
    listen: str
    sidecars: tuple[Sidecar, ...]
    upstream: str
    upstream_name: str
    upstream_host: str
    upstream_tls: bool
    routes: tuple[Route, ...]
    max_body: int
    wait: float
    """Seconds within which the sidecar always answers: the balancer waits a little longer."""
    https: Https | None = None
    """None: HTTP alone."""
    host: str | None = None
    """The Host of every request that is handed on (UPSTREAM_HOST), the client's own in X-Forwarded-Host; None: kept."""
    acme: str | None = None
    """`host:port` of the ACME client that answers an authority's challenges; None: there is none."""


def describe(
    settings: Settings, contract: Contract, mode: Mode, listen: str, sidecars: Iterable[str],
    https: Https | None = None, acme: str | None = None,
) -> Door:  # fmt: skip
    """A Door from settings. `sidecars` are `host:port/control-port[/agent-port]` words; none: the one of the settings.

    Raises DoorError for a word that does not fit, SettingError when no upstream is set.
    """
    parts = urlsplit(settings.require_upstream())
    if parts.path:
        raise DoorError(f"UNDERSTUDY_UPSTREAM: a balancer cannot add the path {parts.path!r}; expected a bare origin")
    tls = parts.scheme == "https"
    host = _bracketed(parts.hostname or "")
    found = tuple(_sidecar(number, word) for number, word in enumerate(sidecars, 1)) or (_own(settings),)
    return Door(
        mode=mode,
        listen=bound(listen),
        sidecars=found,
        upstream=f"{host}:{parts.port or (443 if tls else 80)}",
        upstream_name=parts.hostname or "",
        upstream_host=settings.upstream_host_field or parts.netloc,
        host=settings.upstream_host_field,
        upstream_tls=tls,
        routes=routes(contract),
        max_body=settings.max_body,
        wait=settings.upstream_timeout + settings.deadline,
        https=https,
        acme=None if acme is None else bound(acme),
    )


def routes(contract: Contract) -> tuple[Route, ...]:
    """The contract's endpoints, those with fewer parameters first: /staffs/me comes before /staffs/{id}."""
    declared = sorted(contract.endpoints.values(), key=lambda endpoint: (endpoint.template.count("{"), endpoint.id))
    return tuple(Route(endpoint.id, endpoint.method, _pattern(endpoint), endpoint.template) for endpoint in declared)


def _pattern(endpoint: Endpoint) -> str:
    if endpoint.template == "/":
        return "^/$"
    parts = re.split(r"(\{[^}]*\})", endpoint.template)
    return "^" + "".join("[^/]+" if part.startswith("{") else re.escape(part) for part in parts) + "([.]json)?$"


def _own(settings: Settings) -> Sidecar:
    agent = settings.agent_listen
    port = None if agent is None else str(agent[1])
    return Sidecar("sidecar1", _reached(settings.listen), _reached(settings.control_listen), port)


def _reached(listen: tuple[str, int]) -> str:
    host, port = listen
    return f"{_bracketed(_ANYWHERE.get(host, host))}:{port}"


def _sidecar(number: int, word: str) -> Sidecar:
    serves, *ports = word.split("/")
    if not 1 <= len(ports) <= 2 or not all(port.isdecimal() and 0 < int(port) < 65536 for port in ports):
        raise DoorError(f"--sidecar: expected host:port/control-port or …/agent-port; found {word!r}")
    where = bound(serves)
    control = f"{where.rpartition(':')[0]}:{ports[0]}"
    return Sidecar(f"sidecar{number}", where, control, ports[1] if len(ports) == 2 else None)


def bound(word: str) -> str:
    """A word as `host:port`, with nothing in it that a configuration could take for more. Raises DoorError."""
    try:
        host, port = address(word)
    except ValueError:
        raise DoorError(f"expected host:port; found {word!r}") from None
    if not re.fullmatch(r"[A-Za-z0-9._:-]+|\*", host):
        raise DoorError(f"expected a host name or an address; found {host!r}")
    return f"{_bracketed(host)}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
