"""HAProxy's runtime API: shares of traffic and certificates, changed while it runs, without a reload.

Promises: what HAProxy does not confirm is raised as RuntimeFailed, which says in one line what it was asked and what it
said. Nothing set here outlives a restart of HAProxy: the configuration is what it starts with.
"""

from __future__ import annotations

import socket
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compose.haproxy.config import DIRECT, UPSTREAM
from sidecar.settings import Settings

MOST: Final = 256
"""The greatest weight that a server can have."""
TIMEOUT: Final = 5.0


class RuntimeFailed(ValueError):
    """HAProxy did not do, or did not say that it did, what it was asked."""


@dataclass(frozen=True)
class Runtime:
    """`path`: the socket of the configuration's `stats socket`, of level admin."""

    path: str

    def ask(self, command: str) -> str:
        """What HAProxy says to one command. Raises RuntimeFailed when it cannot be asked."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(TIMEOUT)
                connection.connect(self.path)
                connection.sendall(command.encode() + b"\n")
                said = b""
                while part := connection.recv(65536):
                    said += part
        except OSError as error:
            raise RuntimeFailed(f"HAProxy's runtime API at {self.path}: {error.strerror or error}") from None
        return said.decode(errors="replace").strip()

    def tell(self, command: str, *confirmed: str) -> None:
        """A command that changes something; without `confirmed`, HAProxy confirms by silence. Raises RuntimeFailed."""
        said = self.ask(command)
        if said and not confirmed or not all(word in said for word in confirmed):
            raise RuntimeFailed(f"HAProxy, asked to {command.splitlines()[0]}: {' '.join(said.split()) or 'nothing'}")

    def weights(self, backend: str) -> dict[str, int]:
        """The weight of each server of a backend. Raises RuntimeFailed."""
        lines = self.ask(f"show servers state {backend}").splitlines()
        if len(lines) < 2 or not lines[1].startswith("# "):
            raise RuntimeFailed(f"HAProxy has no backend {backend}: {' '.join(lines) or 'nothing'}")
        columns = lines[1][2:].split()
        name, weight = columns.index("srv_name"), columns.index("srv_uweight")
        return {words[name]: int(words[weight]) for words in map(str.split, lines[2:]) if words}


def share(settings: Settings, where: str, endpoint: str, percent: float) -> str:
    """Lets `percent` of the endpoint's requests go through the sidecars, and says what is so now. `where`: the socket.

    `api` is what the contract does not know, in the inline mode. Raises RuntimeFailed.
    """
    runtime = Runtime(where)
    before = runtime.weights(endpoint)
    sidecars = [name for name in before if name not in (DIRECT, UPSTREAM)]
    past = DIRECT if DIRECT in before else UPSTREAM
    if not sidecars or past not in before:
        raise RuntimeFailed(f"HAProxy's backend {endpoint} is not of `understudy lb haproxy`: {', '.join(before)}")
    ours, theirs = divided(percent, len(sidecars))
    # What is given more comes first: in between nothing is without a server.
    new = sorted({**dict.fromkeys(sidecars, ours), past: theirs}.items(), key=lambda pair: -pair[1])
    for server, weight in new:
        runtime.tell(f"set weight {endpoint}/{server} {weight}")
    after = runtime.weights(endpoint)
    ours = sum(after[name] for name in sidecars)
    return f"{100 * ours / (ours + after[past]):.3g}% of requests go through the sidecars"


def divided(percent: float, sidecars: int) -> tuple[int, int]:
    """Weights for each sidecar and for the way past them, so that the sidecars together get `percent`; as HAProxy's
    whole numbers allow, but never nothing for a share that is above zero."""
    ours, theirs = percent, sidecars * (100 - percent)
    scale = (MOST if max(ours, theirs) > MOST or percent % 1 else max(ours, theirs)) / max(ours, theirs)
    exact = ours * scale, theirs * scale
    return tuple(max(1, round(weight)) if weight else 0 for weight in exact)  # type: ignore[return-value]


def renew(where: str, certificate: Path, content: bytes, response: bytes | None = None) -> None:
    """Puts another certificate in the place of the one that HAProxy loaded from that path. Raises RuntimeFailed.

    `response`: the OCSP response that goes with it, in DER. Connections that are open keep what they have; none closes.
    """
    runtime = Runtime(where)
    pem = "\n".join(line for line in content.decode().splitlines() if line.strip())
    runtime.tell(f"set ssl cert {certificate} <<\n{pem}\n", "ransaction")
    if response is not None:
        runtime.tell(f"set ssl cert {certificate}.ocsp <<\n{b64encode(response).decode()}\n", "ransaction")
    runtime.tell(f"commit ssl cert {certificate}", "Success")
