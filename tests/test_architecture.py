"""The house: imports go one way, down; nothing goes in a circle; the neighbours see only the front rooms; what is
marked `# pure` does no I/O.

Imports inside functions, under TYPE_CHECKING and by `import_module("…")` count as any other. The layers are read from
docs/ARCHITECTURE.md, so that its picture stays true.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from sidecar.gateway.pipeline import PIPELINE

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "setup.cfg").exists())
PACKAGES = ("sidecar", "alerts", "dashboard", "compose")
FRONT_ROOMS = (
    "settings", "contract", "storage", "telemetry", "timeunits", "signals", "events.store", "events.trail",
    "journal.verify", "control.client", "server.gunicorn",
)  # fmt: skip
"""What alerts, dashboard and compose may import of the sidecar."""
IMPURE = ("sqlalchemy", "flask", "socket", "threading", "os", "subprocess", "http.client", "asyncio", "elasticsearch")
DEEP_ARROWS: set[tuple[str, str]] = set()
"""Imports that break a rule until a later issue deletes them, each with that issue's number. Empty."""


def layers() -> list[list[str]]:
    """The sidecar's layers, top first, as docs/ARCHITECTURE.md draws them."""
    text = (ROOT / "docs/ARCHITECTURE.md").read_text()
    picture = re.search(r"```layers\n(.*?)```", text, re.S)
    assert picture is not None, "docs/ARCHITECTURE.md has no block ```layers"
    return [line.split("#")[0].split() for line in picture[1].splitlines() if line.strip()]


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module's dotted name, of all packages."""
    found = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = list(path.relative_to(root).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(tree: ast.AST, known: Mapping[str, Path]) -> Iterator[str]:
    """The names that a module imports, wherever it does: of ours the module, of others what was written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("import_module", "__import__") and node.args and isinstance(node.args[0], ast.Constant):
                yield str(node.args[0].value)


@cache
def read(root: Path = ROOT) -> dict[str, frozenset[str]]:
    """Module → all that it imports, ours and others'. Read once: it is what every rule here is about."""
    known = modules(root)
    return {name: frozenset(imported(ast.parse(path.read_text()), known)) for name, path in known.items()}


def graph(root: Path = ROOT) -> dict[str, set[str]]:
    """Module → the modules of ours that it imports."""
    found = read(root)
    return {name: {to for to in names if to in found and to != name} for name, names in found.items()}


def room(module: str) -> str:
    """The room of the sidecar that a module lies in: its first part below `sidecar`."""
    return module.split(".")[1] if "." in module else ""


def upward(arrows: Mapping[str, set[str]], order: list[list[str]]) -> list[str]:
    """Imports that go up a layer, or come from a room that no layer names."""
    height = {name: -number for number, layer in enumerate(order) for name in layer}
    found = []
    for start, ends in arrows.items():
        if not start.startswith("sidecar."):
            continue
        if room(start) not in height and room(start) not in ("__main__", "contracts"):
            found.append(f"{start}: no layer has the room {room(start)}")
        for end in ends:
            if end.startswith("sidecar.") and height.get(room(end), 0) > height.get(room(start), 0):
                found.append(f"{start} -> {end}")
            if not end.startswith("sidecar"):
                found.append(f"{start} -> {end}: the sidecar knows nobody else's package")
    return found


def circles(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of nodes that reach one another (Tarjan's strongly connected components of more than one node)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for to in arrows.get(node, ()):
            if to not in index:
                visit(to)
                low[node] = min(low[node], low[to])
            elif to in stack:
                low[node] = min(low[node], index[to])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in arrows:
        if node not in index:
            visit(node)
    return found


def between_rooms(arrows: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The same graph, of packages: the sidecar by its rooms, the others by their folders."""

    def place(module: str) -> str:
        parts = module.split(".")
        return ".".join(parts[:2]) if len(parts) > 1 else module

    found: dict[str, set[str]] = {}
    for start, ends in arrows.items():
        found.setdefault(place(start), set()).update(place(end) for end in ends if place(end) != place(start))
    return found


def too_deep(arrows: Mapping[str, set[str]]) -> list[str]:
    """What the neighbours import of the sidecar beyond its front rooms."""
    allowed = tuple(f"sidecar.{name}" for name in FRONT_ROOMS)
    return [
        f"{start} -> {end}"
        for start, ends in arrows.items()
        for end in ends
        if not start.startswith("sidecar")
        and end.startswith("sidecar.")
        and not any(end == name or end.startswith(f"{name}.") for name in allowed)
        and (start, end) not in DEEP_ARROWS
    ]


def impure(root: Path = ROOT) -> list[str]:
    """What a module marked `# pure` imports and must not: a library that does I/O, or a module of ours that does."""
    known = modules(root)
    direct = {
        name: {to for to in names if any(to == bad or to.startswith(f"{bad}.") for bad in IMPURE)}
        for name, names in read(root).items()
    }
    arrows = graph(root)
    found = []
    for name, path in known.items():
        if "# pure" not in path.read_text().splitlines()[:2]:
            continue
        seen, waiting = {name}, [name]
        while waiting:
            at = waiting.pop()
            found += [f"{name}: {at} imports {bad}" for bad in sorted(direct[at])]
            waiting += [to for to in arrows[at] if to not in seen]
            seen.update(arrows[at])
    return found


def test_imports_go_down() -> None:
    assert upward(graph(), layers()) == []


def test_no_module_is_in_a_circle() -> None:
    assert circles(graph()) == []


def test_no_package_is_in_a_circle() -> None:
    assert circles(between_rooms(graph())) == []


def test_neighbours_see_only_the_front_rooms() -> None:
    assert too_deep(graph()) == []


def test_what_is_pure_does_no_io() -> None:
    assert impure() == []


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"sidecar/http/x.py": "def f():\n    from sidecar.standby import y\n", "sidecar/standby/y.py": ""}, "up"),
        ({"sidecar/http/x.py": "from importlib import import_module\nimport_module('sidecar.app')\n",
          "sidecar/app.py": ""}, "up"),
        ({"sidecar/http/x.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import sidecar.standby.y\n",
          "sidecar/standby/y.py": "from sidecar.http import x\n"}, "circle"),
        ({"sidecar/access/x.py": "import sidecar.standby.y\n", "sidecar/access/z.py": "",
          "sidecar/standby/y.py": "from sidecar.access import z\n"}, "rooms"),
        ({"dashboard/x.py": "from sidecar.standby import y\n", "sidecar/standby/y.py": ""}, "deep"),
        ({"sidecar/http/x.py": "# pure\nfrom sidecar.http import y\n", "sidecar/http/y.py": "import os\n"}, "pure"),
        ({"sidecar/attic/x.py": ""}, "up"),
    ],
)  # fmt: skip
def test_each_rule_can_be_broken(tmp_path: Path, files: dict[str, str], complaint: str) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    arrows = graph(tmp_path)
    found = {
        "up": upward(arrows, layers()),
        "circle": circles(arrows),
        "rooms": circles(between_rooms(arrows)),
        "deep": too_deep(arrows),
        "pure": impure(tmp_path),
    }
    assert found[complaint] != []


def test_every_file_that_the_page_names_is_there() -> None:
    text = (ROOT / "docs/ARCHITECTURE.md").read_text()
    named = set(re.findall(r"`((?:sidecar|alerts|dashboard|compose|tests|docs)/[\w./-]*)`", text))
    assert len(named) > 15
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_the_page_shows_the_request_path_as_it_is() -> None:
    shown = re.search(r"```steps\n(.*?)```", (ROOT / "docs/ARCHITECTURE.md").read_text(), re.S)
    assert shown is not None
    assert [line.split()[0] for line in shown[1].splitlines()] == [step.__name__ for step in PIPELINE]
