"""Does anything show in the orders that should not? Every statistic is a z: standard normal for
orders drawn uniformly at random.

The bound: the suite is one experiment with K statistics and fixed seeds, so it passes or fails once
and for all. Bonferroni: for orders truly at random, the chance that any of K values lies beyond the
two-sided normal quantile of 0.001/K is at most 0.001. That quantile is 4.4 for K = 100 and 5.0 for
K = 2000. A defect that is there grows with the root of the sample: `make statistics` takes ten
times the sample, and every lag up to 1024.

Run it: PYTHONPATH=tests python -m support.permutation_statistics [--scale S]
"""

import argparse
import functools
from statistics import NormalDist

import numpy as np

import fastoptim as fo

from . import reference_permutation as reference

FALSE_ALARM = 0.001


def bound(n_statistics):
    return NormalDist().inv_cdf(1 - FALSE_ALARM / n_statistics / 2)


def chi_square(counts, lost=1, shrink=1):
    """z of cells that should be equally full, by Wilson and Hilferty's cube root; `lost` is the
    number of constraints on the counts."""
    expected = counts.mean()
    freedom = counts.size - lost
    x = shrink * ((counts - expected) ** 2).sum() / expected
    spread = 2 / (9 * freedom)
    return ((x / freedom) ** (1 / 3) - (1 - spread)) / spread**0.5


def binomial(successes, trials, p=0.5):
    return (successes - trials * p) / (trials * p * (1 - p)) ** 0.5


def whole(n, seed, epoch=0):
    return fo.Permutation(n, seed, epoch)[:]


def many(n, n_seeds, count=None):
    """The first rows of the orders of seeds 0, 1, ..., one a line."""
    lines = np.empty((n_seeds, n if count is None else count), np.int64)
    for seed in range(n_seeds):
        lines[seed] = fo.Permutation(n, seed)[:count]
    return lines


def is_odd(orders):
    """Parities of many orders of few rows, by counting inversions."""
    n = orders.shape[1]
    inversions = sum((orders[:, i] > orders[:, j]) for i in range(n) for j in range(i + 1, n))
    return inversions % 2 == 1


def is_odd_large(order):
    """Parity by the number of cycles: each row learns the least row of its cycle by doubling."""
    least, jump = np.arange(len(order)), order
    for _ in range(len(order).bit_length()):
        least = np.minimum(least, least[jump])
        jump = jump[jump]
    cycles = np.count_nonzero(least == np.arange(len(order)))
    return (len(order) - cycles) % 2 == 1


def all_orders(scale):
    """Each of the 120 orders of 5 rows, over a million seeds."""
    orders = many(5, 1_000_000)
    counts = np.bincount(orders[:, :4] @ 5 ** np.arange(4), minlength=5**4)
    counts = counts[counts > 0]
    assert len(counts) == 120
    yield "orders of 5", chi_square(counts)


