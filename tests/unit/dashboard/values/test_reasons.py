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
