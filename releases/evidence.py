"""The arithmetic of the regression test: how strongly pairs speak against an update.

Of `n` pairs whose two devices differ, `w` have the updated one worse. If the update does no harm,
each such pair has the updated one worse with probability at most 1/2. The evidence is the
likelihood of what was seen under "worse with probability theta", averaged over theta uniform on
(1/2, 1), against 1/2:

    E(w, n) = 2^n * integral from 1/2 to 1 of theta^w (1 - theta)^(n - w) * 2 d theta
            = sum of C(n + 1, k) for k = 0 .. w, divided by (n + 1) * C(n, w)

E starts at 1 and its expectation never grows while the update does no harm, so the chance that it
ever reaches 1 / alpha is at most alpha (Ville's inequality), at whatever moments one looks.
"""

from dataclasses import dataclass
from math import exp, inf, lgamma, log, log1p


def log_evidence(*, worse: int, better: int) -> float:
    """Return the natural logarithm of E for so many pairs that differ, each way.

    The sum of binomials is taken from the side where it is short, term by term from its largest
    one on; that is exact to the precision of floating point and takes no time at any size.
    """
    n, w = worse + better, worse
    whole = (n + 1) * log(2.0)
    if 2 * w <= n:
        total = _log_choose(n + 1, w) + log(_falling(n + 1, w))
    else:
        rest = _log_choose(n + 1, w + 1) + log(_falling(n + 1, n - w))
        total = whole + log1p(-exp(rest - whole))
    return total - log(n + 1) - _log_choose(n, w)


def _falling(m: int, k: int) -> float:
    """Return the sum of C(m, i) for i = 0 .. k, over C(m, k); k is at most about m / 2."""
    total, term = 1.0, 1.0
    for i in range(k, 0, -1):
        term *= i / (m - i + 1)
        total += term
        if term < total * 1e-17:
            break
    return total


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


@dataclass(frozen=True)
class Evidence:
    """What the judged pairs of a rollout say."""

    updated_worse: int = 0
    control_worse: int = 0
    ties: int = 0

    @property
    def log_e(self) -> float:
        return log_evidence(worse=self.updated_worse, better=self.control_worse)

    def speaks(self, alpha: float) -> bool:
        """Say whether the evidence has reached 1 / alpha."""
        return self.log_e >= (-log(alpha) if alpha > 0 else inf)


def least_pairs(alpha: float) -> int:
    """Return how many pairs it takes when the updated device is the worse one in all of them."""
    pairs = 1
    while not Evidence(updated_worse=pairs).speaks(alpha):
        pairs += 1
    return pairs
