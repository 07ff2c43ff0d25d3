"""What holds for every test."""

from __future__ import annotations

import gc

from hypothesis import settings

# How long one example takes says how busy the machine is: none has a deadline.
settings.register_profile("understudy", deadline=None, max_examples=25)
settings.register_profile("thorough", deadline=None, max_examples=2000)
"""For whoever changes what an example is of: `pytest --hypothesis-profile thorough tests/unit/…`."""
settings.load_profile("understudy")


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: looked through with all else, again and again, it took a sixth
    of the unit tests' CPU time."""
    gc.collect()
    gc.set_threshold(10_000, 10, 10)  # as the gateway's workers have it
    gc.freeze()
