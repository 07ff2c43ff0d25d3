"""Finds the Java and the Maven that a node needs, and says plainly which one is missing."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Final

JVMS: Final = Path("/usr/lib/jvm")
OLDEST: Final = {8: 17, 9: 21}
"""The first Java that each major version of Elasticsearch runs on."""


class Missing(RuntimeError):
    """Something that a node needs is not on this machine; the message says what, and what was found instead."""


def java_home(elasticsearch: str) -> Path:
    """The newest JDK of JAVA_HOME and /usr/lib/jvm, if it is new enough for this version of Elasticsearch."""
    needed = oldest_java(elasticsearch)
    found = {home: release(home) for home in _homes() if (home / "bin" / "javac").exists()}
    newest = max(found, key=lambda home: found[home], default=None)
    if newest is None:
        raise Missing(f"Elasticsearch {elasticsearch} needs a JDK {needed} or later; found none in {JVMS}")
    if found[newest] < needed:
        raise Missing(f"Elasticsearch {elasticsearch} needs a JDK {needed} or later; found {found[newest]} in {newest}")
    return newest


def oldest_java(elasticsearch: str) -> int:
    """The first Java that a version of Elasticsearch runs on."""
    return OLDEST.get(int(elasticsearch.partition(".")[0]), max(OLDEST.values()))


def maven() -> str:
    """The path of mvn."""
    path = shutil.which("mvn")
    if path is None:
        raise Missing("mvn is not on PATH: Maven fetches Elasticsearch's jars (apt-get install maven)")
    return path


def release(home: Path) -> int:
    """A JDK's major version from its `release` file (21 of "21.0.2"); 0 when it has none."""
    try:
        text = (home / "release").read_text()
    except OSError:
        return 0
    match = re.search(r'^JAVA_VERSION="(?:1\.)?(\d+)', text, re.MULTILINE)
    return int(match[1]) if match else 0


def _homes() -> list[Path]:
    given = os.environ.get("JAVA_HOME")
    installed = sorted(JVMS.iterdir()) if JVMS.is_dir() else []
    return [*([Path(given)] if given else []), *installed]
