# pure
"""How the nodes of a deployment share the upstream's places: by what each needs, and evenly what nobody does."""

from __future__ import annotations

from collections.abc import Mapping


def shares(total: int, wanted: Mapping[str, int]) -> dict[str, int]:
    """So many places among nodes that want so many → each one's share. All nodes that know the same come to the same.

    Max-min fairness: who wants little gets it, the others share the rest evenly; what nobody wants goes round. Each has
    half of an even share at least, for users may turn to it any moment; and one also where there are more nodes than
    places, for it could answer nobody else.
    """
    if not wanted:
        return {}
    least = max(1, total // (2 * len(wanted)))
    wish = {node: max(least, wanted[node]) for node in sorted(wanted)}
    given = dict.fromkeys(wish, 0)
    left = total
    while left > 0:
        hungry = [node for node in wish if given[node] < wish[node]] or sorted(wish, key=lambda node: given[node])
        for node in hungry[:left]:
            given[node] += 1
        left -= min(left, len(hungry))
    return {node: max(1, share) for node, share in given.items()}
