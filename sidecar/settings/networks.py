# pure
"""Networks that settings name, and whether an address lies in one."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Network, IPv6Network

Networks = tuple[IPv4Network | IPv6Network, ...]


def is_address(text: str) -> bool:
    """Whether the text is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def within(address: str, networks: Networks) -> bool:
    """Whether the address lies in one of the networks."""
    if not networks or not is_address(address):
        return False
    parsed = ipaddress.ip_address(address)
    return any(parsed in network for network in networks)
