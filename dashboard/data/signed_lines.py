"""What is handed out signed: JSON Lines, the head first and then a line for each row; and the manifest of them.

The same rows as CSV are made when they are asked for, always alike, with a manifest of their own: it says all that the
head does, and of which lines they are.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, ClassVar, Final

import orjson

from dashboard.data.export_signature import Signer
from dashboard.values.sentences import at
from dashboard.values.spreadsheet import MARK, rows_of

FORMS: Final[Mapping[str, str]] = {"jsonl": "JSON Lines", "csv": "CSV", "csv-semicolon": "CSV with ;"}
_ENDINGS: Final = {"jsonl": ".jsonl", "csv": ".csv", "csv-semicolon": "-semicolon.csv"}


class Unfit(ValueError):
    """Why nothing is made of this, for the person who asked."""


@dataclass(frozen=True, kw_only=True)
class SignedLines:
    """One that was made; `at` in ns."""

    named: ClassVar[str]
    """What the names of its files begin with."""
    columns: ClassVar[Mapping[str, str]]
    """Of a table of it: name → where in a row it is."""
    id: str
    at: int
    user: str
    content: str
    manifest: str

    def file(self, form: str = "jsonl") -> str:
        return f"{self.named}-{self.id}{_ENDINGS[form]}"

    @property
    def head(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = orjson.loads(self.content.partition("\n")[0])
        return found

    @property
    def rows(self) -> list[Mapping[str, Any]]:
        return [orjson.loads(line) for line in self.content.split("\n")[1:] if line]

    @property
    def signature(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = orjson.loads(self.manifest)
        return found


def sign_lines(
    signer: Signer, named: str, head: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> dict[str, str]:  # fmt: skip
    """The fields `id`, `content` and `manifest`. The head says `what` it is, and `made_by` whom and `made_at` when."""
    ident = secrets.token_hex(8)
    content = b"".join(orjson.dumps(each, option=orjson.OPT_APPEND_NEWLINE) for each in (head, *rows))
    manifest = signer.sign(
        {
            "what": head["what"],
            "file": f"{named}-{ident}{_ENDINGS['jsonl']}",
            "sha256": sha256(content).hexdigest(),
            "bytes": len(content),
            "rows": len(rows),
            "made_by": head["made_by"],
            "made_at": head["made_at"],
        }
    )
    return {"id": ident, "content": content.decode(), "manifest": manifest.decode()}


def handed_out(signer: Signer, made: SignedLines, form: str, part: str) -> tuple[str, bytes]:
    """Name and content of one of its files: in a form of FORMS, `part` the file or its manifest. Raises KeyError."""
    content = made.content.encode() if form == "jsonl" else _table(made, ";" if form == "csv-semicolon" else ",")
    if part == "file":
        return made.file(form), content
    name = f"{made.file(form)}.manifest.json"
    if form == "jsonl":
        return name, made.manifest.encode()
    lines = {"file": made.file(), "sha256": made.signature["sha256"]}
    about = {"file": made.file(form), "sha256": sha256(content).hexdigest(), "bytes": len(content), "lines": lines}
    return name, signer.sign({**made.head, **about, "rows": len(made.rows)})


def _table(made: SignedLines, separator: str) -> bytes:
    cells = ([at(row, path) for path in made.columns.values()] for row in made.rows)
    return MARK + rows_of([list(made.columns), *cells], separator)
