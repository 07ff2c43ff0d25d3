"""`python -m sidecar.settings` prints README's table of settings."""

from __future__ import annotations

from sidecar.settings.declarations import table

print(table())
