"""How exchanges, bodies and checkpoints are indexed: names, explicit mappings and index templates. Pure data.

Field types are the basic distribution's core only. `dynamic` is false: a field that no mapping names is kept in the
document and not indexed, so that an event is never refused for having one more field than we knew of.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sidecar.events.fields import FIELDS, Field, Kind
from sidecar.timeunits import SECOND

HELD: Final = "-held"
"""Behind the name of exchanges or bodies: the index of what is kept of days that were dropped, since it is held."""


@dataclass(frozen=True)
class Names:
    """What is ours in a cluster, by the word that it begins with: two deployments have two."""

    prefix: str = "understudy"

    @property
    def exchanges(self) -> str:
        """The alias over all days, the template's name, and what daily indices begin with."""
        return f"{self.prefix}-exchanges"

    @property
    def bodies(self) -> str:
        return f"{self.prefix}-bodies"

    @property
    def checkpoints(self) -> str:
        return f"{self.prefix}-checkpoints"

    @property
    def holds(self) -> str:
        return f"{self.prefix}-holds"

    @property
    def all(self) -> tuple[str, ...]:
        """Each has a template."""
        return self.exchanges, self.bodies, self.checkpoints, self.holds

    def of(self, index: str) -> str:
        """Whose index it is: of days the name before the day, of a data stream's indices the stream's."""
        plain = index.removeprefix(BACKING)
        return next(name for name in self.all if plain == name or plain.startswith(f"{name}-"))


BACKING: Final = ".ds-"
"""What the names of a data stream's indices begin with."""
OPEN: Final = ("open", "hidden")
"""Which of them a question is about; a data stream's are hidden."""
LATEST: Final = 2**63 - 1
"""The last moment that date_nanos holds (2262)."""

_KEYWORD: Final = {"type": "keyword", "ignore_above": 8191}
"""8191 characters are at most 32,764 bytes of UTF-8: what Lucene takes as one term."""
_LONG: Final = {"type": "long"}
_TIME: Final = {"type": "date_nanos"}


def mapping(field: Field) -> dict[str, Any]:
    """How Elasticsearch indexes the field."""
    found: dict[str, Any] = {"type": str(field.kind)}
    if field.kind in (Kind.KEYWORD, Kind.FLATTENED):
        found["ignore_above"] = _KEYWORD["ignore_above"]
    if field.words:
        found["copy_to"] = "understudy.words"
    return found


def nested(fields: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """{"event.id": type} → {"event": {"properties": {"id": type}}}."""
    properties: dict[str, Any] = {}
    for path, kind in fields.items():
        *parents, leaf = path.split(".")
        level = properties
        for parent in parents:
            level = level.setdefault(parent, {}).setdefault("properties", {})
        level[leaf] = kind
    return properties


def mappings(names: Names, name: str) -> dict[str, Any]:
    """How an index of this name is made, whatever templates there are."""
    of: dict[str, dict[str, dict[str, Any]]] = {
        names.exchanges: {field.name: mapping(field) for field in FIELDS},
        names.bodies: {"@timestamp": _TIME, "event.id": _KEYWORD},
        names.checkpoints: {"segment": _KEYWORD, "sequence": _LONG, "hash": _KEYWORD},
        names.holds: {"id": _KEYWORD},
    }
    return {"dynamic": False, "properties": nested(of[name])}


def aliases(names: Names, name: str) -> dict[str, Any]:
    return {names.exchanges: {}} if name == names.exchanges else {}


def template(names: Names, name: str, lifecycle: bool) -> dict[str, Any]:
    """A composable index template's body. `lifecycle`: whether the cluster drops days by a policy of this name."""
    days = name in (names.exchanges, names.bodies)
    settings: dict[str, Any] = {"number_of_shards": 1, "auto_expand_replicas": "0-1"}
    if lifecycle and days:
        settings["index.lifecycle.name"] = name
    body: dict[str, Any] = {"settings": settings, "mappings": mappings(names, name)}
    if also := aliases(names, name):
        body["aliases"] = also
    return {"index_patterns": [f"{name}-*" if days else name], "priority": 500, "template": body}


def stream_template(names: Names, name: str) -> dict[str, Any]:
    """The same for a data stream of this name; of what is none, the ordinary one."""
    made = template(names, name, False)
    if name in (names.exchanges, names.bodies):
        made |= {"index_patterns": [name], "data_stream": {}}
    made["template"].pop("aliases", None)
    return made


def daily(name: str, timestamp: str) -> str:
    """The index of a document's own day. Raises ValueError when its @timestamp is no UTC time."""
    moment = datetime.fromisoformat(timestamp[:19])
    if not timestamp.endswith(("Z", "+00:00")):
        raise ValueError(f"@timestamp: expected a time in UTC; found {timestamp!r}")
    return f"{name}-{moment:%Y.%m.%d}"


def day_end(name: str, index: str) -> int | None:
    """When the day of a daily index is over, in nanoseconds; None when it is no daily index of ours."""
    try:
        day = datetime.strptime(index.removeprefix(f"{name}-"), "%Y.%m.%d").replace(tzinfo=UTC)
    except ValueError:
        return None
    return int((day + timedelta(days=1)).timestamp()) * SECOND


def moment(nanoseconds: int) -> str:
    """Nanoseconds since the epoch → 2026-11-24T02:09:25.123456789Z, kept within what date_nanos holds."""
    seconds, rest = divmod(min(max(nanoseconds, 0), LATEST), SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
