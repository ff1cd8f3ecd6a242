"""The best placement of the roofline's arrays: ``python bench/placement.py``.

Measures the loop of cpp/kernels/roofline.hpp on arrays that begin at different offsets within a
page (4K aliasing), on huge pages and on small ones.
"""

from __future__ import annotations

import argparse
import mmap

import numpy as np
from common import count, prepare

PLACES = [(stagger, True) for stagger in (0, 64, 128, 256, 320, 512, 1024, 2048)]
PLACES += [(0, False), (256, False)]
PAGE, HUGE_PAGE = 4096, 1 << 21


def make_arrays(n: int, dtype: str, n_arrays: int, stagger: int, huge: bool) -> list[np.ndarray]:
    """Arrays of ones; array k begins k*stagger bytes after the start of a page."""
    size = np.dtype(dtype).itemsize * n
    apart = -(-(size + n_arrays * stagger) // PAGE) * PAGE
    memory = mmap.mmap(-1, HUGE_PAGE + n_arrays * (apart + stagger))
    if huge:
        memory.madvise(mmap.MADV_HUGEPAGE)
    bytes_ = np.frombuffer(memory, np.uint8)
    start = -bytes_.ctypes.data % HUGE_PAGE
    arrays = [bytes_[begin : begin + size].view(dtype)
              for begin in (start + k * (apart + stagger) for k in range(n_arrays))]
    for x in arrays:
        x.fill(1)
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=count, default=10**7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each table")
    args = parser.parse_args()
    prepare(args.threads)

    from fastoptim import _core
    from fastoptim.bench import machine
    from fastoptim.bench.timing import take_turns

    print(machine.header(machine.describe()))
    for dtype in ("float32", "float64"):
        for n_states in range(3):
            arrays = {place: make_arrays(args.n, dtype, 2 + n_states, *place) for place in PLACES}
            timings = take_turns(
                {place: lambda passes, x=x: _core.roofline(x, passes=passes)
                 for place, x in arrays.items()}, seconds=args.seconds)
            print(f"\n{args.n:,} elements, {dtype}, {n_states} states: ns an element, "
                  "and times that of the first")
            for place in PLACES:
                pages = "huge pages" if place[1] else "small pages"
                print(f"  {place[0]:>5} bytes apart, {pages:<12}{timings[place] / args.n:>8.3f}"
                      f"{timings.ratio(place, to=PLACES[0]):>8.3f}")


if __name__ == "__main__":
    main()
