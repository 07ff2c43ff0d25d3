# pure
"""Whom a person means who types part of a name, several names, or a network: against what was seen."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Final

BETWEEN: Final = "\n"
"""Stands between several values of one filter in an address: no name, number or address holds it."""
_TYPED: Final = ";"


def several(value: str) -> list[str]:
    """The values of one filter."""
    return [each for each in value.split(BETWEEN) if each]


def shown(value: str) -> str:
    """The same as people read and type it."""
    return f"{_TYPED} ".join(several(value))


def named(typed: str, known: Iterable[str]) -> list[str]:
    """`nurse tan; holt` → every known name that has all the words of a part; what matches nobody stays as typed.

    A name that is typed in full means that one alone, whatever other names hold it.
    """
    names, found = sorted(set(known)), dict[str, None]()
    for part in (each.strip() for each in typed.replace(BETWEEN, _TYPED).split(_TYPED)):
        if part:
            words = part.casefold().split()
            whole = [name for name in names if name == part] or [n for n in names if n.casefold() == part.casefold()]
            some = [name for name in names if all(word in name.casefold() for word in words)]
            found.update(dict.fromkeys(whole or some or [part]))
    return list(found)


def numbers(typed: str) -> list[str]:
    """`17, 18 19` → the patients' numbers."""
    return list(dict.fromkeys(typed.replace(",", " ").replace(_TYPED, " ").split()))


def networks(typed: str) -> list[str]:
    """Addresses and networks as they are meant. Raises ValueError."""
    parts = typed.replace(",", " ").replace(_TYPED, " ").split()
    return [str(ip_network(part, strict=False)) if "/" in part else str(ip_address(part)) for part in parts]


def within(wanted: Iterable[str], known: Iterable[str]) -> list[str]:
    """The addresses that are meant: given ones, and known ones in a given network."""
    found: dict[str, None] = {}
    for each in wanted:
        if "/" not in each:
            found[each] = None
            continue
        network = ip_network(each)
        found.update(dict.fromkeys(address for address in known if _in(address, network)))
    return list(found)


def _in(address: str, network: object) -> bool:
    try:
        return ip_address(address) in network  # type: ignore[operator]
    except ValueError:
        return False
