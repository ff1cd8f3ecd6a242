"""A step of Adam on 10^9 parameters: ``python bench/billion.py [--q8]``.

Shows by how much the memory of the process grows beyond the arrays that Adam needs: the step itself
must not allocate. In float32 these take 16 GB. With --q8, 3 * 10^9 bfloat16 parameters and
gradients with states in q8 take 18 GB, where float32 would take 48 (needs ml_dtypes). The machine
must have that much memory free, and should do nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from common import count

import fastoptim as fo
from fastoptim.bench import machine

LR = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--q8", action="store_true", help="bfloat16 parameters, states in q8")
    parser.add_argument("--n", type=count, help="parameters (default: 1e9, with --q8 3e9)")
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    dtype, options, bytes_each, n = np.dtype(np.float32), {}, 16.0, 10**9
    if args.q8:
        import ml_dtypes

        dtype, options = np.dtype(ml_dtypes.bfloat16), {"state_dtype": "q8"}
        bytes_each, n = 2 + 2 + 2 * (1 + 1 / 128), 3 * 10**9
    n = args.n or n
    print(machine.header(machine.describe()))
    if bytes_each * n > 0.97 * machine.available_memory():
        parser.error(f"{bytes_each * n / 1e9:.1f} GB must be free, got "
                     f"{machine.available_memory() / 1e9:.1f} GB")

    small = np.ones(1000, dtype)
    fo.Adam(small, grads=small.copy(), **options).step()  # what the first use allocates
    before = machine.resident_memory()
    p, g = np.full(n, 1.0, dtype), np.full(n, 0.25, dtype)
    opt = fo.Adam(p, grads=g, lr=LR, **options)
    arrays = p.nbytes + g.nbytes + sum(x.nbytes for x in opt.state[0].values())
    print(f"{n:,} {dtype} parameters: {arrays / 1e9:.2f} GB with gradients and states, "
          f"{arrays / n:.3f} bytes a parameter")
    seconds = []
    for _ in range(args.steps):
        start = time.perf_counter()
        opt.step()
        seconds.append(time.perf_counter() - start)
    grown = machine.peak_memory() - before - arrays
    print("seconds a step: " + ", ".join(f"{s:.3f}" for s in seconds)
          + f"; the best {min(seconds) / n * 1e9:.3f} ns a parameter")
    print(f"peak memory beyond the arrays: {grown / 1e6:.1f} MB more than before them")
    # With a constant gradient every step is lr long; stochastic rounding keeps the mean.
    expected = 1 - LR * args.steps
    for part in (p[:10**6], p[-(10**6):]):
        mean = part.astype(np.float64).mean()
        assert abs(mean - expected) < 1e-4, f"parameters must be {expected} on average, got {mean}"


if __name__ == "__main__":
    main()
