"""Exact binomial bounds for what is drawn at random."""

import math

FALSE_ALARM = 1e-6
"""Largest probability that a step fails although everything is as it should be."""


def tail_below(k: int, n: int, p: float) -> float:
    """P(X <= k) of a binomial distribution."""
    return math.fsum(_point(i, n, p) for i in range(k + 1))


def tail_above(k: int, n: int, p: float) -> float:
    """P(X >= k) of a binomial distribution."""
    return math.fsum(_point(i, n, p) for i in range(k, n + 1))


def acceptance(n: int, p: float, false_alarm: float = FALSE_ALARM) -> tuple[int, int]:
    """The narrowest [low, high] whose both tails have at most half of ``false_alarm`` each."""
    if p in (0.0, 1.0):
        return round(n * p), round(n * p)
    low, high = 0, n
    below = _point(0, n, p)
    while below <= false_alarm / 2:
        low += 1
        below += _point(low, n, p)
    above = _point(n, n, p)
    while above <= false_alarm / 2:
        high -= 1
        above += _point(high, n, p)
    return low, high


def draws_to_see_all(kinds: int, least_share: float, false_alarm: float = FALSE_ALARM) -> int:
    """How many draws until each of ``kinds``, none rarer than ``least_share``, was seen at least once."""
    return math.ceil(math.log(false_alarm / kinds) / math.log1p(-least_share))


def _point(k: int, n: int, p: float) -> float:
    log = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p)
    return math.exp(log)
