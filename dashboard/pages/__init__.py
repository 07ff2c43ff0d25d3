"""One file a page. Each declares its path, its title, the least role that may see it, and how it is drawn."""

from __future__ import annotations

from typing import Final

from dashboard.page import Page
from dashboard.pages import (
    access_log,
    account,
    alerts,
    audit,
    break_glass,
    discarded,
    disclosure,
    endpoints,
    event,
    evidence,
    evidence_of,
    overview,
    patient,
    person,
    replacement,
    review,
    standby,
    users,
)

PAGES: Final[tuple[Page, ...]] = (
    overview.PAGE,
    audit.PAGE,
    endpoints.PAGE,
    standby.PAGE,
    alerts.PAGE,
    endpoints.LATENCY,
    discarded.PAGE,
    evidence_of.PAGE,
    replacement.PAGE,
    event.PAGE,
    evidence.PAGE,
    person.PAGE,
    patient.PAGE,
    review.PAGE,
    break_glass.PAGE,
    disclosure.PAGE,
    access_log.PAGE,
    users.PAGE,
    account.PAGE,
)
