"""Which days can be told of: a closed day is no empty day, and one that is indexed in another way counts nothing.

Looked at anew when the last look is older than FRESH. A cluster that does not let us see this (403) is still asked:
then a closed day ends the question, as an error.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from elasticsearch import ApiError, Elasticsearch

from sidecar.events.fields import FIELDS
from sidecar.events.store import Filter, SpansUnknown, StoreUnavailable
from sidecar.events.store.elasticsearch_errors import asking, part
from sidecar.events.store.elasticsearch_fit import LATE, META, Day, closed_copies, days
from sidecar.events.store.elasticsearch_schema import OPEN, Names

log = logging.getLogger(__name__)
FRESH: Final = 5.0
"""Seconds."""
TOLD: Final = 3
"""Days that an error names."""
KINDS: Final = {field.name: str(field.kind) for field in FIELDS}


class Days:
    """Of the exchanges; of bodies only whether they are closed."""

    def __init__(self, client: Elasticsearch, names: Names, steady: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._names = names
        self._steady = steady
        self._seen: list[Day] = []
        self._at: float | None = None

    def forget(self) -> None:
        """What was seen may have changed."""
        self._at = None

    def indices(self, fields: Collection[str]) -> tuple[str, ...]:
        """What is to be asked by these fields, where `require` has passed: the alias, strictly; where a day is closed
        or has a field otherwise, each day but those, whose time is not asked for."""
        seen = self._look()
        wrong = [day.index for day in seen if day.wrong.keys() & {*fields, "@timestamp"}]
        if not wrong and not any(day.closed for day in seen):
            return (self._names.exchanges,)
        return f"{self._names.exchanges}-*", *(f"-{index}" for index in wrong)

    def require(self, where: Filter, fields: Collection[str]) -> None:
        """Raises SpansUnknown where the filter's time has a day that these fields tell nothing of."""
        troubles = [
            (day, trouble)
            for day in self._look()
            if (where.since is None or day.until > where.since) and (where.until is None or day.since < where.until)
            if (trouble := day.trouble({*fields, "@timestamp"})) is not None
        ]
        if troubles:
            more = f", and {len(troubles) - TOLD} more days" if len(troubles) > TOLD else ""
            why = "; ".join(trouble for _, trouble in troubles[:TOLD])
            raise SpansUnknown(f"{why}{more}", [(day.since, day.until) for day, _ in troubles])

    def require_open(self, name: str) -> None:
        """Raises StoreUnavailable where an index of this name is closed."""
        with asking():
            found = self._resolved(self._pattern(name))
        closed = [each["name"] for each in found["indices"] if "closed" in each.get("attributes", ())]
        if closed:
            raise StoreUnavailable(f"{closed[0]} is closed: open it first")

    def _look(self) -> list[Day]:
        if self._at is None or not 0 <= self._steady() - self._at < FRESH:
            with asking():
                self._seen = self._asked()
            self._at = self._steady()
        return self._seen

    def _asked(self) -> list[Day]:
        pattern = self._pattern(self._names.exchanges)
        try:
            resolved = self._resolved(pattern)
            if not resolved["indices"]:
                return []
            able = self._client.field_caps(
                index=pattern, fields=list(KINDS), include_unmapped=True, ignore_unavailable=True,
                allow_no_indices=True, expand_wildcards=OPEN,
            )  # fmt: skip
            noted = self._client.options(ignore_status=404).indices.get_mapping(
                index=pattern, expand_wildcards=OPEN, filter_path=f"*.mappings._meta.{META}.{LATE}"
            )
        except ApiError as error:
            if error.status_code != 403:
                raise
            log.warning("which days are closed cannot be seen: the key lacks view_index_metadata")
            return []
        return [*self._made_of(resolved, part(able), part(noted)), *closed_copies(self._names.exchanges, resolved)]

    def _pattern(self, name: str) -> str:
        """All indices of this name."""
        return f"{name}-*"

    def _made_of(self, resolved: Mapping[str, Any], able: Mapping[str, Any], noted: Mapping[str, Any]) -> list[Day]:
        return days(self._names.exchanges, resolved, able, noted, KINDS)

    def _resolved(self, pattern: str) -> Any:
        answer = self._client.indices.resolve_index(name=pattern, expand_wildcards="all")
        return {"indices": part(answer, "indices")}
