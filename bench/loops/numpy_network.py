"""Matrix products in NumPy: a 784-w-w-10 network. The threads are those of NumPy's BLAS.

They go on spinning after a product, on the processors that the step's threads need.
"""

from __future__ import annotations

import numpy as np

import fastoptim as fo
from fastoptim.demo import network

from . import LR, OURS, Contender, Loop, positive_root

INPUTS, OUTPUTS = 784, 10


def numpy_network(n: int) -> Loop:
    width = positive_root(1, INPUTS + OUTPUTS + 2, n - OUTPUTS)
    sizes = INPUTS, width, width, OUTPUTS
    batch = 256 if n < 3e7 else 64  # a second for the gradients of 10^8 would be long
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, INPUTS), np.float32)
    y = np.eye(OUTPUTS, dtype=np.float32)[rng.integers(0, OUTPUTS, batch)]
    params = network.init(*sizes)
    grads = {name: np.zeros_like(p) for name, p in params.items()}
    step = fo.Adam(params, grads=grads, lr=LR).step
    return Loop(f"NumPy, {'-'.join(map(str, sizes))}, batches of {batch}",
                sum(p.size for p in params.values()), len(params),
                {OURS: Contender(lambda: network.gradients(params, x, y, grads), step)})


LOOPS = {"numpy": (1_863_690, numpy_network)}  # 784-1024-1024-10
