"""The definition of right: one plain NumPy function a rule, one operation after another.

The compiled kernels equal these functions byte for byte. They are for reading and for checking:
each makes new arrays, and is many times slower.

A rule takes a parameter `p`, its gradient `g` (arrays of one dtype), its states `s` (a dict, empty
before the first step, which the step updates) and the count `t` of this step, from 1; it returns
the new parameter. Options are Python numbers. What is computed from them alone is computed in
float64, and rounded once to the array's dtype where it meets an array, as NumPy does with Python
floats (not with its own float64, which would make float64 of all: hence math.sqrt). Every
operation on arrays is in their dtype and rounds once, in the order in which it is written.

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

import math

import numpy as np

__all__ = ["adam", "adamw", "ewma", "momentum", "prepare", "rmsprop", "sgd"]


def prepare(p, g, lr, *, weight_decay=0.0, decoupled=False, maximize=False):
    """p and g after what every rule does first: the direction, then weight decay of either kind."""
    if maximize:
        g = -g
    if weight_decay and not decoupled:
        g = g + weight_decay * p
    if weight_decay and decoupled:
        p = p * (1 - lr * weight_decay)
    return p, g


def sgd(p, g, s, t, *, lr=1e-2, **shared):
    """Gradient descent. `shared` are the options of `prepare`."""
    p, g = prepare(p, g, lr, **shared)
    return p - lr * g


def momentum(p, g, s, t, *, lr=1e-2, beta=0.9, dampening=None, dampen_first=True,
             nesterov=False, bias_correction=False, **shared):
    """Momentum. `weight` is that of the gradient; t + 1 counts the look-ahead of nesterov."""
    p, g = prepare(p, g, lr, **shared)
    v = s.get("v", 0.0)
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


def rmsprop(p, g, s, t, *, lr=1e-3, beta=0.9, eps=1e-8, centered=False, momentum=0.0,
            bias_correction=False, eps_inside_sqrt=False, **shared):
    """RMSProp. `total` is the sum of the weights in an average: the bias correction divides by it.

    Where something is added or taken off under the root, that is done after the correction;
    else the root is corrected.
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


def adam(p, g, s, t, *, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, amsgrad=False, **shared):
    """Adam. With amsgrad, s["v_max"] stands in place of v in the last line."""
    p, g = prepare(p, g, lr, **shared)
    beta1, beta2 = betas
    m, v = s.get("m", 0.0), s.get("v", 0.0)

    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    s["m"], s["v"] = m, v
    if amsgrad:
        v = s["v_max"] = np.maximum(s.get("v_max", 0.0), v)
    return p - lr / (1 - beta1**t) * m / (np.sqrt(v) * (1 / math.sqrt(1 - beta2**t)) + eps)


def adamw(p, g, s, t, *, weight_decay=1e-2, **options):
    """Adam with decoupled weight decay."""
    return adam(p, g, s, t, weight_decay=weight_decay, decoupled=True, **options)


def ewma(x, beta=0.9, *, bias_correction=True, axis=0):
    """The moving average of `fastoptim.ewma`: v and w in float64, each output rounded once.

    w is the sum of the weights that v has given out so far, by the recursion that makes v; it is
    1 - beta**t but for rounding, and equals v where x is 1.
    """
    x = np.moveaxis(x, axis, 0)
    y = np.empty_like(x)
    v, w = np.zeros(x.shape[1:]), 0.0
    for t in range(len(x)):
        v = beta * v + (1 - beta) * x[t].astype(np.float64)
        w = beta * w + (1 - beta)
        y[t] = v / w if bias_correction else v
    return np.moveaxis(y, 0, axis)
