"""Which alerts hold, from counts per window. Pure; unknown counts never make a burn alert, nor hide themselves."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from alerts.objectives import burn_rate
from alerts.objectives.model import Counts, Finding, Objective, Severity, Window
from sidecar.timeunits import spelled


@dataclass(frozen=True)
class Rule:
    """What an alert needs beyond the rate: confidence, bad events in the long window; and how long silence may last.

    98%: as sure as can be asked for without telling a total outage at 50 requests a second later than 525 s, when the
    bare rate of the workbook's first level is passed after 518.4 s.
    """

    confidence: Fraction = Fraction(98, 100)
    least_bad: int = 3
    silence: int = 3600


@dataclass(frozen=True)
class Measure:
    """An objective's counts by span: windows, the rule's ``silence`` and its reach. An absent span is unknown."""

    objective: Objective
    spans: Mapping[int, Counts | None]


def findings(
    measures: Iterable[Measure],
    windows: Iterable[Window],
    rule: Rule,
    now: int,
    covered: Callable[[str | None], bool],
) -> list[Finding]:
    """What holds at ``now`` (Unix seconds). ``covered`` says whether the standby answers users of an endpoint.

    ``covered(None)`` is of all endpoints, and must be False where that is unknown. While it is True, the upstream's own
    burning is a ticket.
    """
    levels = tuple(windows)
    found = []
    for measure in measures:
        lack = missing(measure, levels, rule, now)
        found += [lack] if lack else []
        found += [each for level in levels if (each := burning(measure, level, rule, now, covered))]
    return found


def burning(
    measure: Measure, window: Window, rule: Rule, now: int, covered: Callable[[str | None], bool]
) -> Finding | None:
    """Whether one level holds for one objective."""
    objective, spans = measure.objective, measure.spans
    long, short = spans.get(window.long), spans.get(window.short)
    fast, recent = burn_rate.burn_rate(long, objective.target), burn_rate.burn_rate(short, objective.target)
    if long is None or fast is None or recent is None or fast <= window.factor or recent <= window.factor:
        return None
    share = window.factor * objective.budget
    if long.bad < rule.least_bad or not burn_rate.confident(long, share, rule.confidence):
        return None
    reason = (
        f"{long.bad} of {long.total} bad in {spelled(window.long)}: {burn_rate.written(fast)} times the budget's pace"
    )
    severity = window.severity
    if objective.view == "hosp" and covered(objective.endpoint):
        severity, reason = "ticket", f"running on the standby; {reason}"
    return _finding(measure, window.name, severity, reason, now, fast, recent)


def missing(measure: Measure, windows: Iterable[Window], rule: Rule, now: int) -> Finding | None:
    """Whether counts are unknown, or nothing was asked for too long."""
    spans = {each for window in windows for each in (window.long, window.short)} | {rule.silence}
    unknown = sorted(span for span in spans if measure.spans.get(span) is None)
    if unknown:
        return _finding(measure, "no-data", "ticket", f"no data for the last {spelled(unknown[0])}", now, None, None)
    quiet = measure.spans[rule.silence]
    if quiet and not quiet.total:
        return _finding(measure, "silence", "ticket", f"no request in {spelled(rule.silence)}", now, None, None)
    return None


def _finding(
    measure: Measure,
    window: str,
    severity: Severity,
    reason: str,
    now: int,
    fast: Fraction | None,
    recent: Fraction | None,
) -> Finding:
    of = measure.objective
    reach, length = of.reach(now), of.length(now)
    left = burn_rate.budget_left(measure.spans.get(reach), of.target, Fraction(reach, length))
    ends = burn_rate.exhausted_in(left, fast, length)
    if ends is not None and of.calendar is not None and now + ends >= of.calendar.until(now):
        ends = None  # then there is a new budget
    key = "|".join((of.slo, of.name, of.view, of.endpoint or "all", window))
    at = None if ends is None else now + ends
    burns = (severity, window, fast, recent, left, at, reason, of.period, of.broken, of.target)
    return Finding(key, of.slo, of.name, of.view, of.endpoint, *burns)
