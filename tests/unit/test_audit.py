"""What pip-audit says, judged: unknown is not good."""

from __future__ import annotations

import pytest

from tests.audit import judge

CLEAN = {"name": "flask", "version": "3.1", "vulns": []}
BAD = {"name": "flask", "version": "0.1", "vulns": [{"id": "PYSEC-1"}]}
SKIPPED = {"name": "flask", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("rows", "status", "said"),
    [
        ([CLEAN], 0, "no known vulnerability in 1 packages"),
        ([CLEAN, {"name": "understudy", "skip_reason": "ours"}], 0, "no known vulnerability in 1 packages"),
        ([CLEAN, BAD], 1, "1 known vulnerabilities: flask 0.1: PYSEC-1"),
        ([BAD, SKIPPED], 1, "1 known vulnerabilities: flask 0.1: PYSEC-1"),
        ([CLEAN, SKIPPED], 2, "NOT AUDITED: 1 of 2 packages are unknown to the vulnerability service"),
        ([], 2, "NOT AUDITED: 0 of 0 packages are unknown to the vulnerability service"),
    ],
)
def test_the_outcome(rows: list[dict[str, object]], status: int, said: str) -> None:
    assert judge({"dependencies": rows}) == (status, said)
