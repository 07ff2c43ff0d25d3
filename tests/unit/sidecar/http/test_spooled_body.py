"""A body in a file: in order, for any number of readers, and never at the journal's cost."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from sidecar.http import spooled_body
from sidecar.http.spooled_body import PIECE, Spool


def test_a_body_is_read_as_it_was_written_and_leaves_no_name(tmp_path: Path) -> None:
    spool, pieces = Spool(tmp_path), [bytes([number]) * (PIECE // 2 + number) for number in range(9)]
    for piece in pieces:
        spool.write(piece)
    assert spool.whole() == b"".join(pieces) == b"".join(spool.pieces())
    assert spool.size == sum(map(len, pieces))
    assert list(tmp_path.iterdir()) == []


def test_what_others_need_of_the_disk_is_left_to_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Spool(tmp_path).write(b"x")
    monkeypatch.setattr(spooled_body, "KEPT_FREE", 1 << 60)
    Spool(tmp_path).write(b"x")
    monkeypatch.setattr(spooled_body, "SHARE_FREE", 1)
    spool = Spool(tmp_path)
    with pytest.raises(OSError) as raised:
        spool.write(b"x")
    assert (raised.value.errno, spool.size) == (errno.ENOSPC, 0)
