"""A step of 10^9 float32 parameters, 16 GB with states: ``python bench/billion.py``.

Shows by how much the memory of the process grows over the four arrays that Adam needs: the
step itself must not allocate. It wants 17 GB free, and the machine for itself.
"""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path

import numpy as np

import fastoptim as fo
from fastoptim.bench import machine


def resident(kind: str) -> int:
    """VmRSS, what is resident now, or VmHWM, the most that ever was; bytes."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"^{kind}:\s*(\d+) kB", status, re.MULTILINE)[1]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=lambda text: int(float(text)), default=10**9)
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    print(machine.header(machine.describe()))
    arrays = 4 * 4 * args.n
    if arrays > 0.97 * machine.available_memory():
        parser.error(f"{arrays / 1e9:.1f} GB must be free, got "
                     f"{machine.available_memory() / 1e9:.1f} GB")

    small = np.ones(1000, np.float32)
    fo.Adam(small, grads=small.copy()).step()  # whatever comes with the first use
    before = resident("VmRSS")
    p, g = np.full(args.n, 0.5, np.float32), np.full(args.n, 0.25, np.float32)
    opt = fo.Adam(p, grads=g)
    seconds = []
    for _ in range(args.steps):
        start = time.perf_counter()
        opt.step()
        seconds.append(time.perf_counter() - start)
    grown = resident("VmHWM") - before - arrays
    assert p[0] < 0.5 and p[0] == p[-1], "every parameter must have moved alike"
    print(f"{args.n:,} float32 parameters, {arrays / 1e9:.1f} GB with gradient and states")
    print("seconds a step: " + ", ".join(f"{s:.3f}" for s in seconds)
          + f"; the best {min(seconds) / args.n * 1e9:.3f} ns an element")
    print(f"peak resident memory over the four arrays: {grown / 1e6:.1f} MB more than before them")


if __name__ == "__main__":
    main()
