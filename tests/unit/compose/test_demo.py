"""What the demo prints is what README says, on every machine: with HAProxy or without."""

from __future__ import annotations

from pathlib import Path

from compose.demo import FRONT, HOSP_CONTROL, commands

README = (Path(__file__).parents[3] / "README.md").read_text()


def test_readme_shows_what_the_demo_prints() -> None:
    assert "\n".join(commands(FRONT, HOSP_CONTROL)) in README


def test_readme_names_no_port_that_the_demo_does_not_open() -> None:
    shown = README[README.index("## Two commands") : README.index("## A request's way through")]
    assert {port for port in ("8000", "8080", "8081", "8050", "9000", "9001") if f":{port}" in shown} == {
        str(FRONT), str(HOSP_CONTROL),
    }  # fmt: skip