def small_orders(scale):
    """Where each row lies, which rows come together, and parity, by tables."""
    for n in (2, 3, 4, 7, 12, 20):
        orders = many(n, 100_000 * scale)
        cells = np.array([np.bincount(column, minlength=n) for column in orders.T])
        if n == 2:
            yield "position, n=2", binomial(cells[0, 0], len(orders))
        else:
            # Lines and columns have fixed sums: (n-1)**2 cells are free, with a variance of
            # 1/(n-1) each order, where a free cell's would be 1/n.
            yield f"position, n={n}", chi_square(cells, lost=2 * n - 1, shrink=(n - 1) / n)
            pairs = np.bincount(orders[:, 0] * n + orders[:, 1], minlength=n * n)
            yield f"first pair, n={n}", chi_square(pairs[pairs > 0])
            pairs = np.bincount(orders[:, n // 2] * n + orders[:, -1], minlength=n * n)
            yield f"far pair, n={n}", chi_square(pairs[pairs > 0])
        yield f"parity, n={n}", binomial(np.count_nonzero(is_odd(orders)), len(orders))


def large_positions(scale):
    """Where a row lies, and pairs of them, over many keys of the network."""
    n_seeds, bins = 100_000 * scale, 256
    for n in (65537, 10**6, 1 << 40):
        first = (many(n, n_seeds, 2) * bins) // n
        yield f"first row, n={n}", chi_square(np.bincount(first[:, 0], minlength=bins))
        coarse = first // 16
        yield f"first pair, n={n}", chi_square(
            np.bincount(coarse[:, 0] * 16 + coarse[:, 1], minlength=256))
        at = np.array([fo.Permutation(n, s).index_of(n // 3) for s in range(n_seeds)])
        yield f"position of a row, n={n}", chi_square(np.bincount(at * bins // n, minlength=bins))


def large_parity(scale):
    n = 1 << 17  # a power of two: nothing is walked, the network alone decides
    trials = 64 * scale
    odd = sum(is_odd_large(whole(n, seed)) for seed in range(trials))
    yield f"parity, n={n}", binomial(odd, trials)


LAGS = sorted({1, 2, 3, 5, 7, 11, 100, 300, 1000}
              | {2**k + d for k in range(2, 11) for d in (-1, 0, 1) if 2**k + d <= 1024})


def lag_differences(scale, order=whole, sizes=(1_000_000, (1 << 20) - 1, 1 << 20), n_seeds=4):
    """(p[k + lag] - p[k]) mod n, in 256 equal bins."""
    lags = LAGS if scale == 1 else range(1, 1025)
    bins = 256
    for n in sizes:
        counts = {lag: np.zeros(bins) for lag in lags}
        for seed in range(n_seeds):
            p = order(n, seed).astype(np.int32)
            for lag in lags:
                d = p[lag:] - p[:-lag]
                d += (d < 0) * np.int32(n)
                counts[lag] += np.bincount((d * (bins / n)).astype(np.int16), minlength=bins)
        for lag in lags:
            yield f"lag {lag}, n={n}", chi_square(counts[lag])


def correlations(scale):
    """Orders of consecutive epochs, neighbouring seeds and lengths, and rows with positions."""
    for n in (50, 65536, 65537, 1_000_000):
        repeats = min(max(10, 2_000_000 // n), 2000) * scale
        pairs = {
            "position": lambda s, m=n: (np.arange(m), whole(m, s)),
            "epoch and the next": lambda s, m=n: (whole(m, 0, s), whole(m, 0, s + 1)),
            "seed and the next": lambda s, m=n: (whole(m, s), whole(m, s + 1)),
            "seed and epoch swapped": lambda s, m=n: (whole(m, s, 7), whole(m, 7, s)),
            "seed and its high half": lambda s, m=n: (whole(m, s + 1), whole(m, s + 1 << 64)),
            "length and the next": lambda s, m=n: (whole(m, s), whole(m + 1, s)[:m]),
        }
        for name, pair in pairs.items():
            if name == "seed and epoch swapped":
                repeats_here = [s for s in range(repeats + 1) if s != 7]
            else:
                repeats_here = range(repeats)
            z, same = 0.0, 0
            for s in repeats_here:
                a, b = pair(s)
                same += np.count_nonzero(a == b)
                z += (n - 1) ** 0.5 * np.corrcoef(a, b)[0, 1]
            yield f"correlation: {name}, n={n}", z / len(repeats_here) ** 0.5
            if name != "length and the next":
                # About one coincidence a pair, by chance: Poisson.
                expected = len(repeats_here)
                yield f"same place: {name}, n={n}", (same - expected) / expected**0.5


def four_rounds(n, seed):
    return reference.permutation(n, seed, rounds=4)


FAMILIES = (all_orders, small_orders, large_positions, large_parity, lag_differences, correlations)


@functools.cache
def suite(scale=1):
    """The statistics of every family, by name."""
    return {family.__name__: dict(family(scale)) for family in FAMILIES}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=int, default=10, help="times the sample of make test")
    scale = parser.parse_args().scale
    values = {name: z for family in suite(scale).values() for name, z in family.items()}
    limit = bound(len(values))
    worst = sorted(values.items(), key=lambda item: -abs(item[1]))
    for name, z in worst[:20]:
        print(f"{z:+8.2f}  {name}")
    squares = np.mean(np.square(list(values.values())))
    print(f"{len(values)} statistics, mean square {squares:.3f}, largest |z| "
          f"{abs(worst[0][1]):.2f}, bound {limit:.2f}")
    broken = dict(lag_differences(1, four_rounds, sizes=(1 << 20,)))
    name, z = max(broken.items(), key=lambda item: abs(item[1]))
    print(f"four rounds instead of eight: {z:+.1f} at {name}")
    raise SystemExit(int(abs(worst[0][1]) > limit or abs(z) < 2 * limit))


if __name__ == "__main__":
    main()
