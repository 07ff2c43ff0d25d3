# pure
"""Derivations: the rules by which the standby makes an answer that the upstream has not itself given, each with its
rivals: the other things that the upstream may be doing, as functions that say what the rival would have answered.

An agreement tells a rival apart only where the rival would have answered otherwise; and a rival that still lives
forbids only the answers that it would have given otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import inf
from typing import Any, Final
from zlib import crc32

from sidecar.contract import Resource

ITEM: Final = "item"
"""A record as a list, or another endpoint, showed it."""
WRITTEN: Final = "written"
"""A record as the answer to its create, update or replacement showed it."""
DELETED: Final = "deleted"
"""A 404 for what was confirmed to be deleted."""
MISSING: Final = "missing"
"""A 404 for what a complete list does not have."""
LIST: Final = "list"
"""The list made from records, after they have changed."""
SHARED: Final = "shared"
"""What one caller was shown, for another."""
OWN: Final = "own"
"""The caller's own record, found by the caller's name."""
MANNER: Final = "language:"
"""What was learned from who asked in one manner (a language, cookies, or neither), for who asks in another: APIs may
choose by it and not say so. People see it by this name."""
STEADY: Final = "steady"
"""What is not a record's own (a computed age, a count) as it was, while nothing was written: that it changes with
nothing else. Taken for granted until it was seen to change; then it is to be seen unchanged in as many hours."""
APART: Final = "apart"
"""A record as it was before others were written: that their writes change nothing of its own."""
FILTER: Final = "filter:"
FORMAT: Final = "format:"
"""What is known, told as JSON, to who did not ask for JSON alone, or spelled the path otherwise than the contract."""
LONGEST: Final = 180
"""Characters of what a derivation is named after."""

PAGES: Final = ("page_of_newest", "page_of_oldest", "hidden")
"""What a list may leave out, by where a number that it does not have lies: below, above or between its ids."""
CUT: Final = frozenset({"page_of_newest", "page_of_oldest"})
"""Of these, what a list does that is cut. One that leaves out what is hidden (archived, say) grows and counts as any
other: nothing but a read of an id between tells; and the next list leaves the same out."""
PLACES: Final[Mapping[str, str]] = {
    "page_of_newest": "missing:below", "page_of_oldest": "missing:above", "hidden": "missing:between",
}  # fmt: skip
"""By the rival: the derivation of a 404 for an id of that place alone. What is seen of one place tells nothing of the
others, and one id that nobody has tells little of its own."""
MOST_PROBES: Final = 5000
"""Ids that are thought about for a question."""
ONE_PAGE: Final = "one_page"
"""The rival by which a list is one page of several: it is gone where the upstream said how many there are, or the list
has grown with its records."""
LONG: Final = 30
"""Characters from which on a text may be what a list has cut: no API shortens less."""
SHORTENED: Final = ("…", "...", "...]", "…]")
"""How a text ends that says itself that it was cut: it may be, however short it is."""
RESPELLED: Final = "respelled"
"""An id that is not written as ids are (`017`, `+17`, `17abc`) may be another spelling of one that is there; what is
answered to one spelling tells nothing of others."""
RIVALS: Final[Mapping[str, tuple[str, ...]]] = {
    ITEM: ("list_shows_otherwise",),
    WRITTEN: ("answer_is_an_echo",),
    DELETED: ("still_shown",),
    MISSING: PAGES,
    LIST: (),
    SHARED: ("callers_own",),
    OWN: ("another_field",),
    APART: (),
    STEADY: (),
}
"""Of a list and of filters: see `list_rivals`. Of what is apart: `by_write` of each resource that was written since."""
SETTLES: Final[Mapping[str, str]] = {
    "list_shows_otherwise": "a read of a record that so far only a list has shown",
    "answer_is_an_echo": "a read of a record after it was written",
    "still_shown": "a read of a record after it was deleted",
    "page_of_newest": "a read of an id below the lowest one listed",
    "page_of_oldest": "a read of an id above the highest one listed",
    "hidden": "a read of an id between those listed",
    RESPELLED: "no request: the id is not written as ids are",
    "callers_own": "the same read by a second caller",
    "another_field": "the own record of one more caller",
    "ignored": "a filter that lets some records through and others not",
    "prefix": "a filter by the beginning of a value (`Dav` where there is `Davis`)",
    "contains": "a filter by a part of a value",
    "case_folded": "a filter in other letter case",
    "trimmed": "a filter with a space about it",
    "several": "a filter by two values with a comma",
    "blank_is_all": "a filter by nothing",
    "at_least": "a filter by a value below others",
    "at_most": "a filter by a value above others",
    "null_too": "a filter where a record has null",
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """What we would have answered, beside what the upstream did answer.

    `input` tells this question from others. `difference`: masked, or None: they agreed. `told_apart`: rivals that would
    have answered otherwise than the upstream did.
    """

    derivation: str
    input: str
    difference: str | None = None
    told_apart: frozenset[str] = frozenset()
    reach: Mapping[str, float] = field(default_factory=dict)
    """By field, how much of it a list has shown that may be cut, and a read showed no more."""


def by_filter(name: str) -> str:
    """The derivation of a filter."""
    return FILTER + name


def by_write(kind: str) -> str:
    """The rival by which a write to that resource changes other records too: their times, their places, their text."""
    return f"written:{kind}"


def shared_with(caller: str) -> str:
    """The derivation that this caller is shown what others are."""
    return _named(f"{SHARED}:", caller)


def by_manner(wanted: str) -> str:
    """The derivation of an answer to who asks in this manner."""
    return _named(MANNER, wanted)


def by_format(wanted: str) -> str:
    """The derivation of an answer's format, by the fields that chose it."""
    return _named(FORMAT, wanted)


