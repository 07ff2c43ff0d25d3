"""A real Elasticsearch for tests."""

from __future__ import annotations

import os

import pytest

from compose.elasticsearch.java import Missing
from compose.elasticsearch.node import VERSIONS, prepare


def prepared(version: str = VERSIONS[0]) -> str:
    """The version, ready to be started; without Java or Maven the test is skipped, unless UNDERSTUDY_TESTS=all wants
    every test run."""
    try:
        prepare(version)
    except Missing as missing:
        if os.environ.get("UNDERSTUDY_TESTS") == "all":
            raise
        pytest.skip(str(missing))
    return version
