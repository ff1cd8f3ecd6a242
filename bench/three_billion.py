"""A step of 3 * 10^9 bfloat16 parameters with states in q8: ``python bench/three_billion.py``.

Parameters, gradients and Adam's two states together take 18 GB, where float32 would take 48. It
wants a machine of 24 GB for itself. Needs ml_dtypes.
"""

from __future__ import annotations

import argparse
import resource
import time

import ml_dtypes
import numpy as np

import fastoptim as fo
from fastoptim.bench import machine


def resident() -> int:
    """The most bytes of memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=lambda text: int(float(text)), default=3 * 10**9)
    parser.add_argument("--steps", type=int, default=3)
    args = parser.parse_args()
    print(machine.header(machine.describe()))
    needed = args.n * (2 + 2 + 2 * (1 + 1 / 128))
    if needed > 0.97 * machine.available_memory():
        parser.error(f"{needed / 1e9:.1f} GB must be free, got "
                     f"{machine.available_memory() / 1e9:.1f} GB")

    p = np.full(args.n, 1.0, ml_dtypes.bfloat16)
    g = np.full(args.n, 0.25, ml_dtypes.bfloat16)
    opt = fo.Adam(p, g, lr=1e-3, state_dtype="q8")
    state = sum(x.nbytes for x in opt.state[0].values())
    print(f"{args.n:,} parameters: {p.nbytes / 1e9:.1f} GB, as many of gradients, "
          f"{state / 1e9:.2f} GB of states ({state / args.n:.4f} bytes a parameter)")
    seconds = []
    for _ in range(args.steps):
        before = resident()
        start = time.perf_counter()
        opt.step()
        seconds.append(time.perf_counter() - start)
        print(f"step {opt.t}: {seconds[-1]:.2f} s, {seconds[-1] / args.n * 1e9:.3f} ns a "
              f"parameter; peak memory {resident() / 1e9:.2f} GB, "
              f"{(resident() - before) / 1e6:.1f} MB more than before the step")
    # Steps of lr each; the mean shows it, and both ends moved alike.
    sample = min(args.n, 10**6)
    ends = [part.astype(np.float32).mean() for part in (p[:sample], p[-sample:])]
    print(f"mean of the first and of the last parameters: {ends[0]:.5f}, {ends[1]:.5f} "
          f"(expected {1 - 1e-3 * args.steps:.5f})")
    assert all(abs(x - (1 - 1e-3 * args.steps)) < 1e-4 for x in ends)


if __name__ == "__main__":
    main()
