"""The sockets on which the sidecar listens: opened once, and handed on.

Promise: a socket that stays wanted is never closed between two generations of processes, so that no connection is
refused and none that waits to be accepted is lost. They come from a predecessor, from systemd (socket activation), or
are opened here.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, MutableMapping
from typing import Final

from sidecar.settings import PREFIX, SettingError

Address = tuple[str, int]
BACKLOG: Final = 2048
SD_FIRST: Final = 3
"""systemd's first descriptor (sd_listen_fds(3))."""


def open_listeners(wanted: Mapping[str, Address], inherited: Mapping[Address, int]) -> dict[str, socket.socket]:
    """By setting, a listening socket for each address; those inherited that nobody wants any more are closed.

    `inherited`: descriptors by the address that was asked for. Raises SettingError, naming the setting, where a socket
    cannot be had.
    """
    left = dict(inherited)
    opened = {}
    for name, address in wanted.items():
        file = left.pop(address, None)
        opened[name] = _open(name, address) if file is None else socket.socket(fileno=file)
    for file in left.values():
        os.close(file)
    return opened


def from_systemd(environ: MutableMapping[str, str], pid: int) -> dict[Address, int]:
    """The descriptors that systemd passed to this process; its variables are taken out of the environment."""
    meant, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "0")
    environ.pop("LISTEN_FDNAMES", None)
    if meant != str(pid):
        return {}
    return {_address(file): file for file in range(SD_FIRST, SD_FIRST + int(count))}


def _address(file: int) -> Address:
    with socket.socket(fileno=os.dup(file)) as listener:
        host, port = listener.getsockname()[:2]
    return str(host), int(port)


def _open(name: str, address: Address) -> socket.socket:
    host, port = address
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(found[4][:2], family=found[0], backlog=BACKLOG)
    except OSError as error:
        said = (error.strerror or "the address cannot be used").lower()
        raise SettingError(f"{PREFIX}{name.upper()}: cannot listen on {host}:{port}: {said}") from None
