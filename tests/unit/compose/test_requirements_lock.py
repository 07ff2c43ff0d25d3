"""compose/requirements.lock names every package that the program needs, in a version that fits, with hashes."""

from __future__ import annotations

import re
from configparser import ConfigParser
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]


def locked() -> dict[str, tuple[str, list[str]]]:
    """By name: the version, and the hashes."""
    text = (ROOT / "compose" / "requirements.lock").read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, version = line.split()[0].split("==")
            found[str(canonicalize_name(name))] = version, re.findall(r"--hash=sha256:([0-9a-f]{64})", line)
    return found


def wanted() -> list[Requirement]:
    """What the program asks for, and what that asks for in turn."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = config["options.extras_require"]
    lines = config["options"]["install_requires"] + extras["postgresql"] + extras["otel"]
    found = [Requirement(line) for line in lines.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    seen: set[tuple[str, frozenset[str]]] = set()
    for requirement in found:  # it grows meanwhile
        key = str(canonicalize_name(requirement.name)), frozenset(requirement.extras)
        if key in seen:
            continue
        seen.add(key)
        for line in _asked_by(requirement.name):
            further = Requirement(line)
            named = requirement.extras or {""}
            if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in named):
                found.append(further)
    return found


def _asked_by(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []  # it is not installed here; the lock was made where it could be asked


def test_every_package_is_locked_in_a_version_that_fits() -> None:
    found, asked = locked(), wanted()
    assert len(asked) > 20
    wrong = [
        str(requirement)
        for requirement in asked
        if (row := found.get(str(canonicalize_name(requirement.name)))) is None or row[0] not in requirement.specifier
    ]
    assert wrong == [], "compose/requirements.lock says how it is made anew"
    assert "setuptools" in found, "the program itself is built in the image"


def test_every_version_has_its_hashes() -> None:
    assert [name for name, (_, hashes) in locked().items() if not hashes] == []


def test_the_image_is_installed_from_it_alone() -> None:
    steps = (ROOT / "compose" / "Dockerfile").read_text()
    assert "--require-hashes --no-deps -r compose/requirements.lock" in steps
    assert "--no-index --no-deps --no-build-isolation ." in steps
    assert steps.count("pip install") == 2
