"""The rules in NumPy, in two versions: with preallocated buffers, and as one-line expressions.

For timing only: fastoptim.reference is the definition, and contenders.check compares the bytes.
Each is the fastest known version with that result: it writes the parameter in place, and folds the
coefficients as the reference does, which saves several passes over memory.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np

LR, BETA, BETA1, BETA2, EPS = 1e-3, 0.9, 0.9, 0.999, 1e-8

Step = Callable[[], object]


def _zeros(p: np.ndarray, count: int) -> list[np.ndarray]:
    """Zeroed arrays like p whose pages are mapped: np.zeros would leave that to the first step."""
    return [np.full_like(p, 0) for _ in range(count)]


def _average(x: np.ndarray, beta: float, new: np.ndarray, buffer: np.ndarray) -> None:
    """x = beta*x + (1 - beta)*new. `new` may be the buffer."""
    np.multiply(x, beta, out=x)
    np.multiply(new, 1 - beta, out=buffer)
    np.add(x, buffer, out=x)


def _sgd_in_place(p: np.ndarray, g: np.ndarray) -> Step:
    (a,) = _zeros(p, 1)

    def step() -> None:
        np.multiply(g, LR, out=a)
        np.subtract(p, a, out=p)

    return step


def _momentum_in_place(p: np.ndarray, g: np.ndarray) -> Step:
    v, a = _zeros(p, 2)

    def step() -> None:
        _average(v, BETA, g, a)
        np.multiply(v, LR, out=a)
        np.subtract(p, a, out=p)

    return step


def _rmsprop_in_place(p: np.ndarray, g: np.ndarray) -> Step:
    s, a, b = _zeros(p, 3)

    def step() -> None:
        np.multiply(g, g, out=a)
        _average(s, BETA, a, a)
        np.sqrt(s, out=a)
        np.add(a, EPS, out=a)
        np.multiply(g, LR, out=b)
        np.divide(b, a, out=a)
        np.subtract(p, a, out=p)

    return step


def _adam_in_place(p: np.ndarray, g: np.ndarray) -> Step:
    m, v, a, b = _zeros(p, 4)
    t = 0

    def step() -> None:
        nonlocal t
        t += 1
        _average(m, BETA1, g, a)
        np.multiply(g, g, out=a)
        _average(v, BETA2, a, a)
        np.sqrt(v, out=a)
        np.multiply(a, 1 / sqrt(1 - BETA2**t), out=a)
        np.add(a, EPS, out=a)
        np.multiply(m, LR / (1 - BETA1**t), out=b)
        np.divide(b, a, out=a)
        np.subtract(p, a, out=p)

    return step


def _sgd_one_liner(p: np.ndarray, g: np.ndarray) -> Step:
    def step() -> None:
        nonlocal p
        p -= LR * g

    return step


def _momentum_one_liner(p: np.ndarray, g: np.ndarray) -> Step:
    (v,) = _zeros(p, 1)

    def step() -> None:
        nonlocal p, v
        v = BETA * v + (1 - BETA) * g
        p -= LR * v

    return step


def _rmsprop_one_liner(p: np.ndarray, g: np.ndarray) -> Step:
    (s,) = _zeros(p, 1)

    def step() -> None:
        nonlocal p, s
        s = BETA * s + (1 - BETA) * (g * g)
        p -= LR * g / (np.sqrt(s) + EPS)

    return step


def _adam_one_liner(p: np.ndarray, g: np.ndarray) -> Step:
    m, v = _zeros(p, 2)
    t = 0

    def step() -> None:
        nonlocal p, m, v, t
        t += 1
        m = BETA1 * m + (1 - BETA1) * g
        v = BETA2 * v + (1 - BETA2) * (g * g)
        p -= LR / (1 - BETA1**t) * m / (np.sqrt(v) * (1 / sqrt(1 - BETA2**t)) + EPS)

    return step


IN_PLACE = {"sgd": _sgd_in_place, "momentum": _momentum_in_place,
            "rmsprop": _rmsprop_in_place, "adam": _adam_in_place}
ONE_LINER = {"sgd": _sgd_one_liner, "momentum": _momentum_one_liner,
             "rmsprop": _rmsprop_one_liner, "adam": _adam_one_liner}
