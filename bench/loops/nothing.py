"""Steps without anything between them, and after pauses: no other library has a thread."""

from __future__ import annotations

import numpy as np

import fastoptim as fo

from . import LR, OURS, Contender, Loop


def nothing(n: int) -> Loop:
    rng = np.random.default_rng(0)
    p, g = rng.random(n, np.float32), rng.random(n, np.float32)
    step = fo.Adam(p, grads=g, lr=LR).step
    return Loop("nothing", n, 1, {OURS: Contender(lambda: None, step)})


LOOPS = {"nothing": (10**6, nothing)}
