"""The one table of rules and options: a rule that stands here gets every common test."""

import functools
import hashlib

import numpy as np

import fastoptim as fo
from fastoptim import reference
from fastoptim.rules import FAMILIES

OPTIMIZERS = {
    "sgd": (fo.SGD, reference.sgd),
    "momentum": (fo.Momentum, reference.momentum),
    "rmsprop": (fo.RMSProp, reference.rmsprop),
    "adam": (fo.Adam, reference.adam),
    "adamw": (fo.AdamW, reference.adamw),
}

FUNCTIONS = {"sgd": fo.sgd_, "momentum": fo.momentum_, "rmsprop": fo.rmsprop_, "adam": fo.adam_}

OPTIONS = {
    "sgd": [{}],
    "momentum": [
        {},
        {"bias_correction": True},
        {"nesterov": True},
        {"nesterov": True, "bias_correction": True},
        {"dampening": 0.0},
        {"dampening": 0.25, "nesterov": True},
        {"dampening": 0.25, "dampen_first": False},
    ],
    "rmsprop": [
        {"centered": centered, "momentum": momentum, "bias_correction": correction,
         "eps_inside_sqrt": inside}
        for centered in (False, True)
        for momentum in (0.0, 0.9)
        for correction in (False, True)
        for inside in (False, True)
    ],
    "adam": [{}, {"amsgrad": True}, {"betas": (0.0, 0.5), "eps": 0.0}],
    "adamw": [{}, {"amsgrad": True, "weight_decay": 0.1}],
}
SHARED = [{"weight_decay": 0.1}, {"weight_decay": 0.1, "decoupled": True}, {"maximize": True}]

# Each option set alone, then each rule with what all rules share.
CASES = [(rule, options) for rule in OPTIONS for options in OPTIONS[rule]]
CASES += [(rule, {**OPTIONS[rule][-1], **shared})
          for rule in OPTIONS if rule != "adamw" for shared in SHARED]

DTYPES = ("float32", "float64")


def nonnegative_states(make):
    """The states of an optimizer that are never negative, of all variants of its rule."""
    variants = FAMILIES[make._kernel].variants.values()
    return {state for facts in variants for state in facts.nonnegative_states}


def name_of(case):
    rule, options = case
    return "-".join([rule, *(f"{name}={value}" for name, value in options.items())])


@functools.lru_cache(maxsize=4)
def gradients(n, dtype, steps):
    """Random gradients of many magnitudes: each element has one of its own, 1e-6 to 1e3."""
    rng = np.random.default_rng((n, steps))
    scale = 10.0 ** rng.uniform(-6, 3, n)
    return [((rng.random(n) - 0.5) * scale).astype(dtype) for _ in range(steps)]


def initial(n, dtype):
    return np.random.default_rng(n).standard_normal(n).astype(dtype)


def run_reference(case, n, dtype, steps=200):
    """(p, states) after that many steps of the NumPy version."""
    rule, options = case
    p, s = initial(n, dtype), {}
    for t, g in enumerate(gradients(n, dtype, steps), 1):
        p = OPTIMIZERS[rule][1](p, g, s, t, **options)
    return p, s


def run_fastoptim(case, n, dtype, steps=200, p=None, g=None):
    """(p, states) after that many steps of ours, in p and g of any layout if given."""
    rule, options = case
    p = np.empty(n, dtype) if p is None else p
    g = np.empty(n, dtype) if g is None else g
    p[...] = initial(n, dtype).reshape(p.shape)
    optimizer = OPTIMIZERS[rule][0](p, g, **options)
    for values in gradients(n, dtype, steps):
        g[...] = values.reshape(g.shape)
        optimizer.step()
    return p, optimizer.state[0]


def digest(p, states):
    """A hash of every byte of a result, in C order."""
    sha = hashlib.sha256(p.tobytes())
    for name in sorted(states):
        sha.update(name.encode() + states[name].tobytes())
    return sha.hexdigest()


assert len({name_of(case) for case in CASES}) == len(CASES)
