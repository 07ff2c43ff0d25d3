"""Settings: declared once, refused by name, and README's table is theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.settings import SettingError, load_settings, strangers
from sidecar.settings.declarations import table


def test_readme_has_the_settings_as_they_are() -> None:
    assert table() in (Path(__file__).parents[4] / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DEADLINE", "soon", "a duration"),
        ("UPSTREAM", "hosp.local", "an http:// or https:// URL"),
        ("UPSTREAM", "http://u:p@h", "without credentials"),
        ("LISTEN", "8080", "host:port"),
        ("WORKERS", "0", "a whole number from 1"),
        ("RETRY_BUDGET", "2", "from 0 to 1"),
        ("MAX_BODY", "big", "a size"),
        ("RECORD", "maybe", "durable or async"),
        ("TRUSTED_PROXIES", "10.0.0.0/40", "addresses or networks"),
        ("TEST_HEADERS", "X-Test", "Name: value"),
    ],
)
def test_a_value_that_does_not_fit_is_named(name: str, value: str, expected: str) -> None:
    with pytest.raises(SettingError) as caught:
        load_settings({f"UNDERSTUDY_{name}": value})
    assert f"UNDERSTUDY_{name}" in str(caught.value)
    assert expected in str(caught.value)


def test_a_secret_is_never_repeated() -> None:
    with pytest.raises(SettingError) as caught:
        load_settings({"UNDERSTUDY_BACKFILL_CREDENTIALS": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    config = tmp_path / "u.toml"
    config.write_text('deadline = "1s"\nUNDERSTUDY_WORKERS = 3\n')
    settings = load_settings({"UNDERSTUDY_DEADLINE": "4s"}, config)
    assert (settings.deadline, settings.workers) == (4.0, 3)


def test_misspelt_names_are_noticed(tmp_path: Path) -> None:
    config = tmp_path / "u.toml"
    config.write_text('dedline = "1s"\n')
    with pytest.raises(SettingError, match="did you mean UNDERSTUDY_DEADLINE"):
        load_settings({}, config)
    assert strangers({"UNDERSTUDY_DEDLINE": "1s", "UNDERSTUDY_TESTS": "all"}) == [
        "UNDERSTUDY_DEDLINE: no such setting (did you mean UNDERSTUDY_DEADLINE?)"
    ]
