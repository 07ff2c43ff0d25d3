"""How many requests are about to be recorded."""

from __future__ import annotations

import threading

from sidecar.server.underway import BRIEF, Underway


def test_those_of_other_threads_come_until_they_end_or_take_long() -> None:
    now = 100.0
    underway = Underway(lambda: now)
    underway.begin()
    # Threads that have ended may give their number to the next: these are here at once.
    began, leave = threading.Barrier(3), threading.Event()

    def work(ends: bool) -> None:
        underway.begin()
        if ends:
            underway.end()
        began.wait(5)
        leave.wait(5)

    threads = [threading.Thread(target=work, args=(ends,)) for ends in (True, False)]
    for thread in threads:
        thread.start()
    began.wait(5)
    assert underway.coming() == 2
    underway.end()
    assert underway.coming() == 1
    now += BRIEF + 0.001
    assert underway.coming() == 0
    underway.begin()
    assert underway.coming() == 1
    with underway.waiting():
        assert underway.coming() == 0
    assert underway.coming() == 1
    underway.end()
    with underway.waiting():
        pass
    underway.end()  # once more does no harm
    assert underway.coming() == 0
    leave.set()
    for thread in threads:
        thread.join(5)
