"""What a channel that keeps alerts of its own is to know beside messages: who is quiet, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from alerts.lifecycle.lifecycle import Alert
from alerts.lifecycle.silences import Silence


@dataclass(frozen=True)
class Standing:
    """`lines`: by the channel's line, what burns and was told there, where nothing waits to be told."""

    alerts: Sequence[Alert] = ()
    silences: Sequence[Silence] = ()
    lines: Mapping[str, Sequence[Alert]] = field(default_factory=dict)


@runtime_checkable
class Reflecting(Protocol):
    """A channel whose receiver is told of silences and acknowledgements."""

    def reflect(self, standing: Standing) -> str | None:
        """Tells what is new, and nothing where nothing is; None: the receiver knows all. Otherwise what it said, in a
        line without secrets: it is tried again. It does not raise."""
