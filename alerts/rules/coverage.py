"""Whether the standby answers users where the upstream fails, and whether that is asked at all. Pure: it remembers what
it was shown."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from alerts.rules.control_plane import Row


class Cover:
    """A write whose outcome is open makes an endpoint unready for seconds, and that is no reason to wake anybody: what
    was ready within the last `keep` seconds is covered. Where nothing is known for longer than that nothing is."""

    def __init__(self, coverable: Collection[str], keep: float) -> None:
        """`coverable`: the names of the endpoints that the standby could ever answer."""
        self._coverable = tuple(coverable)
        self._keep = keep
        self._ready: dict[str, int] = {}

    def seen(self, endpoints: Sequence[Row] | None, now: int) -> Callable[[str | None], bool]:
        """What holds at `now` (Unix seconds) of an endpoint by name; of None: of all coverable ones.

        `endpoints`: as the sidecar says; None: it does not answer.
        """
        self._ready |= {row["name"]: now for row in endpoints or () if row["ready"]}

        def covered(endpoint: str | None) -> bool:
            names = self._coverable if endpoint is None else (endpoint,)
            return all(now - self._ready.get(name, 0) <= self._keep for name in names)

        return covered


def asked(endpoints: Sequence[Row] | None) -> Callable[[str | None], bool]:
    """Whether the upstream is asked for what users ask of an endpoint, by name; of None: of all of them. It is not
    where a circuit is not closed, or somebody took over; what has been promoted is none of its any more."""
    resting = {
        row["name"] for row in endpoints or () if row.get("answered_by") == "standby" and not row.get("owned")
    }  # fmt: skip

    def is_asked(endpoint: str | None) -> bool:
        return not resting if endpoint is None else endpoint not in resting

    return is_asked
