"""`python -m compose.health URL`: exits 0 when the URL answers below 400 within two seconds. For containers' checks."""

from __future__ import annotations

import http.client
import sys
from urllib.parse import urlsplit


def healthy(url: str, seconds: float = 2.0) -> bool:
    """Whether a GET is answered well."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=seconds)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status < 400
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if healthy(sys.argv[1]) else 1)
