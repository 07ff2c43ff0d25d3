# pure
"""Whether an index got the fields that we count by, and whose a template is. Values in, values out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sidecar.events.store.elasticsearch_schema import HELD, LATEST, day_end
from sidecar.timeunits import DAY

META: Final = "understudy"
"""Under `_meta` of templates, policies and mappings: what is ours to know of them."""
LATE: Final = "not_indexed"
"""Under META of a mapping: fields that the index got when it held documents that have them."""
Mappings = Mapping[str, Any]


def leaves(mappings: Mappings, above: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(path, how it is indexed) of every field that is no object."""
    for name, kind in mappings.get("properties", {}).items():
        path = f"{above}{name}"
        if "properties" in kind:
            yield from leaves(kind, f"{path}.")
        elif kind.get("type", "object") != "object":
            yield path, kind


def lacking(wanted: Mappings, found: Mappings) -> dict[str, Mapping[str, Any]]:
    """The fields that could be added: those whose place is free."""
    there = dict(leaves(found))
    taken = {".".join(path.split(".")[:n]) for path in there for n in range(1, path.count(".") + 2)}
    return {
        path: kind
        for path, kind in leaves(wanted)
        if path not in taken and not any(path.startswith(f"{leaf}.") for leaf in there)
    }  # fmt: skip


def value(document: Mapping[str, Any], path: str) -> Any:
    """What a document holds there; None: nothing."""
    found: Any = document
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


@dataclass(frozen=True)
class Day:
    """A daily index as it is. Times in ns since the epoch. `wrong`: by field, what it is instead, None: not at all."""

    index: str
    since: int
    closed: bool = False
    named: bool = True
    """Whether the alias, by which all days are asked, holds it."""
    wrong: Mapping[str, str | None] = field(default_factory=dict)
    late: Collection[str] = ()
    length: int = DAY

    @property
    def until(self) -> int:
        return self.since + self.length

    def trouble(self, fields: Collection[str]) -> str | None:
        """Why nothing can be told of it by these fields; None: it can."""
        if self.closed:
            return f"{self.index} is closed: open it"
        if not self.named:
            return f"{self.index} is not in the alias: the sidecar puts it there when it ships"
        for path in sorted(fields):
            if path in self.wrong:
                return f"{self.index} has {path} as {self.wrong[path] or 'nothing'}: index it anew under its own name"
            if path in self.late:
                return (
                    f"{self.index} holds events of before it had {path}: POST {self.index}/_update_by_query, "
                    f"then take `{META}` out of its mapping's _meta"
                )
        return None


def days(
    alias: str, resolved: Mapping[str, Any], capabilities: Mapping[str, Any], noted: Mapping[str, Any],
    kinds: Mapping[str, str],
) -> list[Day]:  # fmt: skip
    """What the days are, of `_resolve/index`, `_field_caps` (with unmapped) and mappings' `_meta`; `kinds`: how each
    field is to be indexed."""
    found = []
    for entry in resolved.get("indices", ()):
        index = entry["name"]
        end = day_end(alias, index)
        if end is not None:
            closed = "closed" in entry.get("attributes", ())
            late = noted.get(index, {}).get("mappings", {}).get("_meta", {}).get(META, {}).get(LATE, ())
            wrong = {} if closed else wrong_fields(index, capabilities, kinds)
            found.append(Day(index, end - DAY, closed, alias in entry.get("aliases", ()), wrong, late))
    return found


def closed_copies(alias: str, resolved: Mapping[str, Any]) -> list[Day]:
    """The index of what was held of dropped days, where it is closed: any time may be in it."""
    return [
        Day(entry["name"], 0, closed=True, length=LATEST)
        for entry in resolved.get("indices", ())
        if entry["name"] == f"{alias}{HELD}" and "closed" in entry.get("attributes", ())
    ]


