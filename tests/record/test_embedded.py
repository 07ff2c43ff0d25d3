"""The embedded store passes the suite that every store passes, and is safe across processes."""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from sidecar.record.stores import Filter, StoreUnavailable
from sidecar.record.stores.embedded import EmbeddedStore

