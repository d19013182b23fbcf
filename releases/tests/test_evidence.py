"""The arithmetic of the regression test, against exact fractions, integration and simulation."""

import random
from fractions import Fraction
from functools import cache
from math import comb, exp, isclose, log

import pytest

from releases.evidence import Evidence, least_pairs, log_evidence


def exact(worse: int, n: int) -> Fraction:
    total = sum(comb(n + 1, k) for k in range(worse + 1))
    return Fraction(total, (n + 1) * comb(n, worse))


def integrated(worse: int, n: int, steps: int = 20_000) -> float:
    """Return E by Simpson's rule over theta."""

    def density(theta: float) -> float:
        return float(2 * theta) ** worse * float(2 * (1 - theta)) ** (n - worse) * 2

    width = 0.5 / steps
    inner = sum(density(0.5 + i * width) * (4 if i % 2 else 2) for i in range(1, steps))
    return (density(0.5) + inner + density(1.0)) * width / 3


@pytest.mark.parametrize("n", [0, 1, 2, 7, 30, 101, 400])
def test_it_is_the_exact_value_for_every_count(n: int):
    for worse in range(n + 1):
        value = exact(worse, n)
        wanted = log(value.numerator) - log(value.denominator)
        assert isclose(log_evidence(worse=worse, better=n - worse), wanted, abs_tol=1e-9)


@pytest.mark.parametrize(("worse", "n"), [(0, 0), (3, 5), (20, 30), (1, 40), (55, 60)])
def test_it_is_the_integral_it_is_said_to_be(worse: int, n: int):
    found = exp(log_evidence(worse=worse, better=n - worse))
    assert isclose(found, integrated(worse, n), rel_tol=1e-6)


def test_large_counts_are_no_trouble():
    assert log_evidence(worse=600_000, better=400_000) > 20_000
    assert -20 < log_evidence(worse=500_000, better=500_000) < 0
    assert log_evidence(worse=400_000, better=600_000) < 0


@pytest.mark.parametrize("n", range(12))
def test_without_harm_the_next_pair_leaves_the_expectation_where_it_is(n: int):
    """Exactly: a martingale at one half, and smaller below it."""
    for worse in range(n + 1):
        up, down = exact(worse + 1, n + 1), exact(worse, n + 1)
        assert (up + down) / 2 == exact(worse, n)
        assert up > down


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_false_alarms_stay_below_alpha_however_often_one_looks(alpha: float):
    chance = random.Random(7)  # noqa: S311 - a simulation
    alarms = sum(fires_within(400, 0.5, alpha, chance) is not None for _ in range(1_500))

    assert alarms <= alpha * 1_500


@pytest.mark.parametrize(("share", "most"), [(0.95, 25), (0.8, 80)])
def test_harm_is_found_after_few_pairs(share: float, most: int):
    chance = random.Random(7)  # noqa: S311 - a simulation
    found = sorted(fires_within(1_000, share, 0.001, chance) or 1_000 for _ in range(200))

    assert found[100] <= most


def fires_within(pairs: int, share: float, alpha: float, chance: random.Random) -> int | None:
    """Return after how many pairs the evidence reached 1 / alpha, None when it never did."""
    worse = 0
    for n in range(1, pairs + 1):
        worse += chance.random() < share
        # Below half there is nothing to look for: E is at most 1 there.
        if 2 * worse > n and speaks(worse, n, alpha):
            return n
    return None


@cache
def speaks(worse: int, n: int, alpha: float) -> bool:
    return Evidence(worse, n - worse).speaks(alpha)


def test_it_takes_thirteen_pairs_at_least_to_be_sure_to_one_in_a_thousand():
    assert least_pairs(0.001) == 13
