"""No statistic of the orders lies beyond what chance gives, and four rounds would not pass.

support/permutation_statistics.py says which statistics, and how the bound follows from their
number.
"""

import numpy as np
import pytest

from support import permutation_statistics as statistics

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def limit():
    return statistics.bound(sum(map(len, statistics.suite().values())))


@pytest.mark.parametrize("family", [f.__name__ for f in statistics.FAMILIES])
def test_within_the_bound(family, limit):
    values = statistics.suite()[family]
    assert values
    assert {name: z for name, z in values.items() if abs(z) > limit} == {}


def test_four_rounds_would_not_pass(limit):
    values = dict(statistics.lag_differences(1, statistics.four_rounds))
    worst = max(values, key=lambda name: abs(values[name]))
    assert abs(values[worst]) > 2 * limit, (worst, values[worst])
    assert worst.startswith("lag 1024")


def test_lag_differences_reject_a_rotation():
    values = dict(statistics.lag_differences(
        1, lambda n, seed: np.roll(np.arange(n), seed), sizes=(1 << 20,)))
    assert min(abs(z) for z in values.values()) > 1000
