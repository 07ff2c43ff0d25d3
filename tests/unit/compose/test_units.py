"""The units that `understudy units` writes are the shipped ones, for other folders, and for one user or three."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from compose.units import command, units

UNITS = [
    "understudy-alerts.service", "understudy-dashboard.service", "understudy-sidecar.service",
    "understudy-sidecar.socket",
]  # fmt: skip
STORES = 'upstream = "http://hosp"\ndatabase = "postgresql+psycopg://db/u"\nelasticsearch = "http://search:9200"\n'


def written(folder: Path, *words: str) -> dict[str, str]:
    done = CliRunner().invoke(command, ["--out", str(folder), *words])
    assert done.exit_code == 0, done.output
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in found}


def user_of(unit: str) -> str:
    return next(line.removeprefix("User=") for line in unit.splitlines() if line.startswith("User="))


def test_paths_are_put_in_and_nothing_else_changes(tmp_path: Path) -> None:
    found = written(tmp_path, "--program", "/srv/u/", "--settings", "/srv/etc", "--own-users")
    assert sorted(found) == UNITS
    assert (
        "ExecStart=/srv/u/bin/understudy --config /srv/etc/understudy.toml sidecar"
        in found["understudy-sidecar.service"]
    )
    for name, text in found.items():
        assert text.replace("/srv/u", "/opt/understudy").replace("/srv/etc", "/etc/understudy") == units()[name]
        assert "/opt/understudy" not in text


@pytest.mark.parametrize("lacks", ["", "database", "elasticsearch"])
def test_three_users_unless_a_store_is_a_file_of_the_sidecars(tmp_path: Path, lacks: str) -> None:
    etc, out = tmp_path / "etc", tmp_path / "out"
    etc.mkdir()
    lines = [line for line in STORES.splitlines() if not (lacks and line.startswith(lacks))]
    (etc / "understudy.toml").write_text("\n".join(lines))
    found = written(out, "--settings", str(etc))
    users = {user_of(found[name]) for name in UNITS if name.endswith(".service")}
    assert len(users) == 3
    drop_ins = {name for name in found if ".service.d/" in name}
    assert drop_ins == (
        {f"understudy-{part}.service.d/embedded.conf" for part in ("alerts", "dashboard")} if lacks else set()
    )
    assert {user_of(found[name]) for name in drop_ins} <= {"understudy"}


def test_drop_ins_go_when_the_stores_are_no_longer_files(tmp_path: Path) -> None:
    assert len(written(tmp_path, "--one-user")) == 6
    assert sorted(written(tmp_path, "--own-users")) == UNITS


def test_nobody_but_the_sidecar_gets_its_keys() -> None:
    for name in ("understudy-alerts.service", "understudy-dashboard.service"):
        assert "seal_key" not in units()[name]
        assert "/var/lib/understudy/" not in units()[name]


def test_background_work_may_stand_back_and_nothing_is_given_up() -> None:
    for name, text in units().items():
        if name.endswith(".service"):
            assert "SystemCallFilter=setpriority" in text
            assert "SystemCallErrorNumber=EPERM" in text
            assert "StartLimitIntervalSec=0" in text
