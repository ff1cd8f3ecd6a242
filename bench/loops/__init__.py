"""The loops of ``bench/loop.py``: what runs between the steps. One module for each library.

A module has ``LOOPS``: name -> (number of parameters by default, maker). A maker gets a number of
parameters and returns a Loop of nearly so many.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import NamedTuple

OURS = "fastoptim"
LR = 1e-6  # a step costs the same at any rate; the model must not learn its one batch by heart

# Which modules a loop needs, and the module of this package that makes it.
LIBRARIES = {
    "nothing": ((), "nothing"),
    "numpy": ((), "numpy_network"),
    "mlp": (("torch",), "torch_models"),
    "transformer": (("torch",), "torch_models"),
    "kmeans": (("sklearn",), "sklearn_kmeans"),
    "numba": (("numba",), "numba_quadratic"),
}


class Contender(NamedTuple):
    """A model of its own: what computes its gradients, and the step that reads them."""

    gradients: Callable[[], object]
    step: Callable[[], object]


class Loop(NamedTuple):
    """What is between the steps, for each contender: the same work on other arrays."""

    title: str
    n: int  # parameters
    tensors: int
    contenders: dict[str, Contender]  # the first is OURS


def find(name: str) -> tuple[int, Callable[[int], Loop]]:
    """Return the loop's default number of parameters and its maker."""
    return importlib.import_module(f"loops.{LIBRARIES[name][1]}").LOOPS[name]


def positive_root(a: float, b: float, c: float) -> int:
    """Return the x >= 1 nearest to the positive root of a*x^2 + b*x = c."""
    return max(1, round((-b + (b * b + 4 * a * c) ** 0.5) / (2 * a)))
