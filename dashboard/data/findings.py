"""What an auditor should look at first: sign-in failures, notes in another's name, unusual hours or volume, vandalism.

Counts come from the store. Only what a note says must be read: of the newest `READ` writes of the period (a review
reads `READ_WELL`), and when
there are more, the finding says so. A finding is a reason to look, not a verdict.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import quantiles
from typing import Any, Final
from zoneinfo import ZoneInfo

from dashboard.data.days import Day, days
from dashboard.data.event_queries import Queries
from dashboard.values import time_format
from dashboard.values.filters import View, utc
from dashboard.values.people import BETWEEN, several
from dashboard.values.sentences import at, content, singular
from sidecar.contract import Contract
from sidecar.events.store import Filter
from sidecar.timeunits import DAY, HOUR

READ: Final = 1000
READ_WELL: Final = 50_000
KEEP: Final = 60.0
BASELINE: Final = 14 * DAY
FAILURES: Final = 3
"""Failed sign-ins of one name that are worth a look."""
MANY: Final = 60
"""Requests an hour below which nobody's volume is unusual."""
TIMES_USUAL: Final = 4
COPIES: Final = 5
"""Patients on which one person wrote the same text."""
PATIENTS: Final = 30
"""Distinct patients in a day below which nobody's number is unusual."""
UNUSUAL: Final = 3
"""Times the usual day that is worth a look."""
BUSIEST: Final = 1.5
"""Times the busiest of a person's days before, or of colleagues' for who is new, where KNOWN or more are known."""
KNOWN: Final = 5
ADDRESSABLE: Final = 50
"""Events that one address can name."""
NIGHT: Final = (22, 6)
NIGHT_REQUESTS: Final = 5
_VANDALISM: Final = re.compile(
    r"\b(?:pwn(?:ed|3d)?|h[a4]ck(?:ed|3d)|0wned|owned by|defaced|lulz|ransom)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Finding:
    """`view`: the filters that show what is meant. `weight` orders them, the gravest first."""

    kind: str
    said: str
    count: int
    view: View
    weight: int


@dataclass(frozen=True)
class Found:
    """The findings, and how many writes were read of how many."""

    findings: list[Finding]
    read: int
    writes: int


def find(queries: Queries, contract: Contract, view: View, now: int, zone: ZoneInfo) -> Found:
    """As `look` does; for KEEP the same is told again."""
    base = _base(view)
    since = base.filter(now, zone).since
    key = ("findings", base, since // HOUR if since else None)
    made: Found = queries.kept(key, KEEP, lambda: look(queries, contract, view, now, zone))
    return made


def look(queries: Queries, contract: Contract, view: View, now: int, zone: ZoneInfo, most: int = READ) -> Found:
    """Over the view's period and people; its other filters do not matter. `most`: writes that are read at most.

    Raises StoreUnavailable, ViewError."""
    base = _base(view)
    where = base.filter(now, zone)
    writes, read, total = _writes(queries, contract, where, most)
    until = now if where.until is None else where.until
    long, brief = (now - length if where.since is None else where.since for length in (30 * DAY, DAY))
    known = days(queries, long - BASELINE, until, zone)
    lately = [day for day in known if day.start >= time_format.midnight(brief - BASELINE, zone)]
    found = [
        *_sign_in_failures(queries, base, where),
        *_denied(queries, base, where),
        *_in_anothers_name(queries, contract, base, writes),
        *_vandalism(base, writes),
        *_many_patients(known, base, long, zone),
        *_unusual(lately, base, brief, until, zone),
    ]
    return Found(sorted(found, key=lambda each: (-each.weight, -each.count)), read, total)


def _base(view: View) -> View:
    return View(period=view.period, start=view.start, end=view.end, person=view.person)


def _sign_in_failures(queries: Queries, base: View, where: Filter) -> Iterable[Finding]:
    refused = replace(where, terms={**where.terms, "http.response.status_code": ["401"]})
    for (name,), count in queries.by(refused, "user.name"):
        if count >= FAILURES:
            who = f"as {name}" if name else "without a name"
            view = replace(base, person=name or base.person, outcome="signin")
            yield Finding("Sign-in failures", f"{count} failed sign-ins {who}", count, view, 3 if count >= 10 else 2)


def _denied(queries: Queries, base: View, where: Filter) -> Iterable[Finding]:
    verdicts = replace(where, terms={**where.terms, "understudy.verdict": ["deny", "report"]})
    for (name, verdict), count in queries.by(verdicts, "user.name", "understudy.verdict"):
        words = "were denied" if verdict == "deny" else "would be denied if the access policy were enforced"
        view = replace(base, person=name or base.person, outcome="denied")
        yield Finding("Access policy", f"{count} requests of {name or 'nobody'} {words}", count, view, 2)


@dataclass(frozen=True)
class _Write:
    """`event` is its id."""

    user: str
    kind: str
    patient: str
    event: str
    said: Mapping[str, Any]


def _writes(queries: Queries, contract: Contract, where: Filter, most: int) -> tuple[list[_Write], int, int]:
    """What was written to records that name a patient and a person, newest first."""
    kinds = [name for name in contract.resources if _author(contract, name)]
    asked = replace(where, terms={**where.terms, "event.action": ["create", "update"]})
    asked = replace(asked, terms={**asked.terms, "understudy.resource.type": kinds})
    found: list[_Write] = []
    read, cursor = 0, None
    while read < most:
        rows = queries.rows(asked, 250, cursor)
        for event in rows.events:
            said = content(rows.bodies.get(event["event"]["id"]), "request")
            if isinstance(said, dict):
                kind, patient = at(event, "understudy.resource.type"), at(event, "understudy.patient.id")
                user, ident = str(at(event, "user.name") or ""), event["event"]["id"]
                found.append(_Write(user, kind, str(patient or ""), ident, said))
        read, cursor = read + len(rows.events), rows.cursor
        if cursor is None:
            return found, read, read
    return found, read, queries.total(asked)


def _author(contract: Contract, kind: str) -> str | None:
    """The field of a resource that names the person who wrote it."""
    for name, target in contract.resources[kind].references.items():
        if target in contract.resources and contract.resources[target].username_field:
            return name
    return None


def _in_anothers_name(queries: Queries, contract: Contract, base: View, writes: list[_Write]) -> Iterable[Finding]:
    found: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for write in writes:
        field = _author(contract, write.kind)
        given = write.said.get(field) if field else None
        own = _own_id(queries, contract, write.user) if given is not None else None
        if own is not None and str(given) != own:
            found[write.user, write.kind, str(given)].append(write.event)
    for (user, kind, given), events in found.items():
        count = len(events)
        what = f"{count} {kind}" if count > 1 else f"a {singular(kind)}"
        said = f"{user} wrote {what} in the name of staff member {given}"
        yield Finding("In another's name", said, count, _exactly(base, user, kind, events), 3)


def _own_id(queries: Queries, contract: Contract, user: str) -> str | None:
    """The caller's id, as the upstream last told them their own record; None: it never did."""

    def ask() -> str | None:
        names = [endpoint.name for endpoint in contract.endpoints.values() if endpoint.own]
        terms = {"user.name": [user], "understudy.endpoint": names, "http.response.status_code": ["200"]}
        rows = queries.rows(Filter(terms=terms), 10)
        for event in rows.events:
            record = content(rows.bodies.get(event["event"]["id"]), "response")
            if isinstance(record, dict) and record.get("id") is not None:
                return str(record["id"])
        return None

    own: str | None = queries.kept(("own id", user), 300.0, ask)
    return own


def _vandalism(base: View, writes: list[_Write]) -> Iterable[Finding]:
    hits: defaultdict[str, list[str]] = defaultdict(list)
    copies: defaultdict[tuple[str, str], list[_Write]] = defaultdict(list)
    for write in writes:
        text = " ".join(str(value) for value in write.said.values() if isinstance(value, str))
        if _VANDALISM.search(text):
            hits[write.user].append(write.event)
        body = write.said.get("body")
        if isinstance(body, str) and len(body) > 20:
            copies[write.user, body].append(write)
    for user, events in hits.items():
        view = _exactly(base, user, "notes", events)
        yield Finding("Vandalised notes", f"{len(events)} notes of {user} look vandalised", len(events), view, 4)
    for (user, _), made in copies.items():
        patients = {write.patient for write in made}
        if len(patients) >= COPIES:
            said = f"{user} wrote the same text on {len(patients)} patients"
            view = _exactly(base, user, "notes", [write.event for write in made])
            yield Finding("Vandalised notes", said, len(patients), view, 3)


def _exactly(base: View, user: str, kind: str, events: list[str]) -> View:
    """Just these events; where they are too many for an address, the person's writes of that kind."""
    if len(events) > ADDRESSABLE:
        return replace(base, person=user, resource=kind)
    return replace(base, person="", event=BETWEEN.join(events))


@dataclass(frozen=True)
class _Opened:
    """How many patients somebody opened from when until when; `day`: the midnight of the local day that it ends on."""

    day: int
    start: int
    end: int
    count: int


def _many_patients(known: Sequence[Day], base: View, since: int, zone: ZoneInfo) -> Iterable[Finding]:
    """Distinct patients in a day beside the person's own days before, and the others' busiest days now; then in any
    24 hours beside others such, where no day of theirs has told it: who works over midnight has no day to stand out."""
    first, told = time_format.midnight(since, zone), defaultdict[str, list[_Opened]](list)
    by_day, by_hours = (defaultdict[str, list[_Opened]](list) for _ in range(2))
    for day in known:
        for user in filter(None, day.hours):
            end, (most, last) = time_format.midnight(day.start, zone, 1), day.within[user]
            by_day[user].append(_Opened(day.start, day.start, end, day.patients[user]))
            by_hours[user].append(_Opened(day.start, last - DAY, last, most))
    for counts in (by_day, by_hours):
        for user, each, beside in _outstanding(counts, first, base):
            if any(each.start < other.end and other.start < each.end for other in told[user]):
                continue
            told[user].append(each)
            day_of = f"on {time_format.day(each.start, zone)}"
            when = day_of if counts is by_day else f"in the 24 hours to {time_format.stamp(each.end, zone)}"
            said = f"{user} opened {each.count} patients {when}: {beside}"
            ends = {"start": utc(each.start), "end": utc(each.end)}
            yield Finding("Many patients", said, each.count, replace(base, period="between", **ends, person=user), 4)


def _outstanding(counts: Mapping[str, Sequence[_Opened]], first: int, base: View) -> Iterable[tuple[str, _Opened, str]]:
    """Of the days from `first` on those with more patients than is usual, and what is; each person's most first."""
    tops = {user: max(now) for user, each in counts.items() if (now := [one.count for one in each if one.day >= first])}
    for user in sorted(tops):
        if tops[user] < PATIENTS or not _meant(base, user):
            continue
        usual = sorted(one.count for one in counts[user] if one.day < first and one.count)
        others = sorted(top for name, top in tops.items() if name != user)
        group = others[len(others) // 2] if others else 0
        own = usual[len(usual) // 2] if len(usual) >= 3 else None
        limit: float = UNUSUAL * max(group if own is None else own, 1)
        for days_known in (usual, others if own is None else []):
            if len(days_known) >= KNOWN:
                limit = min(limit, BUSIEST * max(days_known[-1], 1))
        habit = f"{own} on a usual day of theirs" if own is not None else "they are new here"
        for one in sorted(counts[user], key=lambda each: -each.count):
            if one.day >= first and one.count >= PATIENTS and one.count > limit:
                yield user, one, f"{habit}, {group} on a colleague's busiest"


def _unusual(known: Sequence[Day], base: View, since: int, until: int, zone: ZoneInfo) -> Iterable[Finding]:
    """Hours and volume beside the same person's in the two weeks before."""
    before: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    inside: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for day in known:
        for user, hours in day.hours.items():
            if user and _meant(base, user):
                for start, count in hours.items():
                    if start < until:
                        (inside if start >= since - HOUR else before)[user].append((start, count))
    for user, worked in inside.items():
        usual = [count for _, count in before[user]]
        top_at, top = max(worked, key=lambda each: each[1])
        most = quantiles(usual, n=20)[-1] if len(usual) > 5 else None
        if most is not None and top >= MANY and top > TIMES_USUAL * most:
            said = f"{user} made {top} requests in one hour; {most:.0f} is a busy hour for them"
            yield Finding("Unusual volume", said, top, _hour(base, user, top_at), 2)
        night = [(start, count) for start, count in worked if _is_night(start, zone)]
        nights = sum(count for start, count in before[user] if _is_night(start, zone))
        at_night = sum(count for _, count in night)
        if len(usual) > 5 and at_night >= NIGHT_REQUESTS and nights < 0.02 * sum(usual):
            said = f"{user} made {at_night} requests between 22:00 and 06:00, which is not usual for them"
            yield Finding("Unusual hours", said, at_night, _hour(base, user, night[0][0]), 1)


def _meant(base: View, user: str) -> bool:
    """Whether the view is about them, or about everybody."""
    return not base.person or user in several(base.person)


def _is_night(start: int, zone: ZoneInfo) -> bool:
    hour = time_format.local(start, zone).hour
    return hour >= NIGHT[0] or hour < NIGHT[1]


def _hour(base: View, user: str, start: int) -> View:
    """That person from that hour on, for one hour."""
    hour = View(period="between", start=_text(start), end=_text(start + HOUR), person=user)
    return hour if base.person in ("", user) else replace(base, person=user)


def _text(at_: int) -> str:
    return View(period="between").fixed(at_, ZoneInfo("UTC")).end
