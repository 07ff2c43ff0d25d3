"""`python -m sidecar.storage.migrations.new PACKAGE "what changes"`: writes the next migration of a package's tables
(sidecar, alerts or dashboard), from what the tables are declared to be and the latest version has not. Read it before
it is committed. Nothing imports this file.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

from alembic import command
from sqlalchemy import MetaData

from sidecar.storage.database import open_memory
from sidecar.storage.migrate import MIGRATIONS, Schema

ROOT = Path(__file__).parents[3]
FOLDERS = {
    "sidecar": MIGRATIONS / "versions",
    "alerts": ROOT / "alerts" / "lifecycle" / "migrations",
    "dashboard": ROOT / "dashboard" / "data" / "migrations",
}


def declared(package: str) -> MetaData:
    """The tables that the package's modules declare, wherever they do."""
    found: MetaData | None = None
    for module in walk_packages([str(ROOT / package)], f"{package}."):
        if "migrations" in module.name or module.name.endswith("__main__"):
            continue
        found = getattr(import_module(module.name), "metadata", found)
    if found is None:
        raise LookupError(f"{package} declares no tables")
    return found


def write(schema: Schema, message: str) -> Path:
    """The next migration, as a file in the package's folder."""
    engine = open_memory()
    with engine.begin() as connection:
        known = schema.known()
        if known:
            schema.steps(connection, known[-1])
        config = schema.config(connection)
        config.attributes["metadata"] = declared(schema.name)
        made = command.revision(config, message, autogenerate=True, rev_id=f"{len(known) + 1:04d}")
    if made is None or isinstance(made, list):
        raise RuntimeError("alembic wrote no single revision")
    return Path(made.path)


def main(words: Sequence[str]) -> int:
    if len(words) != 2 or words[0] not in FOLDERS:
        usage = 'python -m sidecar.storage.migrations.new sidecar|alerts|dashboard "what changes"'
        print(f"usage: {usage}", file=sys.stderr)
        return 2
    print(write(Schema(words[0], FOLDERS[words[0]]), words[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
