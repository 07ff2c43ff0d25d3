"""The policies' acceptance: a week is reported exactly, and who writes in another's name is stopped, and nobody else.

A short week on the embedded store; `python -m tests.policy.week` plays a long one on either store.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.policy.week import Hospital, hospital
from tests.support.stack import until

ENFORCED = (
    "author_is_caller", "author_is_kept", "outside_contract", "method_not_in_contract", "media_type_not_in_contract",
    "oversize_body", "unknown_credential_while_down", "failed_sign_ins", "bulk_reading",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_week_of_colleagues_writing_for_each_other(tmp_path: Path) -> None:
    with hospital(tmp_path) as place:
        week = place.play(rounds=4)
        assert len(week.for_colleagues) >= 3
        place.shipped()
        reported = {(row["user"], row["detail"]): row["succeeded"] for row in place.report("author_is_caller")}
        assert reported == week.for_colleagues  # exactly those, and how often
        first, last = min(row["first"] for row in place.report("author_is_caller")), place.sidecar.events()[-1]
        assert first[:10] < last["@timestamp"][:10]  # spread over days

        for left, (user, detail) in enumerate(reported):
            refused = place.sidecar.cli("policy", "enforce", "author_is_caller")
            assert (refused.returncode, user in refused.stderr) == (1, True), left
            excepted = place.sidecar.cli("policy", "except", "author_is_caller", user, "--detail", detail)
            assert excepted.returncode == 0
        for name in ENFORCED:
            done = place.sidecar.cli("policy", "enforce", name)
            assert done.returncode == 0, done.stderr
        until(lambda: {got.status for got in place.impersonate()} == {403}, 20, "an impersonated note is refused")
        before = pwned(place)
        place.hosp.set_profile("calm")
        said = place.replay(week)
        assert sum(said.values()) == len(week.done)
        assert [verdict for verdict in said if verdict.startswith("deny")] == []
        assert {got.status for got in place.impersonate()} == {403}
        assert pwned(place) == before


def pwned(place: Hospital) -> int:
    return sum(write["body"].get("title") == "pwned" for write in place.hosp.hosp.applied)
