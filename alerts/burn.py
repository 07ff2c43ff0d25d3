"""Error budgets in exact fractions: nothing is rounded before it is compared, and no data is None.

Source: The Site Reliability Workbook, chapter 5, "Alerting on SLOs".
"""

from fractions import Fraction
from functools import lru_cache

from alerts.model import Counts


def sli(counts: Counts | None) -> Fraction | None:
    """The share of good requests, or None where nothing is known or nothing was asked."""
    return Fraction(counts.good, counts.total) if counts and counts.total else None


def burn_rate(counts: Counts | None, target: Fraction) -> Fraction | None:
    """How many times faster than the even pace the budget goes; 1 uses it up in just one period."""
    share = sli(counts)
    return None if share is None else (1 - share) / (1 - target)


def budget_left(counts: Counts | None, target: Fraction) -> Fraction | None:
    """The share of the period's budget that is left, below 0 once it is overspent. ``counts`` is of one period."""
    burn = burn_rate(counts, target)
    return None if burn is None else 1 - burn


def exhausted_in(left: Fraction | None, burn: Fraction | None, period: int) -> Fraction | None:
    """Seconds until nothing is left at this pace: 0 when it is gone, None when unknown or never."""
    if left is None:
        return None
    if left <= 0:
        return Fraction(0)
    return None if not burn else left * period / burn


def scaled(seconds: int, period: int, base: int) -> int:
    """A window made for ``base`` seconds, for ``period`` seconds instead. Less than a second is an error."""
    span = Fraction(seconds) * period / base
    if span < 1:
        raise ValueError(f"window of {seconds} s scaled from {base} s to {period} s is under a second: {float(span)}")
    return round(span)


def chance_of(bad: int, total: int, share: Fraction) -> Fraction:
    """The exact chance of ``bad`` failures or more among ``total`` requests that each fail with chance ``share``.

    It costs ``bad`` terms of big integers: see :func:`confident` for the bound on its use.
    """
    p, q = share.numerator, share.denominator - share.numerator
    terms = min(bad, total + 1)
    below, term = 0, 1
    for k in range(terms):  # term is C(total, k) p^k; what q lacks is made up for after the last
        below = below * q + term
        term = term * (total - k) * p // (k + 1)
    return 1 - Fraction(below * q ** (total - terms + 1) if terms else 0, share.denominator**total)


@lru_cache(maxsize=4096)
def confident(counts: Counts, share: Fraction, confidence: Fraction, exact_below: int = 2000) -> bool:
    """Whether the failing rate is above ``share`` with this confidence (Clopper and Pearson's one-sided bound).

    From ``exact_below`` requests on, Bernstein's inequality, which never says yes where the exact rule says no:
    P(X >= bad) <= exp(-x), x = n d^2 / (2 (p (1 - p) + d / 3)), p = share, d = bad/n - p; in fractions,
    exp(-x) < 1 / (1 + x + x^2/2 + x^3/6).
    A share of 1 or more cannot be exceeded.
    """
    if share >= 1 or not counts.total or Fraction(counts.bad, counts.total) <= share:
        return False
    if counts.total < exact_below:
        return chance_of(counts.bad, counts.total, share) <= 1 - confidence
    d = Fraction(counts.bad, counts.total) - share
    x = counts.total * d**2 / (2 * (share * (1 - share) + d / 3))
    return 1 / (1 + x + x**2 / 2 + x**3 / 6) <= 1 - confidence
