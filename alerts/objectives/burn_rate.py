"""Error budgets in exact fractions: nothing is rounded before it is compared, and no data is None.

Source: The Site Reliability Workbook, chapter 5, "Alerting on SLOs".
"""

from decimal import Context, Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from math import log
from typing import Final

from alerts.objectives.model import Counts


def sli(counts: Counts | None) -> Fraction | None:
    """The share of good requests, or None where nothing is known or nothing was asked."""
    return Fraction(counts.good, counts.total) if counts and counts.total else None


def burn_rate(counts: Counts | None, target: Fraction) -> Fraction | None:
    """How many times faster than the even pace the budget goes; 1 uses it up in just one period."""
    share = sli(counts)
    return None if share is None else (1 - share) / (1 - target)


def written(rate: Fraction) -> str:
    """As a person would write it: three digits, never a power of ten."""
    return f"{float(rate):,.0f}" if rate >= 100 else f"{float(rate):.3g}"


def budget_left(counts: Counts | None, target: Fraction, so_far: Fraction = Fraction(1)) -> Fraction | None:
    """The share of the period's budget that is left, below 0 once it is overspent. ``counts`` is of one period, or of
    that share of it that is ``so_far`` over; then the rest is taken for as busy."""
    burn = burn_rate(counts, target)
    return None if burn is None else 1 - burn * so_far


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


def tail(bad: int, total: int, share: Fraction) -> Fraction:
    """An upper bound on :func:`chance_of`, close to it (to 1e-5 from 2,000 requests on), at any size in milliseconds.

    The first term by Stirling's formula with Robbins' bounds (1955) in 50 digits, and 1e-30 added for their rounding;
    the following ones from their ratios, in whole numbers rounded up; the rest by a geometric series.
    """
    good, odds = total - bad, share / (1 - share)
    if not bad or Fraction(bad, total) <= share:
        return Fraction(1)
    with localcontext(Context(prec=50)):
        n, p, q = Decimal(total), _decimal(share), _decimal(1 - share)
        exponent = bad * (n * p / bad).ln()
        if good:
            exponent += good * (n * q / good).ln() + (n / (2 * _PI * bad * good)).ln() / 2
            exponent += 1 / (12 * n) - Decimal(1) / (12 * bad + 1) - Decimal(1) / (12 * good + 1)
        first = Fraction(exponent.exp()) * (1 + Fraction(1, 10**30))
    scale = 1 << 96
    terms, term = 0, scale
    for k in range(bad, bad + 20_000):
        terms += term
        grown = Fraction(max(0, total - k), k + 1) * odds
        term = -(-term * grown.numerator // grown.denominator)
        if term << 24 < terms:
            break
    return min(Fraction(1), first * (terms + term / (1 - grown)) / scale)


_PI: Final = Decimal("3.14159265358979323846264338327950288419716939937510")


def _decimal(share: Fraction) -> Decimal:
    return Decimal(share.numerator) / Decimal(share.denominator)


def surely(bad: int, total: int, share: float, confidence: float) -> bool:
    """Whether Chernoff's bound alone says so: P(X >= bad) <= exp(-n KL(bad/n || share)). A thousandth of what it must
    exceed is left for rounding: where it says yes, the exact chance does."""
    if bad <= total * share or share >= 1:
        return False
    good = total - bad
    exponent = bad * log(bad / (total * share)) + (good * log(good / (total * (1 - share))) if good else 0.0)
    return exponent * 0.999 >= -log(1 - confidence)


@lru_cache(maxsize=4096)
def confident(counts: Counts, share: Fraction, confidence: Fraction, exact_below: int = 2000) -> bool:
    """Whether the failing rate is above ``share`` with this confidence (Clopper and Pearson's one-sided bound).

    From ``exact_below`` requests on by :func:`tail`, which never says yes where the exact chance says no.
    A share of 1 or more cannot be exceeded.
    """
    if share >= 1 or not counts.total or Fraction(counts.bad, counts.total) <= share:
        return False
    if surely(counts.bad, counts.total, float(share), float(confidence)):
        return True
    chance = chance_of if counts.total < exact_below else tail
    return chance(counts.bad, counts.total, share) <= 1 - confidence
