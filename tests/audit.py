"""Known vulnerabilities of what is installed, by pip-audit: `python -m tests.audit`.

Three outcomes: 0, none is known; 1, some are; 2, nobody could be asked. pip-audit itself exits 0 when the service knows
none of the packages, as a mirror of the registry without vulnerability data does: that is unknown, and is not good.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

OURS = "understudy"


def judge(report: dict[str, Any]) -> tuple[int, str]:
    """The exit status, and what to say of pip-audit's report."""
    rows = [row for row in report["dependencies"] if row["name"] != OURS]
    found = [f"{row['name']} {row['version']}: {v['id']}" for row in rows for v in row.get("vulns", ())]
    skipped = [row["name"] for row in rows if "skip_reason" in row]
    if found:
        return 1, f"{len(found)} known vulnerabilities: {', '.join(found)}"
    if skipped or not rows:
        return 2, f"NOT AUDITED: {len(skipped)} of {len(rows)} packages are unknown to the vulnerability service"
    return 0, f"no known vulnerability in {len(rows)} packages"


def main() -> int:
    command = [sys.executable, "-m", "pip_audit", "--progress-spinner", "off", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    try:
        status, said = judge(json.loads(done.stdout))
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        status, said = 2, f"NOT AUDITED: the vulnerability service could not be asked: {last[:200]}"
    print(f"audit: {said}")
    return status


if __name__ == "__main__":
    sys.exit(main())
