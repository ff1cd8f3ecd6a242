"""Steps within a NumPy training loop of a wide network: ``python bench/loop.py``.

A 784-1024-1024-10 network, batches of 256, float32, Adam with bound gradients. The threads of
NumPy's matrix products keep spinning after each product, on the processors that the step's threads
need: a step costs more here than on its own. Each run is a process of its own, as the placement
of memory and threads differs from process to process; the figures are medians over the
iterations of a run, then over the runs.
"""

from __future__ import annotations

import argparse
from statistics import median

from common import in_new_process

SIZES, BATCH, WARM_UP = (784, 1024, 1024, 10), 256, 20

_RUN = """
import sys, time
from statistics import median
import numpy as np
import fastoptim as fo
from fastoptim.demo import network
sizes, batch, warm_up, iterations = eval(sys.argv[1])
rng = np.random.default_rng(0)
x = rng.standard_normal((batch, sizes[0]), np.float32)
y = np.eye(sizes[-1], dtype=np.float32)[rng.integers(0, sizes[-1], batch)]
params = network.init(*sizes)
grads = {name: np.zeros_like(p) for name, p in params.items()}
opt = fo.Adam(params, grads=grads, lr=1e-4)
gradients, steps = [], []
for _ in range(warm_up + iterations):
    start = time.perf_counter()
    network.gradients(params, x, y, grads)
    middle = time.perf_counter()
    opt.step()
    steps.append(time.perf_counter() - middle)
    gradients.append(middle - start)
whole = [sum(both) for both in zip(gradients, steps)]
print(*(1000 * median(times[warm_up:]) for times in (gradients, steps, whole)))
print(fo.get_num_threads())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, help="of the step (default: all processors)")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--iterations", type=int, default=100, help="of a run")
    args = parser.parse_args()
    environ = {"FASTOPTIM_NUM_THREADS": str(args.threads)} if args.threads else {}

    runs = []
    for _ in range(args.runs):
        *times, threads = in_new_process(
            _RUN, (SIZES, BATCH, WARM_UP, args.iterations), **environ)
        runs.append(times)
    print(f"{'-'.join(map(str, SIZES))}, batches of {BATCH}, a step on {threads:.0f} threads, "
          f"{args.runs} runs: ms, medians (and the range over the runs)")
    for name, times in zip(("gradients", "Adam step", "iteration"), zip(*runs)):
        print(f"  {name:<10}{median(times):8.2f}   ({min(times):.2f} to {max(times):.2f})")


if __name__ == "__main__":
    main()