def _named(kind: str, text: str) -> str:
    """A name that is kept; of a long text its digest, for the end of it may be what tells it from others."""
    return kind + (text if len(text) <= LONGEST else sha256(text.encode("utf-8", "surrogateescape")).hexdigest())


def rivals(resource: Resource | None, derivation: str) -> tuple[str, ...]:
    """The names of a derivation's rivals."""
    if resource is None or not (derivation == LIST or derivation.startswith(FILTER)):
        return RIVALS.get(derivation, ())
    meanings = () if derivation == LIST else tuple(MEANINGS)
    return (*meanings, *(name for name, _, _ in _orders(resource)))


def settles(rival: str) -> str:
    """The one request that would tell the rival apart."""
    kind, _, order = rival.partition(":")
    if kind == "written":
        return f"a list of all after a write to {order}"
    field, _, way = order.rpartition(" ")
    other = f"a list that is in another order by {field}, {'descending' if way == 'down' else 'ascending'}"
    return SETTLES.get(rival) or (other if kind == "order" else rival)


# What filters may mean ------------------------------------------------------------------------------------------------

MEANINGS: Final[Mapping[str, Callable[[Any, str], bool]]] = {
    "ignored": lambda _found, _wanted: True,
    "prefix": lambda found, wanted: found is not None and str(found).startswith(wanted),
    "contains": lambda found, wanted: found is not None and wanted.lower() in str(found).lower(),
    "case_folded": lambda found, wanted: found is not None and str(found).casefold() == wanted.casefold(),
    "trimmed": lambda found, wanted: found is not None and str(found).strip() == wanted.strip(),
    "several": lambda found, wanted: found is not None and str(found) in wanted.split(","),
    "blank_is_all": lambda found, wanted: wanted == "" or equal(found, wanted),
    "at_least": lambda found, wanted: _ordered(found, wanted, 1),
    "at_most": lambda found, wanted: _ordered(found, wanted, -1),
    "null_too": lambda found, wanted: found is None or equal(found, wanted),
}


def equal(found: Any, wanted: str) -> bool:
    """What we take a filter to mean."""
    return found is not None and str(found) == wanted


def _ordered(found: Any, wanted: str, sign: int) -> bool:
    if found is None:
        return False
    if isinstance(found, int) and wanted.lstrip("-").isdecimal():
        return (found - int(wanted)) * sign >= 0
    return str(found) >= wanted if sign > 0 else str(found) <= wanted


