"""What is handed out signed: JSON Lines, the head first and then a line for each row; and the manifest of them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, ClassVar

import orjson

from dashboard.data.export_signature import Signer


class Unfit(ValueError):
    """Why nothing is made of this, for the person who asked."""


@dataclass(frozen=True, kw_only=True)
class SignedLines:
    """One that was made; `at` in ns."""

    named: ClassVar[str]
    """What the names of its files begin with."""
    id: str
    at: int
    user: str
    content: str
    manifest: str

    @property
    def file(self) -> str:
        return _file(self.named, self.id)

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
            "file": _file(named, ident),
            "sha256": sha256(content).hexdigest(),
            "bytes": len(content),
            "rows": len(rows),
            "made_by": head["made_by"],
            "made_at": head["made_at"],
        }
    )
    return {"id": ident, "content": content.decode(), "manifest": manifest.decode()}


def _file(named: str, ident: str) -> str:
    return f"{named}-{ident}.jsonl"
