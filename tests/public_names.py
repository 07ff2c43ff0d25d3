"""Every name that is used from outside, as the code has it now: `python -m tests.public_names` writes the list anew.

`public_names.txt` is the promise. A line that goes away breaks somebody's dashboard, script or alert: that is a change
of version, and said in CHANGELOG.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click
import yaml

from alerts.lifecycle.tables import metadata as alerts_tables
from dashboard.data.tables import metadata as dashboard_tables
from sidecar import app  # noqa: F401 - declares every table
from sidecar.cli import understudy
from sidecar.events.fields import FIELDS
from sidecar.settings import PREFIX, Settings
from sidecar.storage.database import metadata as sidecar_tables
from sidecar.telemetry.metrics import _COUNTERS, _GAUGES, DURATION

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "setup.cfg").exists())
FILE = ROOT / "tests/public_names.txt"
PACKAGES = ("sidecar", "alerts", "dashboard", "compose")


def settings() -> Iterator[str]:
    return (f"{PREFIX}{declared.name.upper()}" for declared in fields(Settings))


def metrics() -> Iterator[str]:
    yield from (f"understudy_{name}_total" for name in _COUNTERS)
    yield from (f"understudy_{name}" for name in (*_GAUGES, DURATION))


def routes() -> Iterator[str]:
    """As the control plane's description has them; a test of its own holds that against the code."""
    paths = yaml.safe_load((ROOT / "sidecar/control.openapi.yaml").read_text())["paths"]
    for path, methods in paths.items():
        yield from (f"{method.upper()} {path}" for method in methods if method in ("get", "post", "put", "delete"))


def commands() -> Iterator[str]:
    """Each command with its options."""

    def walk(command: click.Command, name: str) -> Iterator[str]:
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                yield f"{name} {max(parameter.opts, key=len)}"
        yield name
        if isinstance(command, click.Group):
            context = click.Context(command)
            for inner in command.list_commands(context):
                found = command.get_command(context, inner)
                assert found is not None
                yield from walk(found, f"{name} {inner}")

    return walk(understudy, "understudy")


def event_fields() -> Iterator[str]:
    return (field.name for field in FIELDS)


def tables() -> Iterator[str]:
    for package in (sidecar_tables, alerts_tables, dashboard_tables):
        for table in package.sorted_tables:
            yield from (f"{table.name}.{column.name}" for column in table.columns)


def actions() -> Iterator[str]:
    """`event.action` of log lines: what people search their logs for."""
    for tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if _text(key) == "event.action" and _text(value):
                        yield str(_text(value))
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "event" and len(node.args) > 2:
                yield _text(node.args[2]) or ""


def files() -> Iterator[str]:
    """What lies under DATA: whatever the code puts behind `settings.data /` or `data /`."""
    for tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and _text(node.right):
                left = node.left.attr if isinstance(node.left, ast.Attribute) else getattr(node.left, "id", "")
                if left in ("data", "_data"):
                    yield str(_text(node.right))


def _trees() -> Iterator[ast.Module]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield ast.parse(path.read_text())


def _text(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


KINDS = {
    "setting": settings, "metric": metrics, "route": routes, "command": commands, "event field": event_fields,
    "log action": actions, "table": tables, "file in DATA": files,
}  # fmt: skip


def names() -> list[str]:
    """One a line: its kind, a colon, the name."""
    return sorted({f"{kind}: {re.sub(r'[<>]', '', name)}" for kind, of in KINDS.items() for name in of() if name})


if __name__ == "__main__":
    FILE.write_text("\n".join(names()) + "\n")
