"""Windows files: which burn rates alert, over which spans. An error names the file, the level and the value."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from alerts.objectives.burn_rate import scaled
from alerts.objectives.model import Window

_KEYS = {"severity", "factor", "long", "short"}
SHIPPED = Path(__file__).parent / "workbook-30d.yaml"


def load(path: Path, period: int) -> tuple[Window, ...]:
    """The windows of a file, scaled to ``period`` seconds. Raises ValueError."""
    try:
        document = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise ValueError(f"{path}: must be a mapping, not {document!r}")
    base = _span(document.get("period"), f"{path}: period")
    levels = document.get("windows")
    if not isinstance(levels, list) or not levels:
        raise ValueError(f"{path}: windows must be a list with a level in it, not {levels!r}")
    return tuple(_window(level, f"{path}: windows[{at}]", period, base) for at, level in enumerate(levels))


def _window(level: Any, where: str, period: int, base: int) -> Window:
    if not isinstance(level, dict):
        raise ValueError(f"{where}: must be a mapping, not {level!r}")
    if strange := level.keys() - _KEYS:
        raise ValueError(f"{where}.{min(strange)} is not known; known: {', '.join(sorted(_KEYS))}")
    severity = level.get("severity")
    if severity not in ("page", "ticket"):
        raise ValueError(f"{where}.severity must be page or ticket, not {severity!r}")
    try:
        factor = Fraction(str(level.get("factor")))
    except (ValueError, ZeroDivisionError):
        factor = Fraction(0)
    if factor <= 0:
        raise ValueError(f"{where}.factor must be a number above 0, not {level.get('factor')!r}")
    long, short = _span(level.get("long"), f"{where}.long"), _span(level.get("short"), f"{where}.short")
    if short >= long:
        raise ValueError(f"{where}.short must be below long ({long}), not {short}")
    try:
        return Window(severity, factor, scaled(long, period, base), scaled(short, period, base))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _span(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"{where} must be whole seconds above 0, not {value!r}")
    return value
