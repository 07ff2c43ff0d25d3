# pure
"""What is unsettled, at one moment: a value. The next one costs as much as what has changed since, whatever else waits:
persistent maps share the rest, where copies of a long outbox made every accepted write as dear as the outbox was long.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from rpds import HashTrieMap, HashTrieSet

from sidecar.contract import Action
from sidecar.standby.outbox.dependencies import Holds, Needs
from sidecar.standby.outbox.overlay import Pending

Name = tuple[str, str]
"""(resource, id)."""
Ids = Any
"""A persistent set of entries' ids (HashTrieSet: its stubs do not say of what)."""
NONE: Final[Ids] = HashTrieSet()


@dataclass(frozen=True)
class Snapshot:
    """All that is not settled, with what is asked of it."""

    version: int = -1
    revision: int = -1
    """The database's own count of changes, of the moment that this shows."""
    incarnation: int = 0
    """The life of the database's server in which this was seen."""
    recent: Mapping[str, Sequence[tuple[str, int]]] = field(default_factory=dict)
    """By resource: ids of records whose writes were settled lately, with the stamps."""
    claimed: frozenset[Name] = frozenset()
    entries: Any = field(default_factory=HashTrieMap, repr=False)
    """By its id, each entry as a Pending, those that are parked too."""
    needs: Any = field(default_factory=HashTrieMap, repr=False)
    """By its id, what each depends on."""
    holds: Holds = field(default_factory=Holds, repr=False)
    """What they hold together."""
    sent: int = 0
    """How many may have taken effect."""
    _naming: Any = field(default_factory=HashTrieMap, repr=False)
    """By Name of a provisional id, the entries that name it: they change when it becomes a real one."""
    _of: Any = field(default_factory=HashTrieMap, repr=False)
    """By resource, the entries that are not parked."""
    _about: Any = field(default_factory=HashTrieMap, repr=False)
    """By Name of a record, those of them that are about it."""
    _unclear: Any = field(default_factory=HashTrieMap, repr=False)
    """By resource, those of them that are creates and may have made any record."""
    _shown: tuple[str, Collection[str]] | None = None
    """The caller for whom this is, and the records that they are shown; None: for all."""
    _ordered: dict[str, Sequence[Pending]] = field(default_factory=dict, repr=False, compare=False)

    def pending(self, kind: str) -> Sequence[Pending]:
        """The resource's entries in order, without what is parked."""
        found = self._ordered.get(kind)
        if found is None:
            found = self._ordered[kind] = self._in_order(self._of.get(kind, NONE))
        return found

    def about(self, kind: str, record: str | None) -> Sequence[Pending]:
        """Those of them that may be about the record: all that name it, and creates that may have made it, with what
        follows these. Which are, `overlay.about` tells."""
        unclear = self._unclear.get(kind, NONE)
        names = {record, *(self.entries[ident].record for ident in unclear)}
        found = {ident for name in names for ident in self._about.get((kind, name), NONE)}
        return self._in_order(found.union(unclear))

    def naming(self, name: Name) -> Collection[str]:
        """The entries that name this provisional id."""
        named: Collection[str] = self._naming.get(name, NONE)
        return named

    def is_claimed(self, kind: str, ident: str) -> bool:
        return (kind, ident) in self.claimed

    def only(self, user: str, ids: Collection[str]) -> Snapshot:
        """What this caller may see of it: their own creates, and changes to records that they are shown anyway."""
        return replace(self, _shown=(user, ids), _ordered={})

    def waits(self, kind: str | None = None) -> bool:
        """Whether anything is pending, of this resource or of any."""
        return kind in self._of if kind is not None else len(self._of) > 0

    def touches(self, kind: str) -> bool:
        """Whether anything must be laid over what the upstream says of the resource."""
        return kind in self._of or kind in self.recent

    def may_have_written(self, kind: str, record: str | None) -> bool:
        """Whether an entry about the record, or about any of the resource, has been sent and may have taken effect."""
        ids = self._of.get(kind, NONE) if record is None else self._about.get((kind, record), NONE)
        return any(self.entries[ident].sent for ident in ids)

    def with_entry(self, ident: str, entry: Pending, needs: Needs, names: Iterable[Name]) -> Snapshot:
        """With one more; `names`: the provisional ids that it names."""
        values: dict[str, Any] = {
            "entries": self.entries.insert(ident, entry),
            "needs": self.needs.insert(ident, needs),
            "holds": self.holds.plus(needs),
            "sent": self.sent + entry.sent,
            "_naming": self._naming,
        }
        for name in names:
            values["_naming"] = _added(values["_naming"], name, ident)
        if not entry.parked:
            values["_of"] = _added(self._of, entry.type, ident)
            values["_about"] = _added(self._about, (entry.type, entry.record), ident)
            if entry.action is Action.CREATE and entry.sent:
                values["_unclear"] = _added(self._unclear, entry.type, ident)
        return replace(self, **values, _ordered={})

    def without(self, ident: str, names: Iterable[Name]) -> Snapshot:
        """Without an entry that it has; `names`: the provisional ids that this names."""
        entry: Pending = self.entries[ident]
        values: dict[str, Any] = {
            "entries": self.entries.remove(ident),
            "needs": self.needs.remove(ident),
            "holds": self.holds.minus(self.needs[ident]),
            "sent": self.sent - entry.sent,
            "_naming": self._naming,
            "_of": _removed(self._of, entry.type, ident),
            "_about": _removed(self._about, (entry.type, entry.record), ident),
            "_unclear": _removed(self._unclear, entry.type, ident),
        }
        for name in names:
            values["_naming"] = _removed(values["_naming"], name, ident)
        return replace(self, **values, _ordered={})

    def _in_order(self, ids: Iterable[str]) -> list[Pending]:
        found = sorted((self.entries[ident] for ident in ids), key=lambda entry: entry.seq)
        if self._shown is None:
            return found
        user, records = self._shown
        return [entry for entry in found if entry.user == user or entry.record in records]


def _added(sets: Any, key: object, ident: str) -> Any:
    return sets.insert(key, sets.get(key, NONE).insert(ident))


def _removed(sets: Any, key: object, ident: str) -> Any:
    left = sets.get(key, NONE).discard(ident)
    return sets.insert(key, left) if len(left) else sets.discard(key)
