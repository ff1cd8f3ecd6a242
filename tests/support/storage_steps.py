"""Steps on elements of fewer bytes, ours and the reference's."""

import hashlib
import json

import ml_dtypes
import numpy as np

import fastoptim as fo

from . import reference_storage
from .cases import OPTIMIZERS, OPTIONS, SHARED, nonnegative_states

NUMPY = {"float32": np.dtype(np.float32), "float16": np.dtype(np.float16),
         "bfloat16": np.dtype(ml_dtypes.bfloat16)}
STATES = ("float32", "bfloat16", "float16", "q8")

# (parameter, gradient, state)
COMBINATIONS = [(p, g, s) for p, g in [("float32", "float32"), ("float32", "bfloat16"),
                                       ("float32", "float16"), ("bfloat16", "bfloat16"),
                                       ("bfloat16", "float32"), ("float16", "float16"),
                                       ("float16", "float32")]
                for s in STATES][1:]
# Every kernel, with what all rules share spread over them.
CASES = [
    ("sgd", {}),
    ("momentum", {}),
    ("momentum", {"nesterov": True, **SHARED[0]}),
    ("rmsprop", {}),
    ("rmsprop", {"momentum": 0.9, **SHARED[1]}),
    ("rmsprop", {"centered": True}),
    ("rmsprop", {"centered": True, "momentum": 0.9}),
    ("adam", {}),
    ("adam", {"amsgrad": True, **SHARED[2]}),
    ("adamw", {}),
]
assert all(rule in OPTIONS for rule, _ in CASES)
# The states that take the unsigned law, of all variants of a rule.
SQUARES = {rule: squares for rule in OPTIONS
           if (squares := nonnegative_states(OPTIMIZERS[rule][0]))}


def cases_of(dtypes):
    """The cases that go with that: squares are not kept in float16."""
    return [case for case in CASES if dtypes[2] != "float16" or case[0] not in SQUARES]


def values(n, seed, steps):
    """A parameter and gradients of many magnitudes, some of them zero."""
    rng = np.random.default_rng((n, seed))
    scale = 10.0 ** rng.uniform(-5, 1, n)
    gradients = [((rng.random(n) - 0.5) * scale * (rng.random(n) < 0.9)).astype(np.float32)
                 for _ in range(steps)]
    return rng.standard_normal(n).astype(np.float32), gradients


def stored(x, dtype):
    """float32, or 16-bit patterns."""
    return x if dtype == "float32" else reference_storage.ENCODE[dtype](x)


def plain(x):
    """An array's bytes in the order of its elements, bfloat16 and the like as integers."""
    return np.ascontiguousarray(x).view(f"u{x.itemsize}")


def digest(p, states):
    sha = hashlib.sha256(plain(p).tobytes())
    for name in sorted(states):
        sha.update(name.encode() + plain(states[name]).tobytes())
    return sha.hexdigest()


def run_reference(case, dtypes, n, rounding="stochastic", seed=3, steps=6):
    """Two tensors: (p, states) of the second."""
    rule, options = case
    p, gradients = values(n, 0, steps)
    p, s = stored(p, dtypes[0]), {}
    for t, g in enumerate(gradients, 1):
        p = reference_storage.step(OPTIMIZERS[rule][1], p, stored(g, dtypes[1]), s, t,
                                   dtypes=dtypes, squares=SQUARES.get(rule, ()), seed=seed,
                                   tensor=1, rounding=rounding, **options)
    return p, s


def make(x, dtype, like=None):
    """x in NumPy's dtype, in an array of its own or in `like`."""
    made = np.empty(x.shape, NUMPY[dtype]) if like is None else like
    made[...] = stored(x, dtype).view(NUMPY[dtype]).reshape(made.shape)
    return made


def run_fastoptim(case, dtypes, n, rounding="stochastic", seed=3, steps=6, p=None, g=None):
    rule, options = case
    initial, gradients = values(n, 0, steps)
    p = make(initial, dtypes[0], p)
    g = np.empty(p.shape, NUMPY[dtypes[1]]) if g is None else g
    first = np.zeros(5, NUMPY[dtypes[0]])
    optimizer = OPTIMIZERS[rule][0]([first, p], [first.copy(), g], state_dtype=dtypes[2],
                                    rounding=rounding, seed=seed, **options)
    for t, values_of_g in enumerate(gradients):
        make(values_of_g, dtypes[1], g)
        if t == steps // 2:  # resumed by another, made with another seed
            saved = optimizer.state_dict()
            optimizer = OPTIMIZERS[rule][0]([first, p], [first.copy(), g], state_dtype=dtypes[2],
                                            **options)
            optimizer.load_state_dict(saved)
        optimizer.step()
    return p, optimizer.state[1]


def assert_same(got, expected):
    p, states = got
    assert states.keys() == expected[1].keys()
    for name, x, y in [("p", p, expected[0]),
                       *((name, states[name], expected[1][name]) for name in states)]:
        x, y = plain(x).ravel(), plain(y)
        differ = np.flatnonzero(x != y)
        assert not differ.size, f"{name} differs at {differ[:5]} of {x.size}: {x} != {y}"


# The same on every instruction set and for every number of threads.

LARGE = 33_001  # elements: enough for every thread to take part
BROAD = [(case, dtypes) for k, case in enumerate(CASES)
         for dtypes in COMBINATIONS[k % 3::3] if case in cases_of(dtypes)]


def print_digests():
    """Run in a process of its own for each instruction set and number of threads."""
    print(json.dumps({"isa": fo.build_info()["isa"], "threads": fo.get_num_threads(), "digests": [
        digest(*run_fastoptim(case, dtypes, LARGE, steps=2)) for case, dtypes in BROAD]}))


def expected_digests():
    return [digest(*run_reference(case, dtypes, LARGE, steps=2)) for case, dtypes in BROAD]
