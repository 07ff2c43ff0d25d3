"""The deployment's nodes: who is well, who is silent, and what is missing for that."""

from __future__ import annotations

from typing import Final

from dashboard.context import Parts
from dashboard.data.nodes import Health
from dashboard.ui import components
from dashboard.values import time_format, tones
from sidecar.storage.nodes import State
from sidecar.timeunits import SECOND

SKEW: Final = 2 * SECOND
"""ns by which a clock may be wrong before it is worth a mark."""


def silence(found: list[Health]) -> components.Part:
    """Which node is silent, does not answer or is unwell, and what is therefore not in what is shown. None: none."""
    said = [f"{each.node.name}: {each.trouble}{_since(each)}{_lacks(each)}" for each in found if each.trouble]
    if not said:
        return None
    words = f"{len(said)} of {components.many(len(found), 'node')} {'is' if len(said) == 1 else 'are'} not well"
    return components.notice(tones.BAD if any(each.silent for each in found) else tones.WARN, words, "; ".join(said))


def _since(each: Health) -> str:
    return f", since {time_format.took(each.node.silent)}" if each.silent else ""


def _lacks(each: Health) -> str:
    left = each.node.unshipped
    if not each.silent or left == 0:
        return ""
    return f"; {'an unknown number of' if left is None else f'{left:,}'} events that it recorded are missing here"


def card(parts: Parts, found: list[Health]) -> components.Part:
    """None where there is one node."""
    if not found:
        return None
    rows = [
        (
            each.node.name,
            components.sign(tones.BAD if each.silent else tones.WARN if each.trouble else tones.GOOD, _state(each)),
            time_format.ago(0, each.node.silent),
            "not known" if each.node.unshipped is None else components.number(each.node.unshipped),
            _clock(each),
            each.node.version,
        )
        for each in found
    ]
    columns = ["node", "state", "last heard of", "events not shipped", "clock", "version"]
    return components.card("Nodes", components.table("Nodes", columns, rows, (3,)), ident="nodes")


def _state(each: Health) -> str:
    if each.trouble:
        return each.trouble
    return "drained: users are sent elsewhere" if each.node.state == State.DRAINING else "well"


def _clock(each: Health) -> components.Part:
    skew = each.node.skew
    if skew is None:
        return "not known"
    words = f"{time_format.took(abs(skew))} {'ahead' if skew > 0 else 'behind'}" if skew else "right"
    return components.sign(tones.WARN if abs(skew) > SKEW else tones.GOOD, words)
