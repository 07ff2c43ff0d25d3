# pure
"""Tables as spreadsheets read them: CSV with the separator that an Excel takes, and no cell that is a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

SEPARATORS: Final[Mapping[str, str]] = {"csv": ",", "csv;": ";", "csv-tab": "\t"}
"""By the name of the form: the Excels of many countries read `;` alone."""
MARK: Final = b"\xef\xbb\xbf"
"""Says to Excel that it is UTF-8."""
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def plain(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def rows_of(rows: Iterable[Sequence[Any]], separator: str) -> bytes:
    """Every cell in quotes; one that is None is empty."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerows([plain("" if cell is None else cell) for cell in row] for row in rows)
    return out.getvalue().encode("utf-8", "replace")
