"""Every node of the deployment, as the registry in DATABASE names them: what one does not answer another does.

What nodes share (endpoints, outbox, resources) any of them tells. What is done is asked of another node only where it
certainly did not reach the one before: nothing is done twice. Without a registry (a database that is a file) there is
one node, the one that the settings name.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from sidecar.control import client
from sidecar.control.client import ControlError
from sidecar.settings import Settings
from sidecar.settings.parsers import address
from sidecar.storage.nodes import SILENT, Node

GLANCE: Final = 2.0
"""Seconds after which a node that is only asked how it is counts as one that does not answer."""
KNOWN: Final = 5.0
"""Seconds for which the registry is not read again."""
AVOIDED: Final = 15.0
"""Seconds for which one that did not answer is asked last."""
AWAY: Final = (0, 503)
"""Statuses on which another node is asked: it did not answer, or its database is away."""


@dataclass(frozen=True, kw_only=True)
class Health:
    """One node now. `trouble`: what it says is wrong, or that it is silent or does not answer; None: it is well."""

    node: Node
    trouble: str | None

    @property
    def silent(self) -> bool:
        return self.node.silent >= SILENT


class Nodes:
    """Safe from any thread. `registry` reads who there is; where it cannot, who there was counts."""

    def __init__(
        self, settings: Settings, registry: Callable[[], Sequence[Node]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._clock = clock
        self._rows: tuple[float, Sequence[Node]] = (float("-inf"), ())
        self._health: tuple[float, list[Health]] = (float("-inf"), [])
        self._avoid: dict[tuple[str, int], float] = {}
        self._lock = threading.Lock()

    def known(self) -> Sequence[Node]:
        """By name; empty where there is one node."""
        read, rows = self._rows
        if self._clock() - read < KNOWN:
            return rows
        try:
            rows = self._registry()
        except SQLAlchemyError:
            pass
        self._rows = self._clock(), rows
        return rows

    def plane(self, by: str | None = None) -> Plane:
        """The control plane of whichever node answers. `by`: on whose behalf actions are taken."""
        return Plane(self, by)

    def places(self) -> list[tuple[str, int]]:
        """Where to ask, the node that the settings name first, and last what lately did not answer or is silent."""
        others = [place for node in self.known() if node.silent < SILENT and (place := self._place(node))]
        every = list(dict.fromkeys([self._settings.control_listen, *others]))
        silent = {self._place(node) for node in self.known() if node.silent >= SILENT}
        now = self._clock()
        return sorted(every, key=lambda place: place in silent or now < self._avoid.get(place, 0.0))

    def at(self, place: tuple[str, int]) -> Settings:
        return replace(self._settings, control_listen=place)

    def asked(self, place: tuple[str, int], ask: Callable[[Settings], Any]) -> Any:
        """What is told there; whoever does not answer is avoided. Raises what `ask` does."""
        try:
            return ask(self.at(place))
        except ControlError as error:
            if not error.status:
                self.avoid(place)
            raise

    def avoid(self, place: tuple[str, int]) -> None:
        with self._lock:
            self._avoid[place] = self._clock() + AVOIDED

    def each(self, path: str) -> dict[str, Any]:
        """What every node of the registry that is not silent tells at `path`, by name; None: it does not answer."""
        asked = {node.name: place for node in self.known() if node.silent < SILENT and (place := self._place(node))}
        if not asked:
            return {}
        with ThreadPoolExecutor(len(asked)) as pool:
            return dict(zip(asked, pool.map(lambda place: self._glance(place, path), asked.values()), strict=True))

    def health(self) -> list[Health]:
        """Of every node that the registry knows, silent ones too; the same again for GLANCE."""
        looked, found = self._health
        if self._clock() - looked >= GLANCE:
            said = self.each("/readyz?full")
            found = [
                Health(node=node, trouble=_trouble(node, self._place(node), said.get(node.name)))
                for node in self.known()
            ]
            self._health = self._clock(), found
        return found

    def _place(self, node: Node) -> tuple[str, int] | None:
        """Where its control plane is; of our own node as the settings say; None: it does not tell.

        What another calls its own machine is ours only if we are beside a node, too, and the port is its alone.
        """
        own, place = self._settings.control_listen, _told(node)
        if node.name == self._settings.node_name:
            return own if _here(own) or (place and _here(place)) else place
        if place is None or not _here(place):
            return place
        rest = (each for each in self.known() if each.name != node.name and each.silent < SILENT)
        others = (other for each in rest if (other := _told(each)))
        taken = {own[1], *(port for host, port in others if _here((host, port)))}
        return place if _here(own) and place[1] not in taken else None

    def _glance(self, place: tuple[str, int], path: str) -> Any:
        try:
            return self.asked(place, lambda settings: client.get(settings, path, GLANCE))
        except ControlError as error:
            return error if error.status else None


class Plane:
    """A control plane as `sidecar.control.client.Control` is one, of all nodes."""

    def __init__(self, nodes: Nodes, by: str | None) -> None:
        self._nodes = nodes
        self._by = by

    def get(self, path: str) -> Any:
        """The JSON at `path`, of the first who tells it. Raises ControlError: what the first one said.

        Beside one that takes longer than GLANCE the next is asked, too, and each is waited for until TIMEOUT."""
        places = self._nodes.places()
        pool, asked = ThreadPoolExecutor(len(places)), list[Future[Any]]()
        try:
            for told in self._ended(path, places, pool, asked):
                error = told.exception()
                if not isinstance(error, ControlError) or error.status not in AWAY:
                    return told.result()
            return asked[0].result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _ended(
        self, path: str, places: Sequence[tuple[str, int]], pool: ThreadPoolExecutor, asked: list[Future[Any]]
    ) -> Iterator[Future[Any]]:
        """Asks one after another, and gives each as soon as it has ended."""
        pending: set[Future[Any]] = set()
        for place in places:
            asked.append(pool.submit(self._nodes.asked, place, lambda settings: client.get(settings, path)))
            done, pending = wait({*pending, asked[-1]}, GLANCE, FIRST_COMPLETED)
            if not done:
                self._nodes.avoid(place)
            yield from done
        yield from as_completed(pending)

    def post(self, path: str, body: Any = None) -> Any:
        """Raises ControlError; `unknown` where it may have been done."""
        first: ControlError | None = None
        for place in self._nodes.places():
            try:
                return self._nodes.asked(place, lambda settings: client.post(settings, path, body, self._by))
            except ControlError as error:
                if error.status or error.unknown:
                    raise
                first = first or error
        assert first is not None  # there is always one place
        raise first


def _told(node: Node) -> tuple[str, int] | None:
    """Where it says that it can be asked."""
    try:
        return address(node.control)
    except ValueError:
        return None


def _here(place: tuple[str, int]) -> bool:
    """Whether whoever asks there asks their own machine."""
    try:
        host = ip_address(place[0])
    except ValueError:
        return place[0].rstrip(".").lower() == "localhost"
    return host.is_loopback or host.is_unspecified


def _trouble(node: Node, place: tuple[str, int] | None, said: Any) -> str | None:
    if node.silent >= SILENT:
        return "it is silent: no heartbeat comes"
    if place is None:
        return "it does not tell where it can be asked (CONTROL_ADVERTISE)"
    if said is None:
        return "its control plane does not answer"
    return str(said) if isinstance(said, ControlError) else None


def differing(states: Mapping[str, Any], shown: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Endpoint → node → who answers by that node's word, where it is another one than is shown. `states`: by node."""
    ours = {state["id"]: state["answered_by"] for state in shown}
    found: dict[str, dict[str, str]] = {}
    for node, told in states.items():
        for state in told if isinstance(told, list) else ():
            if ours.get(state["id"], state["answered_by"]) != state["answered_by"]:
                found.setdefault(state["id"], {})[node] = state["answered_by"]
    return found
