"""The event store in Elasticsearch's data streams: where a company wants them, or gives its nodes to nothing else.

A stream refuses an id twice only in the index that it writes to. So that an event that is shipped again is there once,
it is looked for in those that were written to since its own time, before it is sent; as a rule there is none. What may
be there twice is an event whose first request was still under way in the cluster while the stream was rolled over. We
roll over, and drop whole indices when all that is in them is old: it takes no lifecycle policy, no module but the core.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Final

from elasticsearch import ApiError, Elasticsearch

from sidecar.events.store import Filter, Hold, OtherProduct, StoreUnavailable
from sidecar.events.store.elasticsearch import ElasticStore, Operation, any_of
from sidecar.events.store.elasticsearch_days import KINDS, Days
from sidecar.events.store.elasticsearch_errors import Refused, asking, part
from sidecar.events.store.elasticsearch_fit import LATE, META, Day, wrong_fields
from sidecar.events.store.elasticsearch_schema import BACKING, HELD, LATEST, daily, day_end, stream_template
from sidecar.events.store.elasticsearch_setup import Setup
from sidecar.timeunits import SECOND, parse_rfc3339

log = logging.getLogger(__name__)
SINCE: Final = (8, 13)
"""The first version that knows `require_data_stream`."""
ROLLED: Final = {"max_age": "1d", "max_primary_shard_size": "50gb"}
"""When a stream goes on in a new index."""
SKEW: Final = 600 * SECOND
"""By how much the cluster's clock and a sidecar's may differ."""


class StreamSetup(Setup):
    """Templates of data streams. A stream is made by its first document."""

    def _look(self) -> None:
        found = part(self._client.indices.resolve_index(name=f"{self._names.exchanges}-*"), "indices")
        daily_ones = (each["name"] for each in found if day_end(self._names.exchanges, each["name"]) is not None)
        if (there := next(daily_ones, None)) is not None:
            raise StoreUnavailable(f"{there} is a daily index: data streams need another ELASTICSEARCH_PREFIX")

    def _require_version(self, version: str) -> None:
        said = re.match(r"(\d+)\.(\d+)", version)
        if said is not None and tuple(map(int, said.groups())) < SINCE:
            raise OtherProduct(
                f"what answers is Elasticsearch {version}: data streams need {'{}.{}'.format(*SINCE)} or later, "
                "daily indices do not"
            )

    def lifecycles(self, held: bool) -> bool:
        """None: what is old goes by us."""
        return False

    def ensure(self, index: str) -> str | None:
        """Looks at the index that a stream writes to, which is another after a while."""
        if index not in (self._names.exchanges, self._names.bodies):
            return super().ensure(index)
        try:
            with asking():
                there = backing(self._client, index)
                if not there:
                    return self._superseded(index)
                newest, _ = there[-1]
                if newest not in self._right:
                    self._mend(newest, part(self._client.indices.get_mapping(index=newest), newest, "mappings"), {})
                    self._right.add(newest)
        except Refused as error:
            return f"{index} cannot be looked at: {error}"
        return None

    def _superseded(self, stream: str) -> str | None:
        """Why it would not be made by our template; None: it would."""
        made = self._client.indices.simulate_index_template(name=stream)
        below = [each["name"] for each in made.get("overlapping", ())]
        if stream in below:
            return f"{stream} cannot be made: a template of higher priority than ours, {stream}, is in its way"
        return None

    def _template(self, name: str, lifecycle: bool) -> dict[str, Any]:
        return stream_template(self._names, name)

    def _pattern(self) -> str:
        return f"{BACKING}{self._names.exchanges}-*,{self._names.exchanges}{HELD}*"

    def _aliases(self, name: str) -> dict[str, Any]:
        return {}


class StreamDays(Days):
    """Of a stream's indices, each of which may hold whatever happened before the next one began."""

    def indices(self, fields: Collection[str]) -> tuple[str, ...]:
        return (f"{self._names.exchanges}*",)

    def _pattern(self, name: str) -> str:
        return f"{BACKING}{name}-*,{name}{HELD}*"

    def _made_of(self, resolved: Mapping[str, Any], able: Mapping[str, Any], noted: Mapping[str, Any]) -> list[Day]:
        closed = {each["name"]: "closed" in each.get("attributes", ()) for each in resolved["indices"]}
        began = backing(self._client, self._names.exchanges)
        made = []
        for number, (index, _) in enumerate(began):
            until = began[number + 1][1] + SKEW if number + 1 < len(began) else LATEST
            late = noted.get(index, {}).get("mappings", {}).get("_meta", {}).get(META, {}).get(LATE, ())
            wrong = {} if closed.get(index) else wrong_fields(index, able, KINDS)
            made.append(Day(index, 0, closed.get(index, False), True, wrong, late, until))
        return made


