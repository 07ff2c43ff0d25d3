"""A real, small disk: a file system of its own in a file, mounted through a loop device. It needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 1 << 20


class NoDisk(Exception):
    """None can be made here; the message says why."""


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """`size` bytes (less what ext4 needs itself), as a folder. Raises NoDisk."""
    image = folder.with_name(f"{folder.name}.img")
    folder.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(size)
    try:
        _run("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
        _run("mount", "-o", "loop", str(image), str(folder))
        (folder / "lost+found").rmdir()
        try:
            yield folder
        finally:
            _run("umount", "-l", str(folder))
    finally:
        image.unlink()


def _run(*command: str) -> None:
    program = shutil.which(command[0], path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if program is None:
        raise NoDisk(f"{command[0]} is not on PATH")
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoDisk(f"{command[0]}: {done.stderr.strip()}")


def fill(disk: Path) -> Path:
    """Takes the last block, without writing into any; returns the file that has them."""
    path, at, size = disk / "filler", 0, 1 << 30
    with path.open("wb") as file:
        while size:
            try:
                os.posix_fallocate(file.fileno(), at, size)
                at += size
            except OSError:
                size //= 2
    return path
