"""When the front door's certificates end, for a metric. A file that cannot be read has no figure, and is logged."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509

log = logging.getLogger(__name__)


def expiries(files: Iterable[str]) -> dict[str, float | None]:
    """Seconds since the epoch at which the first certificate of a chain to end does so, by file; None: unknown.

    Called at every scrape: a renewed file shows at once.
    """
    return {file: _expiry(file) for file in files}


def _expiry(file: str) -> float | None:
    try:
        chain = x509.load_pem_x509_certificates(Path(file).read_bytes())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "holds no certificate in PEM"
        fields = {"event.action": "certificate_unreadable", "file.path": file}
        log.error("%s: %s: when it ends is unknown", file, why, extra={"fields": fields})
        return None
    return min(each.not_valid_after_utc.timestamp() for each in chain)
