"""The gradient of a quadratic by a parallel loop of numba, on the threads of its own layer."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

import fastoptim as fo

from . import LR, OURS, Contender, Loop


@njit(parallel=True)
def _gradient(p, curvature, minimum, g):
    for i in prange(p.size):
        g[i] = curvature[i] * (p[i] - minimum[i])


def quadratic(n: int) -> Loop:
    rng = np.random.default_rng(0)
    p, curvature, minimum = (rng.random(n, np.float32) for _ in range(3))
    g = np.zeros_like(p)
    step = fo.Adam(p, grads=g, lr=LR).step
    return Loop("numba, the gradient of a quadratic", n, 1,
                {OURS: Contender(lambda: _gradient(p, curvature, minimum, g), step)})


LOOPS = {"numba": (10**6, quadratic)}
