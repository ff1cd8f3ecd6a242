"""The cost of the thread pool: ``python bench/pool.py``.

Times a step on few threads after more had been set, beside a process that never had more; and
counts all allocations in the process during 100 threaded steps.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from statistics import median

from common import count, in_new_process

_STEPS = """
import sys, time
import numpy as np
import fastoptim as fo
before, threads, n = map(int, sys.argv[1:4])
p, g = np.full(n, 0.5, np.float32), np.full(n, 0.25, np.float32)
step = fo.Adam(p, grads=g).step
if before:
    fo.set_num_threads(before)
    for _ in range(20):
        step()
fo.set_num_threads(threads)
for _ in range(50):
    step()
times = []
end = time.perf_counter() + float(sys.argv[4])
while time.perf_counter() < end:
    begin = time.perf_counter_ns()
    for _ in range(20):
        step()
    times.append((time.perf_counter_ns() - begin) / 20)
times.sort()
print(times[len(times) // 2] / 1000)
"""

_ALLOCATIONS = """
import ctypes, sys
from itertools import repeat
import numpy as np
import fastoptim as fo
threads, n = map(int, sys.argv[1:])
fo.set_num_threads(threads)
p, g = np.full(n, 0.5, np.float32), np.full(n, 0.25, np.float32)
step = fo.Adam(p, grads=g).step
allocations = ctypes.CDLL(None).interpose_allocations
step()
before = allocations()
for _ in repeat(None, 100):
    step()
print(allocations() - before)
"""


def step_time(before: int, threads: int, n: int, seconds: float) -> float:
    """us a step on `threads` after `before` had been set; 0: never more."""
    return in_new_process(_STEPS, before, threads, n, seconds)[0]


def allocations(threads: int, n: int) -> int | None:
    """Calls of malloc and the like in 100 steps; None where they cannot be counted."""
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None or platform.libc_ver()[0] != "glibc":
        return None
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "interpose.so"
        subprocess.run([compiler, "-std=c++17", "-O1", "-shared", "-fPIC",
                        Path(__file__).with_name("interpose.cpp"), "-o", library], check=True)
        return int(in_new_process(_ALLOCATIONS, threads, n, LD_PRELOAD=str(library))[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--elements", type=count, default=300_000)
    parser.add_argument("--rounds", type=int, default=9, help="processes for each number")
    parser.add_argument("--seconds", type=float, default=0.5, help="in each of them")
    args = parser.parse_args()

    numbers = (0, 16, 64, 256)
    found: dict[int, list[float]] = {before: [] for before in numbers}
    for _ in range(args.rounds):  # in turns, so that other load affects all alike
        for before in numbers:
            found[before].append(step_time(before, args.threads, args.elements, args.seconds))
    print(f"Adam, float32, {args.elements} elements, {args.threads} threads: us a step")
    for before, times in found.items():
        ratio = median(x / fresh for x, fresh in zip(times, found[0]))
        print(f"  {'a fresh process' if not before else f'once {before} were set':<20}"
              f"{median(times):>10.1f}{ratio:>10.2f} times")
    made = allocations(args.threads, args.elements)
    print("allocations in 100 such steps: " + ("not counted here" if made is None else str(made)))


if __name__ == "__main__":
    main()
