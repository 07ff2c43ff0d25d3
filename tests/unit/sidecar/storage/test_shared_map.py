"""What processes share as memory has all its blocks, so that a full disk ends none of them."""

from __future__ import annotations

from pathlib import Path

from sidecar.storage.shared_map import shared_map

SIZE = 1 << 16


def blocks(path: Path) -> int:
    return path.stat().st_blocks * 512


def test_its_blocks_are_taken_before_it_is_used(tmp_path: Path) -> None:
    shared_map(tmp_path / "folder" / "new", SIZE).close()
    assert blocks(tmp_path / "folder" / "new") >= SIZE
    sparse = tmp_path / "sparse"  # of an earlier release
    with sparse.open("wb") as file:
        file.truncate(SIZE)
    assert blocks(sparse) == 0
    shared_map(sparse, SIZE).close()
    assert blocks(sparse) >= SIZE


def test_what_is_there_stays_and_all_see_what_one_writes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"kept" + bytes(100))
    one, other = shared_map(path, 8), shared_map(path, 104)
    one[4:8] = b"seen"
    assert other[:8] == b"keptseen"
    assert path.stat().st_size == 104
