"""How HOSP behaves: every profile, as data, in this one place. Shares are from 0 to 1; times in seconds."""

from __future__ import annotations

import random
from dataclasses import dataclass

WORST = ("/notes", "/patients")


@dataclass(frozen=True, kw_only=True)
class Profile:
    """`worst_*` shares apply to notes, patients and screening, the others to everything."""

    sleep: float = 0.0
    """Share that sleeps a whole number of seconds, 1 to `longest`."""
    longest: int = 9
    worst_fast_500: float = 0.0
    worst_slow_500: float = 0.0
    worst_invalid: float = 0.0
    """200 with JSON that does not parse."""
    worst_truncated: float = 0.0
    """200 cut short of its Content-Length."""
    hang: float = 0.0
    applied_500: float = 0.0
    """Of writes: takes effect, then answers 500."""
    applied_hang: float = 0.0
    applied_reset: float = 0.0
    lost_500: float = 0.0
    """Of writes: takes no effect, and answers 500."""
    crowd_delay: float = 0.3
    """Seconds that each request above the capacity in flight adds for everyone."""
    capacity: int = 8
    vandals: float = 0.0
    """Vandalised notes a second."""
    down: bool = False


PROFILES = {
    "calm": Profile(crowd_delay=0.0),
    "ordinary": Profile(sleep=0.06, worst_fast_500=0.03, worst_slow_500=0.015),
    "bad-day": Profile(sleep=0.2, worst_fast_500=0.07, worst_slow_500=0.04, worst_invalid=0.03),
    "surge": Profile(sleep=0.1, worst_fast_500=0.04, worst_slow_500=0.02, capacity=4, crowd_delay=0.6),
    "brownout": Profile(sleep=0.5, hang=0.3, worst_fast_500=0.1),
    "outage": Profile(down=True),
    "ambiguous": Profile(applied_500=0.15, applied_hang=0.05, applied_reset=0.15, lost_500=0.1),
    "liar": Profile(worst_invalid=0.2, worst_truncated=0.2),
    "vandal": Profile(sleep=0.06, worst_fast_500=0.03, vandals=0.2),
    "vendor-gone": Profile(down=True),
}


@dataclass(frozen=True)
class Act:
    """What one request gets: a pause, then a fault by its word (empty: none)."""

    pause: float = 0.0
    fault: str = ""


def draw(profile: Profile, dice: random.Random, path: str, is_write: bool) -> Act:
    """What happens to a request."""
    faults = [("hang", profile.hang)]
    if is_write:
        names = ("applied_500", "applied_hang", "applied_reset", "lost_500")
        faults += [(name, getattr(profile, name)) for name in names]
    if path.startswith(WORST):
        names = ("worst_fast_500", "worst_slow_500", "worst_invalid", "worst_truncated")
        faults += [(name.removeprefix("worst_"), getattr(profile, name)) for name in names]
    pause = float(dice.randint(1, profile.longest)) if dice.random() < profile.sleep else 0.0
    chance = dice.random()
    for name, share in faults:
        if chance < share:
            extra = {"fast_500": 0.013, "lost_500": 0.013, "slow_500": float(dice.randint(1, 9))}.get(name, 0.0)
            return Act(pause + extra, name.removeprefix("lost_").replace("fast_", "").replace("slow_", ""))
        chance -= share
    return Act(pause)
