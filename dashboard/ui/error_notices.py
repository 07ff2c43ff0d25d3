"""What a part of a page shows when what it needs does not answer: the reason, never old or partial figures as new."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from dashboard.ui.components import failed, notice
from dashboard.values.filters import ViewError
from dashboard.values.tones import BAD
from sidecar.control.client import ControlError
from sidecar.events.store import StoreUnavailable

log = logging.getLogger(__name__)


def guarded(draw: Callable[[], Any], renewed: bool = False) -> Any:
    """What `draw` makes, or the notice that says why it could not. `renewed`: whether it is tried again by itself."""
    try:
        return draw()
    except ViewError as error:
        return notice(BAD, "This view cannot be shown", str(error))
    except StoreUnavailable as error:
        log.warning("the event store does not answer", extra={"fields": {"error.type": type(error).__name__}})
        return failed("The event store does not answer", "Nothing new is shown, rather than a part", renewed)
    except ControlError as error:
        return failed("The sidecar does not answer", str(error), renewed)
    except SQLAlchemyError as error:
        log.warning("a database does not answer", extra={"fields": {"error.type": type(error).__name__}})
        return failed("The database does not answer", "Nothing new is shown, rather than a part", renewed)
