"""The definition of right: one plain NumPy function a rule, one operation after another.

Every array operation happens in the array's own dtype and rounds once; every coefficient is
computed in Python's float64 and rounded once to that dtype. The kernels equal these functions
byte for byte. `s` is a dict of states, empty before the first step; `t` counts from 1.
"""

from math import sqrt

import numpy as np


def prepare(p, g, lr, *, weight_decay=0.0, decoupled=False, maximize=False):
    """What every rule does first: the direction, then weight decay of either kind."""
    T = p.dtype.type
    if maximize:
        g = -g
    if weight_decay and not decoupled:
        g = g + T(weight_decay) * p
    if weight_decay and decoupled:
        p = p * T(1 - lr * weight_decay)
    return p, g


def sgd(p, g, s, t, *, lr=1e-2, **shared):
    T = p.dtype.type
    p, g = prepare(p, g, lr, **shared)
    return p - T(lr) * g


def momentum(p, g, s, t, *, lr=1e-2, beta=0.9, dampening=None, dampen_first=True,
             nesterov=False, bias_correction=False, **shared):
    T = p.dtype.type
    p, g = prepare(p, g, lr, **shared)
    weight = 1 - beta
    if dampening is not None:
        weight = 1 if t == 1 and not dampen_first else 1 - dampening
    s["v"] = v = T(beta) * s.get("v", np.zeros_like(p)) + T(weight) * g
    if nesterov:
        rate = lr / (1 - beta ** (t + 1)) if bias_correction else lr
        return p - T(rate) * (T(beta) * v + T(weight) * g)
    rate = lr / (1 - beta**t) if bias_correction else lr
    return p - T(rate) * v


def rmsprop(p, g, s, t, *, lr=1e-3, beta=0.9, eps=1e-8, centered=False, momentum=0.0,
            bias_correction=False, eps_inside_sqrt=False, **shared):
    T = p.dtype.type
    p, g = prepare(p, g, lr, **shared)
    zero = np.zeros_like(p)
    total = 1 - beta**t if bias_correction else 1.0
    s["s"] = square = T(beta) * s.get("s", zero) + T(1 - beta) * (g * g)
    if centered:
        s["mean"] = mean = T(beta) * s.get("mean", zero) + T(1 - beta) * g
        if bias_correction:
            square, mean = square * T(1 / total), mean * T(1 / total)
        square = np.maximum(square - mean * mean, T(0))
    elif bias_correction and eps_inside_sqrt:
        square = square * T(1 / total)

    root = np.sqrt(square + T(eps)) if eps_inside_sqrt else np.sqrt(square)
    if bias_correction and not centered and not eps_inside_sqrt:
        root = root * T(1 / sqrt(total))
    if not eps_inside_sqrt:
        root = root + T(eps)

    if momentum:
        s["velocity"] = velocity = T(momentum) * s.get("velocity", zero) + g / root
        return p - T(lr) * velocity
    return p - (T(lr) * g) / root


def adam(p, g, s, t, *, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, amsgrad=False, **shared):
    T = p.dtype.type
    b1, b2 = betas
    p, g = prepare(p, g, lr, **shared)
    zero = np.zeros_like(p)
    s["m"] = m = T(b1) * s.get("m", zero) + T(1 - b1) * g
    s["v"] = v = T(b2) * s.get("v", zero) + T(1 - b2) * (g * g)
    if amsgrad:
        s["v_max"] = v = np.maximum(s.get("v_max", zero), v)
    return p - (T(lr / (1 - b1**t)) * m) / (np.sqrt(v) * T(1 / sqrt(1 - b2**t)) + T(eps))


def adamw(p, g, s, t, *, weight_decay=1e-2, **options):
    return adam(p, g, s, t, weight_decay=weight_decay, decoupled=True, **options)
