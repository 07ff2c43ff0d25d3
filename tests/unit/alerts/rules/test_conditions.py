"""What on-call is told beyond burn rates: of a real /metrics text, of failed sign-ins, and of what cannot be asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from alerts.rules import conditions
from alerts.rules.conditions import Seen, holding
from alerts.rules.conditions.memory import Memory
from alerts.rules.conditions.metrics import Metrics, parse
from alerts.rules.outlook import Outlook
from sidecar.timeunits import SECOND

RULES = conditions.load()
NOW = 1_764_000_000
WELL = """
# HELP understudy_outbox_pending Writes accepted and not yet confirmed by the upstream.
# TYPE understudy_outbox_pending gauge
understudy_outbox_pending 0.0
understudy_outbox_parked 0.0
understudy_journal_behind_seconds 0.4
understudy_journal_failures_total 7.0
understudy_data_free_ratio 0.5
understudy_parity_ratio{endpoint="GET /notes"} 1.0
understudy_standby_ready{endpoint="GET /notes"} 1.0
understudy_standby_ready{endpoint="GET /notes/{id}"} 1.0
understudy_takeovers_total{endpoint="GET /notes"} 3.0
"""
QUIET = {600: {"Holt": 2, "": 5}}


def metrics(*lines: str) -> Metrics:
    """A control plane where all is well, but for these lines."""
    text = WELL
    for line in lines:
        name = line.rpartition(" ")[0]
        text = "\n".join(each for each in text.splitlines() if not each.startswith(f"{name} ")) + f"\n{line}\n"
    return parse(text, conditions.names(RULES))


def without(name: str) -> Metrics:
    return {key: value for key, value in metrics().items() if key != name}


def watched(*looks: Metrics | None, every: int = 900) -> tuple[dict[tuple[str, str], str], frozenset[str]]:
    """What holds at the last of these looks, by alert and severity, and what is unknown; an hour of quiet before."""
    memory = Memory(3600)
    for at in range(NOW - 3600, NOW, 900):
        holding(RULES, Seen(metrics(), QUIET), memory, at)
    found = Outlook([])
    for number, look in enumerate(looks):
        found = holding(RULES, Seen(look, QUIET), memory, NOW + number * every)
    return {(each.name, each.severity): each.notes["reason"] for each in found[0]}, found[1]


def test_where_all_is_well_nothing_holds_and_what_is_not_measured_is_unknown() -> None:
    assert watched(metrics()) == ({}, {"rule:CertificateExpiring:ticket", "rule:CertificateExpiring:page"})


@pytest.mark.parametrize(
    ("line", "alerts", "said"),
    [
        ("understudy_outbox_pending 21", [("OutboxGrowing", "ticket")], "21 more writes wait"),
        ("understudy_outbox_oldest_seconds 7260", [("OutboxOld", "ticket")], "waited for 2 h"),
        ("understudy_outbox_parked 2", [("WriteParked", "ticket")], "2 writes wait for a person"),
        ("understudy_journal_behind_seconds 301", [("JournalNotShipping", "ticket")], "5 min behind"),
        (
            f"understudy_database_went_back_timestamp_seconds {NOW - 60}",
            [("DatabaseWentBack", "page")], "lacks what it had",
        ),
        ("understudy_journal_failures_total 8", [("RecordingGap", "page")], "1 exchanges could not be recorded"),
        ("understudy_dead_letter_events_total 3", [("EventsRefused", "ticket")], "refused 3 events"),
        ("understudy_data_free_ratio 0.149", [("DiskFilling", "ticket")], "14.9%"),
        ("understudy_data_free_ratio 0.04", [("DiskFilling", "ticket"), ("DiskFilling", "page")], "4.0%"),
        ('understudy_parity_ratio{endpoint="GET /notes"} 0.97', [("ParityFalling", "ticket")], "97.0% of GET /notes"),
        ('understudy_standby_ready{endpoint="GET /notes"} 0', [("StandbyIncomplete", "ticket")], "if the upstream"),
        ('understudy_takeovers_total{endpoint="GET /notes"} 7', [("CircuitFlapping", "ticket")], "GET /notes 4 times"),
        (
            f'understudy_certificate_expiry_timestamp_seconds{{file="a"}} {NOW + 13 * 86400}',
            [("CertificateExpiring", "ticket")], "in 13 d",
        ),
        (
            f'understudy_certificate_expiry_timestamp_seconds{{file="a"}} {NOW + 86400}',
            [("CertificateExpiring", "ticket"), ("CertificateExpiring", "page")], "in 24 h",
        ),
    ],
)  # fmt: skip
def test_each_fires_beyond_its_threshold(line: str, alerts: list[tuple[str, str]], said: str) -> None:
    found, _ = watched(metrics(line))
    assert list(found) == alerts
    assert said in found[alerts[0]]


@pytest.mark.parametrize(
    "line",
    [
        "understudy_outbox_pending 20", "understudy_outbox_oldest_seconds 1800",
        "understudy_journal_behind_seconds 300", "understudy_data_free_ratio 0.15",
        'understudy_parity_ratio{endpoint="GET /notes"} 0.99',
        'understudy_takeovers_total{endpoint="GET /notes"} 6',
        f"understudy_database_went_back_timestamp_seconds {NOW - 86400}",
        f'understudy_certificate_expiry_timestamp_seconds{{file="a"}} {NOW + 14 * 86400}',
    ],
)  # fmt: skip
def test_none_fires_at_its_threshold(line: str) -> None:
    assert watched(metrics(line))[0] == {}


def test_a_control_plane_that_does_not_answer_is_an_alert_and_all_it_tells_is_unknown() -> None:
    found, unknown = watched(None)
    assert list(found) == [("SidecarUnreachable", "page")]
    of_metrics = {rule.source for rule in RULES if rule.metric}
    assert unknown == of_metrics | {conditions.ABSENT}
    assert conditions.CONTROL not in unknown, "that it answers again must be seen"


def test_a_metric_that_is_missing_is_an_alert_unless_that_may_be() -> None:
    found, unknown = watched(without("understudy_journal_behind_seconds"))
    assert list(found) == [("Unmeasured", "ticket")]
    assert "JournalNotShipping" in found["Unmeasured", "ticket"]
    assert "rule:JournalNotShipping:ticket" in unknown
    found, unknown = watched(without("understudy_parity_ratio"))
    assert found == {}
    assert "rule:ParityFalling:ticket" in unknown
    found, unknown = watched(without("understudy_takeovers_total"))
    assert found == {}
    assert "rule:CircuitFlapping:ticket" not in unknown


def test_an_increase_is_unknown_until_it_was_watched_for_so_long() -> None:
    """After a restart of the evaluator: what increased holds, what did not is not known to have ended."""
    memory = Memory(3600)
    seen = Seen(metrics(), QUIET)
    found, unknown, _ = holding(RULES, seen, memory, NOW)
    assert (found, "rule:RecordingGap:page" in unknown) == ([], True)
    found, unknown, _ = holding(RULES, Seen(metrics("understudy_journal_failures_total 9"), QUIET), memory, NOW + 15)
    assert [each.name for each in found] == ["RecordingGap"]
    assert "rule:RecordingGap:page" in unknown
    found, unknown, _ = holding(RULES, Seen(metrics("understudy_journal_failures_total 9"), QUIET), memory, NOW + 900)
    assert "rule:RecordingGap:page" not in unknown
    found, unknown, _ = holding(RULES, Seen(metrics("understudy_journal_failures_total 9"), QUIET), memory, NOW + 930)
    assert (found, "rule:RecordingGap:page" in unknown) == ([], False)


def test_a_counter_that_began_again_has_increased_by_what_it_shows() -> None:
    memory = Memory(100)
    for at, value in ((0, 5.0), (15, 6.0), (30, 2.0), (45, 2.0)):
        memory.add(at, {"m": {(): value}})
    assert memory.increases("m", 45, 45) == ({(): 3.0}, True)
    assert memory.increases("m", 60, 45) == ({(): 3.0}, False)
    memory.add(10, {"m": {(): 9.0}})
    assert memory.increases("m", 45, 45) == ({}, False), "a clock that was set back begins anew"


@pytest.mark.parametrize(
    ("failed", "alerts", "said"),
    [
        ({"Holt": 10, "": 20}, [], ""),
        ({"Holt": 11}, ["ticket"], "11 failed sign-ins in ten minutes, 11 of them with one name"),
        ({"": 31}, ["ticket"], "31 failed sign-ins in ten minutes"),
        ({f"user{n}": 3 for n in range(70)}, ["ticket", "page"], "210 failed sign-ins in ten minutes"),
    ],
)
def test_credentials_are_attacked_by_name_or_in_all_and_no_name_is_told(
    failed: dict[str, int], alerts: list[str], said: str
) -> None:
    found, _, _ = holding(RULES, Seen(metrics(), {600: failed}), Memory(3600), NOW)
    attacked = [each for each in found if each.name == "CredentialsAttacked"]
    assert [each.severity for each in attacked] == alerts
    if attacked:
        assert attacked[0].notes["reason"] == said
        assert "Holt" not in str(attacked)
    _, unknown, _ = holding(RULES, Seen(metrics(), {600: None}), Memory(3600), NOW)
    assert conditions.EVENTS in unknown


def test_the_same_condition_has_the_same_key_whatever_its_value() -> None:
    rule = next(rule for rule in RULES if rule.alert == "ParityFalling")
    labels = (("endpoint", "GET /notes"),)
    assert rule.holds(0.5, labels).key == rule.holds(0.9, labels).key
    assert rule.holds(0.5, labels).hold == rule.hold * SECOND


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("[]", "(whole): "),
        (
            "- {alert: A, severity: page, for: 0, keep: 0, said: x, metric: understudy_a, absent: fine, unit: count}",
            "0: ",
        ),
        ("- {alert: A, severity: loud, for: 0, keep: 0, said: x, unreachable: true}", "0.severity: 'loud'"),
        ("- {alert: A, severity: page, for: 0, keep: 0, said: x, unreachable: true, abvoe: 1}", "abvoe"),
        (
            "- {alert: Nobody, severity: page, for: 0, keep: 0, said: x, unreachable: true}",
            "0.alert: expected one that",
        ),
        ("- {", "not YAML"),
        (
            "- {alert: OutboxOld, severity: page, for: 0, keep: 0, said: '{node}', metric: understudy_parity_ratio,"
            " above: 1, absent: fine, unit: count}",
            "0.said: expected {value}, {endpoint}; found {node}",
        ),
        ("- {alert: OutboxOld, severity: page, for: 0, keep: 0, said: '{value', unreachable: true}", "0.said: "),
        ("- {alert: OutboxOld, severity: page, for: 0, keep: 0, said: '{value.x}', unreachable: true}", "0.said: "),
    ],
)
def test_a_wrong_file_is_refused_with_the_field(tmp_path: Path, text: str, culprit: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        conditions.load(path)
    assert str(path) in str(error.value)
    assert culprit in str(error.value)


def test_a_rule_that_fails_fails_alone_and_that_is_told() -> None:
    """Its words are no reason to lose it; what it cannot read is."""
    worded = replace(next(rule for rule in RULES if rule.alert == "WriteParked"), said="{value} of {nobody}")
    assert worded.holds(2).notes["reason"] == "2 of {nobody}"
    broken = replace(worded, alert="OutboxOld", metric="understudy_outbox_pending", above="x")  # type: ignore[arg-type]
    seen = Seen(metrics("understudy_outbox_parked 2"), QUIET)
    found, unknown, unasked = holding((broken, worded), seen, Memory(3600), NOW)
    told = [(each.name, dict(each.labels)) for each in found]
    assert told == [("EvaluationFailed", {"of": "OutboxOld"}), ("WriteParked", {})]
    assert broken.source in unknown & unasked
