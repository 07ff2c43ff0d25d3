"""Whether users may be sent here: one word of the supervisor's, in memory that all its processes share.

The supervisor says it; the control plane answers health checks by it, and the gateway's workers close kept-alive
connections by it. The memory outlives the supervisor's own upgrade, and needs no disk.
"""

from __future__ import annotations

import mmap
import os
from enum import IntEnum


class Phase(IntEnum):
    STARTING = 0
    SERVING = 1
    DRAINING = 2


class Service:
    """Read and written without a lock: it is one byte."""

    def __init__(self, file: int | None = None) -> None:
        """`file`: the descriptor that a predecessor handed over."""
        self.file = os.memfd_create("understudy") if file is None else file
        os.ftruncate(self.file, 1)
        self._byte = mmap.mmap(self.file, 1)

    @property
    def phase(self) -> Phase:
        return Phase(self._byte[0])

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._byte[0] = phase

    @property
    def draining(self) -> bool:
        return self._byte[0] == Phase.DRAINING
