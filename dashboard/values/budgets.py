# pure
"""Error budgets and burn rates as people read them."""

from __future__ import annotations

from fractions import Fraction


def times(factor: Fraction | float) -> str:
    """Two digits: 0.34, 14; beyond a thousand it no longer matters by how much."""
    return ">1,000" if factor > 1000 else f"{float(factor):.0f}" if factor >= 100 else f"{float(factor):.2g}"


def over(left: Fraction | float) -> str:
    """What is left of a budget, below 0 → `158× over budget`."""
    return f"{times(1 - left)}× over budget"
