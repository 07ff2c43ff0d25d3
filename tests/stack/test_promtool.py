"""promtool accepts the rules that are written, and the generated cases pass, and can fail."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from alerts.prometheus import conditions as prometheus
from alerts.rules import conditions
from alerts.rules.conditions import Rule
from tests.unit.alerts.prometheus.test_rules import some, write


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    found = shutil.which("promtool")
    assert found is not None
    return subprocess.run([found, *words], capture_output=True, text=True, check=False)


@pytest.mark.prometheus
def test_promtool_accepts_all_of_them(tmp_path: Path) -> None:
    write(tmp_path)
    checked = promtool("check", "rules", str(tmp_path / "understudy.rules.yaml"))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "# Not here" not in (tmp_path / "understudy.rules.yaml").read_text()


@pytest.mark.prometheus
def test_the_cases_pass_and_can_fail(tmp_path: Path) -> None:
    write(tmp_path, some(tmp_path, "answered", "in-time"))
    path, cases = tmp_path / "understudy.rules.yaml", str(tmp_path / "understudy.tests.yaml")
    tested = promtool("test", "rules", cases)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    text = path.read_text()
    for right, wrong in (("severity: page", "severity: ticket"), ('up{job="understudy"}', 'up{job="other"}')):
        path.write_text(text.replace(right, wrong))
        assert promtool("test", "rules", cases).returncode != 0, right


@pytest.mark.prometheus
@pytest.mark.parametrize(
    ("target", "said"), [("0.5", "no alert at 14.4 times"), ("0.9", "14.4"), ("0.999999", "groups:")]
)
def test_any_target_and_any_job(tmp_path: Path, target: str, said: str) -> None:
    """Levels that can never fire are left out and said; what is left is right."""
    settings = replace(some(tmp_path, "answered"), prometheus_job="vet/api")
    path = Path(settings.slos)
    path.write_text(path.read_text().replace("target: 0.99", f"target: {target}"))
    write(tmp_path, settings)
    text = (tmp_path / "understudy.rules.yaml").read_text()
    assert said in text
    assert 'job="understudy"' not in text
    assert 'job="vet/api"' in text
    for words in (("check", "rules", "understudy.rules.yaml"), ("test", "rules", "understudy.tests.yaml")):
        ran = promtool(*words[:2], str(tmp_path / words[2]))
        assert ran.returncode == 0, ran.stdout + ran.stderr


RULES = conditions.load()


@pytest.mark.prometheus
def test_promtool_accepts_the_rules_and_the_cases_hold_and_can_fail(tmp_path: Path) -> None:
    def tested(rules: tuple[Rule, ...]) -> subprocess.CompletedProcess[str]:
        (tmp_path / "rules.yaml").write_text(prometheus.rules(rules))
        checked = promtool("check", "rules", str(tmp_path / "rules.yaml"))
        assert checked.returncode == 0, checked.stdout + checked.stderr
        return promtool("test", "rules", str(tmp_path / "tests.yaml"))

    (tmp_path / "tests.yaml").write_text(prometheus.tests(RULES, "rules.yaml"))
    assert tested(RULES).returncode == 0
    slack = [rule if rule.above is None else replace(rule, above=rule.above * 3 + 3) for rule in RULES]
    strict = [replace(rule, below=rule.below * 2) if rule.below is not None else rule for rule in RULES]
    apart = [replace(rule, nodes="each") for rule in RULES]  # flapping over two nodes, and OutboxOld twice
    for worse in (slack, strict, apart):
        ran = tested(tuple(worse))
        said = ran.stdout + ran.stderr
        changed = {before.alert for before, after in zip(RULES, worse, strict=True) if before != after}
        assert {alert for alert in changed if alert in said} == changed, "each case can fail"
