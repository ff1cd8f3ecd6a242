"""Whatever the layout and the options: steps equal NumPy, touch nothing else, or change nothing."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastoptim as fo
from fastoptim.rules import FAMILIES

from support.cases import CASES, OPTIMIZERS
from support.refusal import refused

in_general = settings(max_examples=80)

dtypes = st.sampled_from([np.float32, np.float64])
shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)


@st.composite
def layouts(draw, shape, broadcast=False):
    """A function from a dtype to (memory, a view of it with that shape).

    Axes lie in any order and direction, with gaps between their elements, from any byte.
    """
    order = draw(st.permutations(range(len(shape))))
    gaps = draw(st.lists(st.integers(1, 3), min_size=len(shape), max_size=len(shape)))
    backwards = draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    flat = draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    offset = draw(st.integers(0, 9))

    def make(dtype):
        stride, strides = np.dtype(dtype).itemsize, [0] * len(shape)
        for axis in order:
            if broadcast and flat[axis]:
                continue
            strides[axis] = stride * gaps[axis]
            stride *= gaps[axis] * max(shape[axis], 1)
        memory = np.random.default_rng(offset).integers(0, 256, stride + 10, np.uint8)
        x = np.ndarray(shape, dtype, memory, offset, strides)
        return memory, x[tuple(slice(None, None, -1 if b else 1) for b in backwards) + (...,)]

    return make


rates = st.one_of(st.just(0.0), st.floats(1e-12, 10.0))
unit = st.one_of(st.just(0.0), st.floats(1e-40, 0.9999))  # what float32 has, too
small = st.one_of(st.just(0.0), st.floats(1e-12, 1.0))
flags = st.booleans()
KINDS = {"fraction": unit, "optional_fraction": unit, "nonnegative": small, "flag": flags,
         "pair": st.tuples(unit, unit)}


def options_of(make):
    """Any options of an optimizer that go together, beside its defaults."""
    def together(options):
        left_out = {"decoupled"} if make is fo.AdamW else set()  # whose reference sets it
        left_out |= {"bias_correction"} if "dampening" in options else set()
        return {name: value for name, value in options.items() if name not in left_out}

    kinds = FAMILIES[make._kernel].kinds
    own = {name: KINDS[kind] for name, kind in kinds.items()}
    return st.fixed_dictionaries({}, optional={"lr": rates} | own).map(together)


OPTIONS = {rule: options_of(make) for rule, (make, _) in OPTIMIZERS.items()}


def test_every_rule_is_here():
    assert set(OPTIMIZERS) == {rule for rule, _ in CASES}


def values(rng, shape, dtype):
    return (rng.standard_normal(shape) * 10.0 ** rng.uniform(-4, 4, shape)).astype(dtype)


@pytest.mark.parametrize("rule", OPTIONS)
@in_general
@given(data=st.data())
def test_a_step_is_that_of_numpy_and_touches_nothing_else(rule, data):
    ours, reference = OPTIMIZERS[rule]
    shape, dtype = data.draw(shapes), data.draw(dtypes)
    memory, p = data.draw(layouts(shape))(dtype)
    options = data.draw(OPTIONS[rule])
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    p[...] = values(rng, shape, dtype)
    outside = np.ones(memory.shape, bool)
    start = p.__array_interface__["data"][0] - memory.ctypes.data
    if p.size:
        np.ndarray(p.shape, f"V{p.itemsize}", outside, start, p.strides)[...] = bytes(p.itemsize)
        assert (~outside).sum() == p.nbytes
    beside = memory[outside].copy()
    expected, states = p.copy(), {}

    opt = ours(p, **options)
    with np.errstate(all="ignore"):
        for t in range(1, data.draw(st.integers(1, 4)) + 1):
            g_memory, g = data.draw(layouts(shape, broadcast=True))(dtype)
            g[...] = values(rng, shape, dtype)
            g_before = g_memory.copy()
            opt.step([g])
            expected = np.asarray(reference(expected, np.array(g), states, t, **options), dtype)
            assert np.array_equal(g_memory, g_before)

    np.testing.assert_array_equal(p, expected)  # NaN where NumPy has NaN
    for name, x in opt.state[0].items():
        np.testing.assert_array_equal(x, np.asarray(states[name], dtype))
    assert np.array_equal(memory[outside], beside)


@in_general
@given(data=st.data())
def test_any_layout_is_updated_exactly_or_refused_for_overlapping_itself(data):
    shape = tuple(data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=3)))
    strides = tuple(data.draw(st.lists(st.integers(-20, 20), min_size=len(shape),
                                       max_size=len(shape))))
    low = sum(min(0, (n - 1) * s) for n, s in zip(shape, strides) if n)
    high = sum(max(0, (n - 1) * s) for n, s in zip(shape, strides) if n)
    memory = np.zeros(high - low + 4, np.uint8)
    p = np.ndarray(shape, np.float32, memory, -low, strides)
    bytes_of = [-low + sum(i * s for i, s in zip(index, strides)) + k
                for index in np.ndindex(*shape) for k in range(4)]
    g = np.ones(shape, np.float32)
    if len(set(bytes_of)) < len(bytes_of):
        with refused(ValueError, "parameter 0 must not overlap itself", memory):
            fo.SGD(p, lr=1.0)
    else:
        fo.SGD(p, lr=1.0).step([g])
        assert (p == -1).all()
        assert not np.delete(memory, bytes_of).any()


@in_general
@given(data=st.data())
def test_two_views_are_stepped_exactly_or_refused_for_sharing_memory(data):
    memory = np.zeros(24)
    index = np.arange(24)
    slices = st.builds(slice, st.integers(-24, 24), st.integers(-24, 24),
                       st.integers(-5, 5).filter(bool))
    a, b = data.draw(slices), data.draw(slices)
    shares = bool(set(index[a]) & set(index[b]))
    if shares:
        with refused(ValueError, "must not share memory with", memory):
            fo.SGD([memory[a], memory[b]], lr=1.0)
    else:
        opt = fo.SGD([memory[a], memory[b]], lr=1.0)
        opt.step([np.full(len(index[a]), 1.0), np.full(len(index[b]), 2.0)])
        assert (memory[a] == -1).all() and (memory[b] == -2).all()
        assert not np.delete(memory, [*index[a], *index[b]]).any()


def spoiled(data, p):
    """A gradient for p that is wrong in some way."""
    g = np.ones(p.shape, p.dtype)
    other = np.float64 if p.dtype == np.float32 else np.float32
    return data.draw(st.sampled_from([
        g.astype(other), g.astype(np.int32), g.astype(object), g.astype(complex), g.astype(bool),
        g.astype(g.dtype.newbyteorder()), np.ones((*p.shape, 2), p.dtype), np.ones(7, p.dtype),
        np.ma.masked_array(g), g.tolist(), None, "gradient", 1.0, p, p[::-1],
    ]))


@pytest.mark.parametrize("rule", OPTIONS)
@in_general
@given(data=st.data())
def test_bad_input_never_changes_anything(rule, data):
    make = OPTIMIZERS[rule][0]
    dtype = data.draw(dtypes)
    params = {name: np.full(n, 2, dtype) for name, n in zip("abcdef", (1, 3, 130, 5, 2, 9))}
    good = {name: np.ones(p.shape, dtype) for name, p in params.items()}
    opt = make(params, **data.draw(OPTIONS[rule]))
    with np.errstate(all="ignore"):
        for _ in range(data.draw(st.integers(0, 2))):
            opt.step(good)
    grads = dict(good)
    kind = data.draw(st.sampled_from(["array", "missing", "extra", "lr", "number"]))
    if kind == "array":
        name = data.draw(st.sampled_from("abcdef"))
        grads[name] = spoiled(data, params[name])
    if kind == "missing":
        del grads[data.draw(st.sampled_from("abcdef"))]
    if kind == "extra":
        grads["g"] = np.ones(1, dtype)
    if kind == "number":
        grads = list(grads.values())[:data.draw(st.integers(0, 5))]
    if kind == "lr":
        bad = data.draw(st.sampled_from([math.nan, math.inf, -1.0, "1", None, 1j]))
        opt.lr = lambda step: bad
    if data.draw(st.booleans()) and isinstance(grads, dict):
        grads = dict(reversed(grads.items()))
    with refused((TypeError, ValueError), "must", opt, *params.values()):
        opt.step(grads)


@in_general
@given(data=st.data())
def test_ewma_is_that_of_numpy_for_any_layout(data):
    shape = data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=3).map(tuple))
    dtype, beta = data.draw(dtypes), data.draw(unit)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    memory, x = data.draw(layouts(shape, broadcast=True))(dtype)
    if not x.flags.aligned:
        with refused(ValueError, "x must be aligned to its item size", memory):
            fo.ewma(x, beta, axis=axis)
        return
    x[...] = values(np.random.default_rng(0), shape, dtype)
    np.testing.assert_array_equal(fo.ewma(x, beta, axis=axis),
                                  fo.reference.ewma(x, beta, axis=axis))