def wrong_fields(index: str, capabilities: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, str | None]:
    if index not in capabilities.get("indices", ()):
        return {}  # it came between the two questions
    wrong: dict[str, str | None] = {}
    for path, kind in kinds.items():
        by_type = capabilities["fields"].get(path, {})
        has = [name for name, about in by_type.items() if index in about.get("indices", (index,))]
        if has != [kind]:
            wrong[path] = next((name for name in has if name != "unmapped"), None)
    return wrong


def digest(template: Mapping[str, Any]) -> str:
    """Of all that a template says, in whatever spelling the cluster tells it back; but for our own note in it."""
    body = template.get("template", {})
    said = {
        "patterns": sorted(template.get("index_patterns", ())), "priority": template.get("priority"),
        "composed_of": template.get("composed_of") or [],
        "data_stream": None if template.get("data_stream") is None else {},
        "settings": dict(_flat(body.get("settings", {}))), "mappings": _plain(body.get("mappings", {})),
        "aliases": _plain(body.get("aliases", {})),
    }  # fmt: skip
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def is_ours(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a template is as we put it. One of an earlier release bears no note, and may lack fields of today."""
    note = (found.get("_meta") or {}).get(META)
    if note is not None:
        return bool(note.get("digest") == digest(found))
    body = found.get("template", {})
    fields, today = body.get("mappings", {}), wanted["template"]["mappings"]
    known = dict(leaves(today))
    same = all(_plain(known.get(path)) == _plain(kind) for path, kind in leaves(fields))
    return same and digest({**found, "template": {**body, "mappings": today}}) == digest(wanted)


def _flat(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, setting in settings.items():
        if isinstance(setting, Mapping):
            yield from _flat(setting, f"{above}{name}.")
        else:
            yield f"{above}{name}".removeprefix("index."), str(setting).lower()


def _plain(found: Any) -> Any:
    if isinstance(found, Mapping):
        return {name: _plain(each) for name, each in found.items()}
    return found if isinstance(found, list) else str(found).lower()


NOTHING: Final[Mapping[str, Any]] = {"phases": {}}


def policy(age: float) -> dict[str, Any]:
    """A lifecycle that drops a day `age` seconds old."""
    phases = {"delete": {"min_age": f"{max(1, int(age))}s", "actions": {"delete": {}}}}
    return {"phases": phases, "_meta": {META: {"min_age": phases["delete"]["min_age"]}}}


def next_policy(found: Mapping[str, Any] | None, age: float, held: bool) -> Mapping[str, Any] | None:
    """The lifecycle policy to be put; None: the one that is there stays.

    One that somebody changed is theirs. While anything is held no policy drops days, whoever wrote it: `drop_before`
    keeps what is held, a cluster does not. Theirs comes back, word for word, with the end of the last hold.
    """
    wanted = policy(age)
    if found is None:
        found = wanted if held else {}
    noted = dict((found.get("_meta") or {}).get(META) or {})
    phases = dict(found.get("phases") or {})
    aside = noted.pop("aside", None)
    if aside is not None and "delete" not in phases:
        phases["delete"] = aside
    theirs = found and not _simple(phases, noted.get("min_age", wanted["_meta"][META]["min_age"]))
    if not theirs:
        phases, noted = dict(wanted["phases"]), dict(wanted["_meta"][META])
    if held and "delete" in phases:
        noted["aside"] = phases.pop("delete")
    others = {name: each for name, each in (found.get("_meta") or {}).items() if name != META}
    made = {"phases": phases, **({"_meta": {**others, META: noted}} if noted or others else {})}
    return (
        None if _plain(made) == _plain({name: found[name] for name in ("phases", "_meta") if name in found}) else made
    )


def _simple(phases: Mapping[str, Any], age: str) -> bool:
    """Whether these are phases that we put: deletion at that age and nothing else, or none."""
    if not phases:
        return True
    deletion = phases.get("delete") or {}
    return (
        set(phases) == {"delete"} and deletion.get("min_age") == age and set(deletion.get("actions", ())) == {"delete"}
    )
