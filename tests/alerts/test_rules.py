"""`understudy slo rules`: promtool accepts what is written, and the generated cases pass, and can fail."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from alerts.commands import slo
from sidecar.settings import Settings

SETTINGS = Settings(upstream="http://127.0.0.1:1")


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    found = shutil.which("promtool")
    assert found is not None
    return subprocess.run([found, *words], capture_output=True, text=True, check=False)


def write(out: Path) -> None:
    ran = CliRunner().invoke(slo, ["rules", "--out", str(out)], obj=SETTINGS)
    assert ran.exit_code == 0, ran.output


@pytest.mark.prometheus
def test_promtool_accepts_them_and_the_cases_pass(tmp_path: Path) -> None:
    write(tmp_path)
    checked = promtool("check", "rules", str(tmp_path / "understudy.rules.yaml"))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = promtool("test", "rules", str(tmp_path / "understudy.tests.yaml"))
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.prometheus
def test_the_cases_can_fail(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "understudy.rules.yaml"
    path.write_text(path.read_text().replace("severity: page", "severity: ticket"))
    assert promtool("test", "rules", str(tmp_path / "understudy.tests.yaml")).returncode != 0


def test_the_labels_and_what_is_left_out(tmp_path: Path) -> None:
    out = tmp_path / "rules.yaml"
    write(out)
    assert out.read_text().startswith("# Not here, since the metrics cannot tell: in-time.")
    assert CliRunner().invoke(slo, ["rules"], obj=SETTINGS).output == out.read_text()
    records, alerts, _conditions = (group["rules"] for group in yaml.safe_load(out.read_text())["groups"])
    assert {tuple(each["labels"]) for each in records} == {("slo", "objective", "view", "endpoint", "window")}
    assert {each["labels"]["severity"] for each in alerts} == {"page", "ticket"}
