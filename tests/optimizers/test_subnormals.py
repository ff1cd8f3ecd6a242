"""Subnormal states give the NumPy version's bytes, as all others do: cpp/kernels/subnormals.hpp."""

import platform

import numpy as np
import pytest

import fastoptim as fo

from support import child
from support.bits import assert_same_bytes
from support.cases import CASES, DTYPES, OPTIMIZERS, name_of, nonnegative_states

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


def assert_same(ours, states, expected, s):
    """Which NaN a parameter is, is the processor's affair."""
    is_nan = np.isnan(expected)
    assert (np.isnan(ours) == is_nan).all()
    assert_same_bytes((ours[~is_nan], states), (expected[~is_nan], s))


@pytest.mark.parametrize("case", CASES + EXTREME, ids=name_of)
@pytest.mark.parametrize("dtype", DTYPES)
def test_equals_numpy(case, dtype):
    rule, options = case
    optimizer, reference = OPTIMIZERS[rule]
    rng = np.random.default_rng(0)
    tiny = np.finfo(dtype).tiny
    p = some_of([0, -0.0, tiny / 3, -tiny, tiny * 1e9, 1e-25, -1e-10, 0.1, -1, 1e30], rng, dtype)
    g = np.zeros(N, dtype)
    ours = optimizer(p.copy(), g, **options)
    expected, s = p, {}
    for t in range(1, 7):
        if t % 2 == 1:
            for name, state in ours.state[0].items():
                state[:] = numbers(rng, dtype)
                if name in nonnegative_states(optimizer):
                    np.abs(state, out=state)
                s[name] = state.copy()
        g[:] = some_of([0, 0, 0, 0, 0, -0.0, tiny, tiny / 7, 1e-18, -0.1], rng, dtype)
        with np.errstate(all="ignore"):
            expected = reference(expected, g, s, t, **options)
        ours.step()
        assert_same(ours.params[0], ours.state[0], expected, s)


# The largest step that a subnormal moment makes, beside parameters that just do not feel it.
@pytest.mark.parametrize("eps", (0.5, 1.0, 1.5, 1.99, 4.0))
@pytest.mark.parametrize("factor", (0.5, 1, 2))
@pytest.mark.parametrize("rule", ("adam", "momentum", "rmsprop"))
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_largest_steps(dtype, rule, factor, eps):
    info = np.finfo(dtype)
    digits = info.nmant + 1
    eps = float(info.dtype.type(eps))
    lr = factor * 2.0**-digits * (1 + 2.0 ** (2 - digits))
    options = {"adam": {"betas": (0.0, 0.0), "eps": eps},
               "momentum": {"beta": 0.0, "dampening": 0.0},
               "rmsprop": {"beta": 0.0, "momentum": 0.5, "eps": eps}}[rule]
    optimizer, reference = OPTIMIZERS[rule]
    largest = np.nextafter(info.tiny, info.dtype.type(0))
    rng = np.random.default_rng(0)
    p = (info.tiny * 2.0 ** rng.integers(-1, 5, N)).astype(dtype)
    p[N // 4:] *= (1 + rng.random(N - N // 4)).astype(dtype)
    g = np.full(N, largest)
    ours = optimizer(p.copy(), g, lr=lr, **options)
    expected, s = p, {name: state.copy() for name, state in ours.state[0].items()}
    for t in (1, 2, 3):
        ours.params[0][:] = expected = p
        for name in s:
            ours.state[0][name][:] = s[name] = np.full(N, largest if name != "s" else 0, dtype)
        with np.errstate(all="ignore"):
            expected = reference(expected, g, s, t, lr=lr, **options)
        ours.step()
        assert_same(ours.params[0], ours.state[0], expected, s)


@pytest.mark.parametrize("stuck", (False, True))
@pytest.mark.parametrize("dtype", DTYPES)
def test_negative_zero_is_zero(dtype, stuck):
    """As an option. With a sign, it would show in what is multiplied by it or divided."""
    smallest = np.finfo(dtype).smallest_subnormal
    for rule, state, (p, g, m), options in [
        ("momentum", "v", (-0.0, -0.0, -smallest if stuck else -1.0), {"beta": -0.0}),
        ("adam", "m", (1.0, 0.0, 9 * smallest if stuck else 1.0), {"eps": -0.0}),
    ]:
        optimizer, reference = OPTIMIZERS[rule]
        ours = optimizer(np.full(N, p, dtype), np.full(N, g, dtype), lr=1.0, **options)
        ours.state[0][state][:] = m
        s = {name: x.copy() for name, x in ours.state[0].items()}
        with np.errstate(all="ignore"):
            expected = reference(np.full(N, p, dtype), np.full(N, g, dtype), s, 1, lr=1.0,
                                 **{name: abs(value) for name, value in options.items()})
        ours.step()
        assert_same_bytes((ours.params[0], ours.state[0]), (expected, s))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="no flag tells of them here")
@pytest.mark.parametrize("threads", (1, 3))
def test_a_step_looks_for_them_if_the_last_one_met_some(threads):
    """Seen by what the sweep is told, not by its time."""
    fo.set_num_threads(threads)
    g = np.full(500_000, 0.5, np.float32)
    ours = fo.Adam(np.ones_like(g), g)

    def looks(steps):
        found = []
        for _ in range(steps):
            ours.step()
            found.append(ours._core.looked_for_subnormals)
        return found

    assert looks(4) == [True, False, False, False]  # at first there may be some
    g[-3:] = 0
    ours.state[0]["m"][-3:] = 9 * np.finfo(np.float32).smallest_subnormal
    assert looks(3) == [False, True, True]
    ours.state[0]["m"][-3:] = 1
    assert looks(3) == [True, False, False]


def test_every_instruction_set(isa):
    done = child.python("-m", "pytest", "-q", "-k", "not instruction_set", __file__, timeout=300,
                        FASTOPTIM_ISA=isa)
    assert done.returncode == 0, done.stdout
