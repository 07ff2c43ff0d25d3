"""What one look came to. Pure."""

from __future__ import annotations

from typing import NamedTuple

from alerts.lifecycle.lifecycle import Condition


class Outlook(NamedTuple):
    """Three states that a source may be in, told apart: it was read; it is `unknown`, because what it tells is not used
    here, or not known yet, and then nothing of it starts or ends; or it could not be asked (`unasked`, which is unknown
    too), and only that stops the dead man's switch. Single alerts are unknown by their keys."""

    holding: list[Condition]
    unknown: frozenset[str] = frozenset()
    unasked: frozenset[str] = frozenset()

    def joined(self, other: Outlook) -> Outlook:
        """Both."""
        return Outlook(self.holding + other.holding, self.unknown | other.unknown, self.unasked | other.unasked)