# What lists may be ----------------------------------------------------------------------------------------------------


def in_order(resource: Resource, values: Sequence[dict[str, Any]], order: Iterable[tuple[str, bool]]) -> list[str]:
    """Ids of the records by fields, each with whether it descends. Raises KeyError and TypeError."""
    rows = list(values)
    for name, descending in reversed(tuple(order)):
        rows.sort(key=lambda row: row[name], reverse=descending)
    return [str(row[resource.id_field]) for row in rows]


def _orders(resource: Resource) -> list[tuple[str, str, bool]]:
    fields = [resource.id_field, resource.created_field, resource.updated_field, *(n for n, _ in resource.order)]
    every = [(name, down) for name in dict.fromkeys(filter(None, fields)) for down in (False, True)]
    ours = resource.order[:1]
    return [
        (f"order:{name}{' down' if down else ' up'}", name, down) for name, down in every if (name, down) not in ours
    ]


def list_rivals(
    resource: Resource, values: Sequence[dict[str, Any]], pairs: Sequence[tuple[str, str]],
    but: Collection[str] = (),
) -> dict[str, dict[str, list[str]]]:  # fmt: skip
    """By derivation (LIST where there is no filter) and rival: the ids that the rival would have listed, of these
    records. A rival that cannot be worked out with them has nothing to say; `but`: rivals that need not be asked."""
    whole = let_through(values, pairs)
    orders: dict[str, list[str]] = {}
    for rival, name, down in _orders(resource):
        if rival in but:
            continue
        try:
            orders[rival] = in_order(resource, whole, [(name, down)])
        except (KeyError, TypeError):
            continue
    if not pairs:
        return {LIST: orders}
    found: dict[str, dict[str, list[str]]] = {}
    for name, _ in pairs:
        meant = {}
        for rival, meaning in MEANINGS.items():
            if rival in but:
                continue
            try:
                meant[rival] = in_order(resource, let_through(values, pairs, name, meaning), resource.order)
            except (KeyError, TypeError):
                continue
        found[by_filter(name)] = {**meant, **orders}
    return found


def let_through(
    values: Sequence[dict[str, Any]], pairs: Sequence[tuple[str, str]], other: str | None = None,
    meaning: Callable[[Any, str], bool] = equal,
) -> list[dict[str, Any]]:  # fmt: skip
    """The records that the filters let through, where the one of that name (`other`) means something else."""
    kept = list(values)
    for name, wanted in pairs:
        means = meaning if name == other else equal
        kept = [value for value in kept if means(value.get(name), wanted)]
    return kept


# What lists may cut ---------------------------------------------------------------------------------------------------


def reach(shown: Any, name: str = "") -> dict[str, float]:
    """By field, dotted where it is within another, how long the longest of a record's texts and arrays there may be, as
    a list shows them; of what no list cuts, nothing. What is as long as APIs cut is taken for longer, and a text that
    says itself that it was cut for endless."""
    found: dict[str, float] = {}
    if isinstance(shown, str):
        return {name: inf} if shown.endswith(SHORTENED) else {name: _text(shown)} if len(shown) >= LONG else {}
    if isinstance(shown, Mapping):
        parts = [(f"{name}.{key}" if name else str(key), value) for key, value in shown.items()]
    elif isinstance(shown, list):
        parts = [(f"{name}[]", value) for value in shown]
        if len(shown) > 1:
            found[name] = len(shown) + (0.5 if len(shown) == 3 or _is_page(len(shown)) else 0)
    else:
        return {}
    for key, value in parts:
        for of, size in reach(value, key).items():
            found[of] = max(size, found.get(of, 0))
    return found


def _text(shown: str) -> float:
    """Of prose, that is: addresses and digests are always of some length."""
    size = len(shown)
    usual = size % 10 == 0 or size % 25 == 0 or size & (size - 1) == 0 or size & (size + 1) == 0
    return size + 0.5 if usual and " " in shown else size


