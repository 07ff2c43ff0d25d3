"""`understudy slo rules`: promtool accepts what is written, and the generated cases pass, and can fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from alerts.cli import slo
from alerts.objectives import openslo
from sidecar.settings import Settings

SETTINGS = Settings(upstream="http://127.0.0.1:1")


def write(out: Path, settings: Settings = SETTINGS) -> None:
    ran = CliRunner().invoke(slo, ["rules", "--out", str(out)], obj=settings)
    assert ran.exit_code == 0, ran.output


@pytest.mark.parametrize(("keep", "told"), [(300.0, {"300s"}), (1200.0, {"1200s"}), (0.0, {None})])
def test_an_alert_goes_on_as_long_as_ours_do_after_it_was_last_seen(
    tmp_path: Path, keep: float, told: set[str | None]
) -> None:
    write(tmp_path, replace(some(tmp_path, "answered"), alert_keep=keep))
    groups = yaml.safe_load((tmp_path / "understudy.rules.yaml").read_text())["groups"]
    assert {alert.get("keep_firing_for") for alert in groups[-1]["rules"]} == told


def some(folder: Path, *names: str) -> Settings:
    """The shipped objectives of these names only."""
    documents = list(yaml.safe_load_all(openslo.locate("hosp").read_text()))
    kept = [each for each in documents if each["kind"] == "Service" or each["metadata"]["name"] in names]
    path = folder / "slos.yaml"
    path.write_text(yaml.safe_dump_all(kept))
    return Settings(upstream="http://127.0.0.1:1", slos=str(path))


def test_a_limit_that_is_no_bucket_is_left_out_by_name(tmp_path: Path) -> None:
    settings = some(tmp_path, "answered", "in-time")
    path = Path(settings.slos)
    path.write_text(path.read_text().replace("within: 3s", "within: 4s"))
    said = CliRunner().invoke(slo, ["rules"], obj=settings).output
    assert said.startswith("# Not here, since the metrics cannot tell: in-time.")


def test_labels_are_those_of_the_design(tmp_path: Path) -> None:
    out = tmp_path / "rules.yaml"
    write(out)
    assert CliRunner().invoke(slo, ["rules"], obj=SETTINGS).output == out.read_text()
    _, *counts, alerts, _conditions = (group["rules"] for group in yaml.safe_load(out.read_text())["groups"])
    labels = {tuple(each["labels"]) for group in counts for each in group}
    assert labels == {("slo", "objective", "view", "endpoint", "window")}
    burns = [each["labels"] for each in alerts if each["alert"] == "ErrorBudgetBurn"]
    assert {tuple(each) for each in burns} == {("severity", "slo", "objective", "view")}
    assert {each["severity"] for each in burns} == {"page", "ticket"}
    assert {each["alert"] for each in alerts} == {"ErrorBudgetBurn", "NoTraffic", "NoData"}
    for each in (*alerts, *_conditions):
        assert each["annotations"]["runbook_url"].endswith(f"/{each['alert']}.md")
