"""Subnormal states give the NumPy version's bytes, as all others do: cpp/kernels/subnormals.hpp."""

import os
import subprocess
import sys

import numpy as np
import pytest
from test_bits import assert_same_bytes

import fastoptim as fo

from cases import CASES, DTYPES, OPTIMIZERS, name_of

N = 5000
EXTREME = [("adam", {"lr": lr, "eps": eps, "betas": betas})
           for lr in (0.0, 1e-30, 1e10) for eps in (0.0, 1e-45, 1e-30, 1.0)
           for betas in ((0.9, 0.999), (0.0, 0.0))]
EXTREME += [("momentum", {"lr": lr, "beta": beta})
            for lr in (0.0, 1e-30, 1e20) for beta in (0.0, 0.5, 0.999999)]
EXTREME += [("rmsprop", {"eps": eps, "eps_inside_sqrt": inside, "beta": beta,
                        "bias_correction": True})
            for eps in (0.0, 1e-30, 1e-8) for inside in (False, True) for beta in (0.9, 0.9999999)]


def some_of(values, rng, dtype):
    return rng.choice(np.array(values, dtype), N)


def numbers(rng, dtype):
    """Of both signs and of all sizes; half of them subnormal, most of those stuck."""
    info = np.finfo(dtype)
    kinds = [rng.integers(1, 9, N) * info.smallest_subnormal,
             rng.random(N).astype(dtype) * info.tiny,
             np.zeros(N, dtype),
             (1 + rng.random(N).astype(dtype)) * info.tiny,
             rng.random(N).astype(dtype)]
    kind = rng.choice(len(kinds), N, p=(0.4, 0.1, 0.1, 0.1, 0.3))
    return np.choose(kind, kinds).astype(dtype) * rng.choice(np.array([-1, 1], dtype), N)


@pytest.mark.parametrize("case", CASES + EXTREME, ids=name_of)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.filterwarnings("ignore:.*(divide|invalid|overflow|underflow)")
def test_equals_numpy(case, dtype):
    rule, options = case
    optimizer, reference = OPTIMIZERS[rule]
    rng = np.random.default_rng(0)
    tiny = np.finfo(dtype).tiny
    p = some_of([0, -0.0, tiny / 3, -tiny, tiny * 1e9, 1e-25, -1e-10, 0.1, -1, 1e30], rng, dtype)
    g = some_of([0, 0, 0, 0, 0, -0.0, tiny, tiny / 7, 1e-18, -0.1], rng, dtype)
    ours = optimizer(p.copy(), g, **options)
    expected, s = p, {}
    for name, state in ours.state[0].items():
        state[:] = numbers(rng, dtype)
        if name in ("s", "v_max") or (name == "v" and rule != "momentum"):  # averages of squares
            np.abs(state, out=state)
        s[name] = state.copy()
    for t in range(1, 7):
        g[:] = some_of([0, 0, 0, 0, 0, -0.0, tiny, tiny / 7, 1e-18, -0.1], rng, dtype)
        with np.errstate(all="ignore"):
            expected = reference(expected, g, s, t, **options)
        ours.step()
        finite = np.isfinite(expected)
        assert (np.isnan(ours_p := ours.params[0]) == np.isnan(expected)).all()
        assert_same_bytes((ours_p[finite], ours.state[0]), (expected[finite], s))


@pytest.mark.parametrize("isa", fo.build_info()["isa_available"])
def test_every_instruction_set(isa):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "test_equals_numpy", __file__],
        env={**os.environ, "FASTOPTIM_ISA": isa}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
