"""The sidecar's short words in plain English."""

from __future__ import annotations

from dashboard.values import reasons


def test_machines_are_not_named_as_if_they_were_people() -> None:
    assert reasons.actor("vm/gateway/21278") == "automatically"
    assert reasons.actor("") == "automatically"
    assert reasons.actor("operator (dashboard)") == "by operator (dashboard)"


def test_circuits_and_writes_say_what_happened_at_hosp() -> None:
    assert reasons.circuit("open", "probe_failed", "Library") == "open: Library's last probe failed"
    assert reasons.circuit("closed", "refused", "HOSP") == "healthy"
    said = reasons.write("conflict: someone changed this record at HOSP meanwhile", "HOSP")
    assert said == "Someone changed this record at HOSP meanwhile"
    assert reasons.because("anything_new", "HOSP") == "anything new"


def test_what_an_event_and_an_endpoint_say_of_failures_is_in_words() -> None:
    assert reasons.failure("deadline", "Library") == "Library was too late"
    assert reasons.failure("upstream_refused", "Library") == "Library refused connections"
    assert reasons.failure("upstream_500", "Library") == "Library: 500"
    assert reasons.failure("", "Library") == ""
    assert reasons.verdict("deny") == "denied"
    assert reasons.verdict(None) == ""
    assert reasons.unready("only the upstream can answer this", "Library") == "only Library can answer this"
    assert reasons.unready(None, "Library") == ""
