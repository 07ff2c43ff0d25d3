# pure
"""An access policy as it is declared: a value. Its kind is a rule in `rules`; `policy_file` reads the declarations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final


class Mode(StrEnum):
    """What a policy does: nothing, say what it would have denied, or deny."""

    OFF = "off"
    REPORT = "report"
    ENFORCE = "enforce"


REVOKED: Final = "revoked_credential"


@dataclass(frozen=True)
class Policy:
    """One declared policy. `given` are its kind's parameters."""

    name: str
    kind: str
    mode: Mode
    status: int
    says: str
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fixed(self) -> bool:
        """Whether it always denies, whatever anybody sets."""
        return self.kind == REVOKED

    @property
    def resource(self) -> str | None:
        return self.given.get("resource")
