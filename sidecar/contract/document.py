"""Reads a contract's file: an OpenAPI 3.1 document in YAML or JSON; what cannot be read is told by its line."""

from __future__ import annotations

from importlib import resources as package_files
from pathlib import Path
from typing import Any, Final

import yaml

from sidecar.contract.model import NOTHING, ContractError

LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where PyYAML has it: each process reads the contract as it starts."""


def text_of(name_or_path: str) -> str:
    """What the shipped contract of that name says, or that file. Raises ContractError."""
    shipped = package_files.files("sidecar") / "contracts" / f"{name_or_path}.yaml"
    try:
        return shipped.read_text() if "/" not in name_or_path and shipped.is_file() else Path(name_or_path).read_text()
    except OSError as error:
        raise ContractError("contract", name_or_path, "a shipped name or a path", error.strerror) from None
    except UnicodeDecodeError:
        raise ContractError("contract", name_or_path, "UTF-8", "other bytes") from None


def read(name_or_path: str, text: str) -> tuple[str, dict[str, Any]]:
    """The contract's name, and the document that its text is. Raises ContractError."""
    document = parsed(name_or_path, text)
    if not isinstance(document, dict) or not str(document.get("openapi", "")).startswith("3.1"):
        raise ContractError(name_or_path, "openapi", "an OpenAPI 3.1 document", version(document))
    return Path(name_or_path).stem, document


def parsed(where: str, text: str) -> Any:
    """What YAML says. Raises ContractError with the line."""
    try:
        return yaml.load(text, Loader=LOADER)  # nosec B506: a safe one
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}" if mark is not None else "the file"
        raise ContractError(where, line, "YAML", getattr(error, "problem", None) or str(error)) from None
    except (ValueError, RecursionError) as error:
        # A date that is none, a number that is none: PyYAML lets Python's own error through.
        raise ContractError(where, "the file", "YAML", str(error)) from None


def version(document: Any) -> object:
    return document.get("openapi", NOTHING) if isinstance(document, dict) else document
