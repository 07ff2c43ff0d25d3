# pure
"""By which names a server of ours may be asked: a page of somebody else's, whose name resolves to us, may not (DNS
rebinding)."""

from __future__ import annotations

from collections.abc import Iterable

from sidecar.settings.networks import is_address


def is_own_host(host: str | None, names: Iterable[str]) -> bool:
    """Whether a Host field names us: an address, a name without a dot (nobody outside can have one), one under
    `localhost`, or one of `names`. None: HTTP/1.0 without one, which no browser sends."""
    if host is None:
        return True
    name = host.strip().lower()
    name = name.removeprefix("[").partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    name = name.removesuffix(".")
    if not name:
        return False
    own = {given.strip().lower().removesuffix(".") for given in names}
    return is_address(name) or "." not in name or name.endswith(".localhost") or name in own
