"""One POST to a receiver, and what its answer means. Nothing of the URL or of the answer's body is said: both may hold
secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import urllib3

from alerts.delivery.queue import Told

NEVER_TAKEN: Final = frozenset({400, 410, 413, 415, 422})
"""Answers that say the message itself is wrong: sending it again changes nothing. All others may pass."""
TIMEOUT: Final = urllib3.Timeout(connect=3, read=10)


def post(url: str, body: bytes, fields: Mapping[str, str]) -> tuple[Told, str]:
    """What became of it, and the status or the kind of error. The answer's body is not read; it does not raise."""
    pool = urllib3.PoolManager(retries=False, timeout=TIMEOUT)
    try:
        answer = pool.request("POST", url, body=body, headers=dict(fields), redirect=False, preload_content=False)
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        return Told.RETRY, type(error).__name__
    finally:
        pool.clear()
    answer.close()
    if 200 <= answer.status < 300:
        return Told.DONE, str(answer.status)
    return (Told.REFUSED if answer.status in NEVER_TAKEN else Told.RETRY), str(answer.status)
