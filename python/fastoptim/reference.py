"""The definition of right: one plain NumPy function a rule, one operation after another.

The compiled kernels equal these functions byte for byte. They are for reading
and for checking: each makes new arrays, and is many times slower.

A rule takes a parameter `p`, its gradient `g` (arrays of one dtype), its states
`s` (a dict, empty before the first step, which the step updates) and the count
`t` of this step, from 1; it returns the new parameter. Options are Python
numbers. Coefficients of options alone are computed in float64, and rounded once
to the array's dtype where they meet an array, as NumPy does with Python floats
(not with its own float64, which would promote the array: hence math.sqrt).
Every operation on arrays is in their dtype and rounds once, in the order in
which it is written.

>>> import numpy as np, fastoptim as fo
>>> p, s = np.array([1.0, 2.0], np.float32), {}
>>> mine = p.copy()
>>> opt = fo.Adam(mine)
>>> for t in (1, 2, 3):
...     g = np.array([0.5, -8.0], np.float32) / t
...     p = fo.reference.adam(p, g, s, t)
...     opt.step(g)
>>> p.tobytes() == mine.tobytes()
True
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from typing import TypeAlias, TypedDict, Unpack

    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[Any]
    States: TypeAlias = dict[str, Array]

    class Shared(TypedDict, total=False):
        """The options of all rules, those of `prepare`."""

        weight_decay: float
        decoupled: bool
        maximize: bool

    class AdamWOptions(TypedDict, total=False):
        """The options of `adam` that `adamw` hands on."""

        lr: float
        betas: tuple[float, float]
        eps: float
        amsgrad: bool
        maximize: bool

__all__ = ["adam", "adamw", "ewma", "momentum", "prepare", "rmsprop", "sgd"]


def prepare(p: Array, g: Array, lr: float, *, weight_decay: float = 0.0, decoupled: bool = False,
            maximize: bool = False) -> tuple[Array, Array]:
    """Do what every rule does first: the direction, then weight decay.

    Parameters
    ----------
    p, g : array
        The parameter and its gradient.
    lr : float
        The learning rate.
    weight_decay : float, default 0.0
        ``weight_decay*p`` is added to g.
    decoupled : bool, default False
        p is multiplied by ``1 - lr*weight_decay`` instead.
    maximize : bool, default False
        g is negated first.

    Returns
    -------
    tuple of arrays
        The new p and g.
    """
    if maximize:
        g = -g
    if weight_decay and not decoupled:
        g = g + weight_decay * p
    if weight_decay and decoupled:
        p = p * (1 - lr * weight_decay)
    return p, g


def sgd(p: Array, g: Array, s: States, t: int, *, lr: float = 1e-2,
        **shared: Unpack[Shared]) -> Array:
    """A step of gradient descent.

    Parameters
    ----------
    p : array
        The parameter.
    g : array
        Its gradient, of the shape and dtype of `p`.
    s : dict
        Its states, name -> array; empty before the first step. Updated.
    t : int
        The count of this step, from 1.
    lr : float, default 0.01
        The learning rate.
    **shared
        The options of `prepare`.

    Returns
    -------
    array
        The new parameter.
    """
    p, g = prepare(p, g, lr, **shared)
    return p - lr * g


def momentum(p: Array, g: Array, s: States, t: int, *, lr: float = 1e-2, beta: float = 0.9,
             dampening: float | None = None, dampen_first: bool = True, nesterov: bool = False,
             bias_correction: bool = False, **shared: Unpack[Shared]) -> Array:
    """A step of Momentum.

    In the code `weight` is that of the gradient in v, and ``t + 1`` counts the
    look-ahead of Nesterov's variant.

    Parameters
    ----------
    p : array
        The parameter.
    g : array
        Its gradient, of the shape and dtype of `p`.
    s : dict
        Its states, name -> array; empty before the first step. Updated.
    t : int
        The count of this step, from 1.
    lr : float, default 0.01
        The learning rate.
    beta : float, default 0.9
        Weight of the past, in [0, 1).
    dampening : float or None, default None
        The gradient's weight is ``1 - dampening``; None stands for `beta`.
    dampen_first : bool, default True
        False gives the gradient of the first step the weight 1.
    nesterov : bool, default False
        Step along ``beta*v + weight*g``.
    bias_correction : bool, default False
        Divide v by the sum of its weights.
    **shared
        The options of `prepare`.

    Returns
    -------
    array
        The new parameter.
    """
    p, g = prepare(p, g, lr, **shared)
    v: Array | float = s.get("v", 0.0)
    weight = 1 - beta
    if dampening is not None:
        weight = 1 if t == 1 and not dampen_first else 1 - dampening
    if bias_correction:
        lr = lr / (1 - beta ** (t + 1 if nesterov else t))

    v = beta * v + weight * g
    s["v"] = v
    if nesterov:
        return p - lr * (beta * v + weight * g)
    return p - lr * v


def rmsprop(p: Array, g: Array, s: States, t: int, *, lr: float = 1e-3, beta: float = 0.9,
            eps: float = 1e-8, centered: bool = False, momentum: float = 0.0,
            bias_correction: bool = False, eps_inside_sqrt: bool = False,
            **shared: Unpack[Shared]) -> Array:
    """A step of RMSProp.

    In the code `total` is the sum of the weights in an average; the bias
    correction divides by it. If eps or a mean is added or subtracted under the
    root, the square is corrected before; else the root is.

    Parameters
    ----------
    p : array
        The parameter.
    g : array
        Its gradient, of the shape and dtype of `p`.
    s : dict
        Its states, name -> array; empty before the first step. Updated.
    t : int
        The count of this step, from 1.
    lr : float, default 0.001
        The learning rate.
    beta : float, default 0.9
        Weight of the past, in [0, 1).
    eps : float, default 1e-8
        Keeps the divisor from zero.
    centered : bool, default False
        Subtract the square of the mean gradient under the root.
    momentum : float, default 0.0
        Weight of the past in ``s["velocity"]``; 0 for none.
    bias_correction : bool, default False
        Divide the averages by the sum of their weights.
    eps_inside_sqrt : bool, default False
        Add `eps` under the root.
    **shared
        The options of `prepare`.

    Returns
    -------
    array
        The new parameter.
    """
    p, g = prepare(p, g, lr, **shared)
    total = 1 - beta**t if bias_correction else 1.0
    square = s["s"] = beta * s.get("s", 0.0) + (1 - beta) * (g * g)
    if centered:
        mean = s["mean"] = beta * s.get("mean", 0.0) + (1 - beta) * g
        if bias_correction:
            square, mean = square * (1 / total), mean * (1 / total)
        square = np.maximum(square - mean * mean, 0)
    elif bias_correction and eps_inside_sqrt:
        square = square * (1 / total)

    root = np.sqrt(square + eps) if eps_inside_sqrt else np.sqrt(square)
    if bias_correction and not centered and not eps_inside_sqrt:
        root = root * (1 / math.sqrt(total))
    if not eps_inside_sqrt:
        root = root + eps

    if momentum:
        velocity = s["velocity"] = momentum * s.get("velocity", 0.0) + g / root
        return p - lr * velocity
    return p - lr * g / root


def adam(p: Array, g: Array, s: States, t: int, *, lr: float = 1e-3,
         betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, amsgrad: bool = False,
         **shared: Unpack[Shared]) -> Array:
    """A step of Adam.

    With `amsgrad`, ``s["v_max"]`` replaces v in the last line.

    Parameters
    ----------
    p : array
        The parameter.
    g : array
        Its gradient, of the shape and dtype of `p`.
    s : dict
        Its states, name -> array; empty before the first step. Updated.
    t : int
        The count of this step, from 1.
    lr : float, default 0.001
        The learning rate.
    betas : tuple of float, default (0.9, 0.999)
        Weights of the past in m and v, each in [0, 1).
    eps : float, default 1e-8
        Keeps the divisor from zero.
    amsgrad : bool, default False
        Keep the maximum of v in ``s["v_max"]``.
    **shared
        The options of `prepare`.

    Returns
    -------
    array
        The new parameter.
    """
    p, g = prepare(p, g, lr, **shared)
    beta1, beta2 = betas
    m: Array | float = s.get("m", 0.0)
    v: Array | float = s.get("v", 0.0)

    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    s["m"], s["v"] = m, v
    if amsgrad:
        v = s["v_max"] = np.maximum(s.get("v_max", 0.0), v)
    return p - lr / (1 - beta1**t) * m / (np.sqrt(v) * (1 / math.sqrt(1 - beta2**t)) + eps)


def adamw(p: Array, g: Array, s: States, t: int, *, weight_decay: float = 1e-2,
          **options: Unpack[AdamWOptions]) -> Array:
    """A step of Adam with decoupled weight decay.

    Parameters
    ----------
    p : array
        The parameter.
    g : array
        Its gradient, of the shape and dtype of `p`.
    s : dict
        Its states, name -> array; empty before the first step. Updated.
    t : int
        The count of this step, from 1.
    weight_decay : float, default 0.01
        p is multiplied by ``1 - lr*weight_decay`` first.
    **options
        The other options of `adam`.

    Returns
    -------
    array
        The new parameter.
    """
    return adam(p, g, s, t, weight_decay=weight_decay, decoupled=True, **options)


def ewma(x: Array, beta: float = 0.9, *, bias_correction: bool = True, axis: int = 0) -> Array:
    """The moving average of `fastoptim.ewma`.

    v and w are in float64, and each output is rounded once. The sum of the
    weights in v so far, w, comes from the same recursion as v; but for rounding
    it is ``1 - beta**t``, and it equals v where x is 1.

    Parameters
    ----------
    x : array
        The series; time runs along `axis`.
    beta : float, default 0.9
        Weight of the past.
    bias_correction : bool, default True
        Divide by w.
    axis : int, default 0
        The axis of time.

    Returns
    -------
    array
        The averages, of the shape and dtype of `x`.
    """
    x = np.moveaxis(x, axis, 0)
    y = np.empty_like(x)
    v: Array | float = np.zeros(x.shape[1:])
    w = 0.0
    for t in range(len(x)):
        v = beta * v + (1 - beta) * x[t].astype(np.float64)
        w = beta * w + (1 - beta)
        y[t] = v / w if bias_correction else v
    return np.moveaxis(y, 0, axis)
