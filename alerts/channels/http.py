"""One POST to a receiver, and what its answer means. Nothing of the URL or of the answer's body is said: both may hold
secrets."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from math import ceil
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from alerts.delivery.queue import Answer, Told

NEVER_TAKEN: Final = frozenset({400, 410, 413, 415, 422})
"""Answers that say the message itself is wrong: sending it again changes nothing. All others may pass."""
TIMEOUT: Final = urllib3.Timeout(connect=3, read=10)


def _pool(url: str) -> urllib3.PoolManager:
    """By the proxy of HTTP_PROXY, HTTPS_PROXY and NO_PROXY, where there is one for this URL."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.hostname or ""):
        named = urlsplit(proxy)
        signed = f"{named.username}:{named.password or ''}" if named.username else None
        return urllib3.ProxyManager(
            proxy, retries=False, timeout=TIMEOUT, proxy_headers=urllib3.make_headers(proxy_basic_auth=signed)
        )
    return urllib3.PoolManager(retries=False, timeout=TIMEOUT)


def beat(url: str) -> tuple[bool, str]:
    """Asks the dead man's switch: whether it took the beat, and the status or the kind of error. It does not raise."""
    try:
        pool = _pool(url)
        answer = pool.request("GET", url, redirect=False)
        pool.clear()
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        return False, type(error).__name__
    return 200 <= answer.status < 300, str(answer.status)


def post(url: str, body: bytes, fields: Mapping[str, str]) -> Answer:
    """What became of it: the status or the kind of error, and the answer's Retry-After. Its body is not read; it
    does not raise."""
    pool = _pool(url)
    try:
        answer = pool.request("POST", url, body=body, headers=dict(fields), redirect=False, preload_content=False)
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        return Answer(Told.RETRY, type(error).__name__)
    finally:
        pool.clear()
    answer.close()
    if 200 <= answer.status < 300:
        return Answer(Told.DONE, str(answer.status))
    told = Told.REFUSED if answer.status in NEVER_TAKEN else Told.RETRY
    return Answer(told, str(answer.status), _asked(answer.headers.get("Retry-After", ""), time.time()))


def ask(method: str, url: str, fields: Mapping[str, str], body: bytes | None = None) -> tuple[int, bytes]:
    """The status and the answer's body; 0 where there was none. It does not raise."""
    pool = _pool(url)
    try:
        answer = pool.request(method, url, body=body, headers=dict(fields), redirect=False)
    except (urllib3.exceptions.HTTPError, ValueError):
        return 0, b""
    finally:
        pool.clear()
    return answer.status, answer.data


def _asked(said: str, now: float) -> int:
    """The seconds of a Retry-After (RFC 9110, 10.2.3), which are a number or a date; 0 where it says nothing that we
    understand."""
    if said.strip().isdecimal():
        return min(int(said[:12]), 86400)
    try:
        return max(0, ceil(parsedate_to_datetime(said).timestamp() - now))
    except (ValueError, OverflowError):
        return 0