class StreamStore(ElasticStore):
    """EventStore on an Elasticsearch cluster, in data streams."""

    _Setup: ClassVar[type[Setup]] = StreamSetup
    _Days: ClassVar[type[Days]] = StreamDays
    _bulk_words: ClassVar[Mapping[str, Any]] = {"require_data_stream": True}

    def _place(self, name: str, timestamp: str) -> str:
        """The stream, for what a day's index would take, and whose moment can be told."""
        daily(name, timestamp)
        parse_rfc3339(timestamp)
        return name

    def _everywhere(self, name: str) -> str:
        return f"{name}*"

    def _unseen(self, operations: Sequence[Operation]) -> Sequence[Operation]:
        seen = set()
        with asking():
            for name in {each.index for each in operations}:
                mine = [each for each in operations if each.index == name]
                oldest = min(parse_rfc3339(each.document["@timestamp"]) for each in mine)
                for (index, _), (_, left) in pairwise(backing(self._client, name)):
                    if left >= oldest - SKEW:
                        seen |= {(name, ident) for ident in self._there(index, [each.id for each in mine])}
        return [each for each in operations if (each.index, each.id) not in seen]

    def _there(self, index: str, idents: Sequence[str]) -> Iterable[str]:
        """Which of these the index has, seen by searches yet or not."""
        found = part(self._client.mget(index=index, ids=list(idents), source=False), "docs")
        if wrong := next((each["error"] for each in found if "error" in each), None):
            raise StoreUnavailable(f"{index} cannot be asked what it has: {wrong.get('reason')}")
        return [each["_id"] for each in found if each.get("found")]

    def drop_before(self, events_before: int, bodies_before: int) -> Iterable[str]:
        dropped: list[str] = []
        holds = self.holds()
        with asking():
            for name, before in ((self._names.exchanges, events_before), (self._names.bodies, bodies_before)):
                there = backing(self._client, name)
                if there:
                    self._roll_over(name)
                for index, _ in there[:-1]:
                    if self._newest(index) < before:
                        self._keep(name, index, holds)
                        self._client.indices.delete(index=index)
                        dropped.append(index)
            self._let_go(holds)
        self._days.forget()
        return dropped

    def _roll_over(self, stream: str) -> None:
        """Where it is time; a stream that cannot be goes on as it is."""
        try:
            self._client.indices.rollover(alias=stream, conditions=ROLLED)
        except ApiError as error:
            if error.status_code >= 500 or error.status_code == 429:
                raise
            log.warning("%s cannot be rolled over: %s", stream, error)

    def _newest(self, index: str) -> int:
        """When the last of what it holds happened; 0: it holds nothing."""
        order = {"order": "desc", "format": "strict_date_optional_time_nanos"}
        hits = self._hits(index, {"match_all": {}}, 1, [{"@timestamp": order}], ignore_unavailable=False)
        return parse_rfc3339(hits[0]["sort"][0]) if hits else 0

    def _keep(self, name: str, index: str, holds: Sequence[Hold]) -> None:
        """Copies what is held out of an index that is about to be dropped."""
        if holds:
            self._require_held(Filter(), holds)
            events = index if name == self._names.exchanges else self._everywhere(self._names.exchanges)
            self._copy(name, index, events, any_of(holds))


def backing(client: Elasticsearch, stream: str) -> list[tuple[str, int]]:
    """A stream's indices and when each was begun (ns since the epoch), the oldest first; the last is written to."""
    found = part(
        client.indices.get_settings(
            index=f"{BACKING}{stream}-*", expand_wildcards="all", filter_path="*.settings.index.creation_date"
        )
    )
    began = [(index, int(about["settings"]["index"]["creation_date"]) * 1_000_000) for index, about in found.items()]
    return sorted(began, key=lambda each: (each[1], each[0]))
