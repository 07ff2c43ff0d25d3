"""What is installed is what is here: an installation by wheel, as in a container, misses no file of the packages."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("sidecar", "alerts", "dashboard", "compose")
KINDS = {".py", ".yaml", ".yml", ".json", ".ndjson", ".env", ".mako", ".md", ".html", ".css", ".js", ".svg"}


def test_the_wheel_has_every_module_and_its_data(tmp_path: Path) -> None:
    told = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    wanted = {name for name in told.splitlines() if Path(name).suffix in KINDS}
    source = tmp_path / "source"
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    source.mkdir()
    subprocess.run(["tar", "-x", "-C", str(source)], input=archive, check=True)
    for name in ("setup.cfg", "pyproject.toml"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    wheel = next(tmp_path.glob("understudy-*.whl"))
    assert wanted - set(zipfile.ZipFile(wheel).namelist()) == set()
