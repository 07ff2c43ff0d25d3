"""Silences by matchers: of alerts that there are, and of such as may come (maintenance). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from alerts.lifecycle.lifecycle import Alert, NotPossible


@dataclass(frozen=True)
class Silence:
    """Of all alerts whose labels are these. `until` in ns."""

    id: int
    matchers: Mapping[str, str]
    until: int
    by: str
    reason: str

    def matches(self, alert: Alert) -> bool:
        known = {"alertname": alert.name, "severity": alert.severity, **alert.labels}
        return all(known.get(name) == value for name, value in self.matchers.items())


def matching(silences: Iterable[Silence], alert: Alert) -> Silence | None:
    """The longest that matches."""
    return max((each for each in silences if each.matches(alert)), key=lambda each: each.until, default=None)


def matchers(words: Iterable[str]) -> dict[str, str]:
    """Of `name=value` or `name="value"`. Raises NotPossible."""
    found = {}
    for word in words:
        fits = re.fullmatch(r'\s*([A-Za-z_]\w*)\s*=\s*"?(.*?)"?\s*', word)
        if fits is None:
            raise NotPossible(f"expected a matcher such as severity=ticket; found {word!r}")
        found[fits[1]] = fits[2]
    if not found:
        raise NotPossible("a silence needs a matcher: one of everything hides what it should not")
    return found
