"""Who writes to a record goes in the order of coming; who gives up makes room."""

from __future__ import annotations

import threading
import time

from sidecar.gateway.record_line import RecordLines


def test_first_come_first_served() -> None:
    lines, served = RecordLines(), list[int]()
    threads = []

    def write(number: int) -> None:
        with lines.first("note", time.monotonic() + 5) as first:
            assert first
            served.append(number)

    with lines.first("note", time.monotonic()) as first:
        assert first
        for number in range(5):
            threads.append(threading.Thread(target=write, args=(number,)))
            threads[-1].start()
            time.sleep(0.02)
        with lines.first("other", 0) as other:
            assert other, "another record's line is its own"
        with lines.first("note", time.monotonic()) as late:
            assert not late
        assert served == []
    for thread in threads:
        thread.join(5)
    assert served == [0, 1, 2, 3, 4]
    assert not lines._lines
