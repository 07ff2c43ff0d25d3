"""The units that `understudy units` writes are the shipped ones, for other folders."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from compose.units import command, units


def test_paths_are_put_in_and_nothing_else_changes(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, ["--out", str(tmp_path), "--program", "/srv/u/", "--settings", "/srv/etc"])
    assert done.exit_code == 0, done.output
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert sorted(written) == [
        "understudy-alerts.service", "understudy-dashboard.service", "understudy-sidecar.service",
        "understudy-sidecar.socket",
    ]  # fmt: skip
    assert (
        "ExecStart=/srv/u/bin/understudy --config /srv/etc/understudy.toml sidecar"
        in written["understudy-sidecar.service"]
    )
    for name, text in written.items():
        assert text.replace("/srv/u", "/opt/understudy").replace("/srv/etc", "/etc/understudy") == units()[name]
        assert "/opt/understudy" not in text


def test_background_work_may_stand_back_and_nothing_is_given_up() -> None:
    for name, text in units().items():
        if name.endswith(".service"):
            assert "SystemCallFilter=setpriority" in text
            assert "SystemCallErrorNumber=EPERM" in text
            assert "StartLimitIntervalSec=0" in text