# What lists may leave out ---------------------------------------------------------------------------------------------


def leaves_out(known: Collection[str], asked: str) -> frozenset[str]:
    """The rivals by which the id may exist although the list does not have it."""
    if not all(ident.isdecimal() for ident in known):
        return frozenset((*PAGES, RESPELLED))
    if not (asked.isascii() and asked.isdecimal() and str(int(asked)) == asked):
        return frozenset({RESPELLED})
    if not known:
        return frozenset(PAGES)
    numbers, number = [int(ident) for ident in known], int(asked)
    if number < min(numbers):
        return frozenset({"page_of_newest"})
    return frozenset({"page_of_oldest" if number > max(numbers) else "hidden"})


def told_by_absence(known: Collection[str], asked: str) -> frozenset[str] | None:
    """The rivals that the upstream's own 404 for the id tells apart; None: such an answer tells nothing."""
    left_out = leaves_out(known, asked)
    return left_out if len(left_out) == 1 and RESPELLED not in left_out else None


def room(known: Collection[str]) -> frozenset[str]:
    """The rivals by which there may be records beside the listed ones: a page of the newest needs ids below."""
    ends = _ends(known)
    return frozenset(PAGES) if ends is None else frozenset(name for name in PAGES if _size(ends, len(known), name))


def _ends(known: Collection[str]) -> tuple[int, int] | None:
    """The lowest and the highest of them; None: they are no numbers, or none is known."""
    if not known or not all(ident.isdecimal() for ident in known):
        return None
    numbers = [int(ident) for ident in known]
    return min(numbers), max(numbers)


def _size(ends: tuple[int, int], count: int, rival: str) -> float:
    """How many ids there are in the rival's place beside so many between these ends: infinitely many above."""
    lowest, highest = ends
    if rival == "page_of_oldest":
        return inf
    return max(0, lowest - 1) if rival == "page_of_newest" else highest - lowest + 1 - count


def crosses_a_cap(listed: int, now: int) -> bool:
    """Whether a list of `now` records may be cut, where one of `listed` was seen whole: a page of some usual size may
    hold those and no more."""
    return any(_is_page(count) for count in range(max(1, listed), now))


def _is_page(count: int) -> bool:
    """Whether APIs cut lists at so many: a power of two from 16, or a number that is rounder the larger it is. Caps
    that vendors document above 1000 are 1500 (LDAP), 2000, 2500, 5000, 10000: a quarter of a thousand is finer."""
    round_ = 5 if count <= 100 else 10 if count <= 1000 else 250
    return count % round_ == 0 or (count >= 16 and count & (count - 1) == 0)


def places(known: Collection[str], rivals: Collection[str], told: Collection[str], proof: int) -> dict[str, int]:
    """By rival, of these: how many ids of its own place must have been seen not to be there, for any to be taken so:
    PROOF, or all that there are. None is needed of what only a page leaves out, where it is `told` that the list is
    none."""
    ends, pages = _ends(known), CUT if ONE_PAGE in told else ()
    wanted = [name for name in PLACES if name in rivals and name not in pages]
    return {} if ends is None else {name: int(min(proof, _size(ends, len(known), name))) for name in wanted}


def probes(known: Collection[str], rival: str, count: int, asked: Callable[[str], bool]) -> list[str]:
    """So many ids of the rival's place that no record has, and that were not `asked` for. Below and between they come
    in no order by which an API may have given its ids; above they are the next."""
    ends = _ends(known)
    if ends is None:
        return []
    numbers, (low, high) = {int(ident) for ident in known}, ends
    there = {
        "page_of_newest": range(max(1, low - MOST_PROBES), low),
        "page_of_oldest": range(high + 1, high + 1 + MOST_PROBES),
        "hidden": range(low, min(high, low + MOST_PROBES)),
    }[rival]
    free = [number for number in there if number not in numbers and not asked(str(number))]
    if rival != "page_of_oldest":
        free.sort(key=lambda number: crc32(b"%d" % number))
    return [str(number) for number in free[:count]]
