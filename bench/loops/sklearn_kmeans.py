"""Online k-means: scikit-learn finds the nearest centres, in OpenMP threads and with BLAS.

The parameters are the centres, of 256 features each.
"""

from __future__ import annotations

import numpy as np
from sklearn.metrics import pairwise_distances_argmin

import fastoptim as fo

from . import LR, OURS, Contender, Loop

FEATURES, BATCH = 256, 256


def kmeans(n: int) -> Loop:
    rng = np.random.default_rng(0)
    count = max(1, round(n / FEATURES))
    centres = rng.standard_normal((count, FEATURES), np.float32)
    grads = np.zeros_like(centres)
    x = rng.standard_normal((BATCH, FEATURES), np.float32)
    nearest = np.zeros(BATCH, np.intp)

    def gradients() -> None:
        grads[nearest] = 0
        nearest[:] = pairwise_distances_argmin(x, centres)
        np.add.at(grads, nearest, centres[nearest] - x)

    return Loop(f"scikit-learn, {count} centres, batches of {BATCH}", centres.size, 1,
                {OURS: Contender(gradients, fo.Adam(centres, grads=grads, lr=LR).step)})


LOOPS = {"kmeans": (300_032, kmeans)}
