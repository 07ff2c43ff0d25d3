"""What one generation of the supervisor leaves to the next, which runs in its place: same process, new program.

The kernel keeps children, descriptors and locks over exec; this says which is which.
"""

from __future__ import annotations

import json
import os
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

VARIABLE: Final = "_UNDERSTUDY_HANDOVER"
Address = tuple[str, int]


@dataclass(frozen=True)
class Left:
    """A child that was left running. `until`: when it is killed, of time.monotonic(), if it was told to end."""

    pid: int
    role: str
    until: float | None = None


@dataclass(frozen=True)
class Handover:
    """Descriptors, the offset of the clock by which both generations order what they learn, and the children."""

    lock: int
    service: int
    clock: int
    listeners: dict[Address, int] = field(default_factory=dict)
    children: list[Left] = field(default_factory=list)

    def leave(self, environ: MutableMapping[str, str]) -> None:
        """Makes the descriptors outlive exec, and says in the environment which they are."""
        for file in (self.lock, self.service, *self.listeners.values()):
            os.set_inheritable(file, True)
        told = {**asdict(self), "listeners": [[*address, file] for address, file in self.listeners.items()]}
        environ[VARIABLE] = json.dumps(told)


def found(environ: MutableMapping[str, str]) -> Handover | None:
    """What a predecessor in this process left; taken out of the environment. Its descriptors end at the next exec."""
    told: Any = json.loads(environ.pop(VARIABLE, "null"))
    if told is None:
        return None
    listeners = {(host, port): file for host, port, file in told["listeners"]}
    for file in (told["lock"], told["service"], *listeners.values()):
        os.set_inheritable(file, False)
    return Handover(
        told["lock"], told["service"], told["clock"], listeners, [Left(**child) for child in told["children"]]
    )
