"""Steps after pauses, in several processes: ``python bench/pauses.py``.

A worker that sleeps has to be woken, and where the system wakes it differs by process: beside the
caller, or behind it on the caller's processor. Prints the medians of Adam steps after each pause:
the best of the processes, and the ratio of each process to it, lowest to highest. --pinned adds
processes in which the caller and the worker are pinned to two processors by hand; --threads, more
threads than two, which should take no longer.
"""

from __future__ import annotations

import argparse
import os
from statistics import median

from common import count, in_new_process

PAUSES = (0, 0.5, 5, 20)  # ms

_STEPS = """
import os, sys, time
from statistics import median
import numpy as np
import fastoptim as fo
threads, n, pinned = map(int, sys.argv[1:4])
p, g = np.full(n, 0.5, np.float32), np.full(n, 0.25, np.float32)
others = set(os.listdir("/proc/self/task")) if pinned else set()
fo.set_num_threads(threads)
opt = fo.Adam(p, grads=g)
opt.step()
if pinned:
    processors = sorted(os.sched_getaffinity(0))
    workers = sorted(set(os.listdir("/proc/self/task")) - others)
    for worker, place in zip(workers, processors[1:]):
        os.sched_setaffinity(int(worker), set(processors))
    opt.step()
    os.sched_setaffinity(0, {processors[0]})
    for worker, place in zip(workers, processors[1:]):
        os.sched_setaffinity(int(worker), {place})
for pause in map(float, sys.argv[4:]):
    times = []
    for _ in range(40):
        if pause:
            time.sleep(pause / 1000)
        begin = time.perf_counter()
        opt.step()
        times.append(time.perf_counter() - begin)
    print(median(times) * 1e6)
"""


def step_times(threads: int, n: int, pinned: bool) -> list[float]:
    """us a step after each of the pauses, in a process of its own."""
    return in_new_process(_STEPS, threads, n, int(pinned), *PAUSES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--elements", type=count, nargs="+",
                        default=[300_000, 1_000_000, 3_000_000, 10_000_000])
    parser.add_argument("--threads", type=int, nargs="+", default=[2])
    parser.add_argument("--processes", type=int, default=10)
    parser.add_argument("--pinned", action="store_true")
    args = parser.parse_args()
    if args.pinned and len(os.sched_getaffinity(0)) < max(args.threads):
        parser.error("--pinned needs a processor for each thread")

    ways = [(threads, pinned) for threads in args.threads
            for pinned in ((False, True) if args.pinned else (False,))]
    for n in args.elements:
        found: dict[tuple[int, bool], list[list[float]]] = {way: [] for way in ways}
        for _ in range(args.processes):  # in turns, so that other load affects all alike
            for threads, pinned in ways:
                found[threads, pinned].append(step_times(threads, n, pinned))
        print(f"Adam, float32, {n} elements: us a step")
        for (threads, pinned), processes in found.items():
            print(f"  {threads} threads" + (", pinned by hand" if pinned else ""))
            for pause, times in zip(PAUSES, zip(*processes)):
                best = min(times)
                print(f"    after {pause:>4} ms: best {best:8.0f}, median {median(times):8.0f}"
                      "   ratios to the best " + " ".join(f"{t / best:.2f}" for t in sorted(times)),
                      flush=True)


if __name__ == "__main__":
    main()
