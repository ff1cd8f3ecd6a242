"""Every rule and option equals its NumPy version byte for byte."""

import functools
import json

import numpy as np
import pytest

import fastoptim as fo
from fastoptim import reference

from support import child, step_digests
from support.bits import assert_same_bytes
from support.cases import (
    CASES,
    DTYPES,
    OPTIMIZERS,
    gradients,
    initial,
    name_of,
    run_fastoptim,
    run_reference,
)

each_case = pytest.mark.parametrize("case", CASES, ids=name_of)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


@functools.cache
def expected(name, n, dtype):
    """200 steps of the NumPy version, kept: many tests compare with the same ones."""
    case = next(case for case in CASES if name_of(case) == name)
    return run_reference(case, n, dtype)


@pytest.fixture(scope="module")
def expected_digests():
    return step_digests.expected_digests()


@pytest.mark.long
@pytest.mark.parametrize("threads", (1, 2, 3, 7))
def test_all_instruction_sets_and_threads(isa, threads, expected_digests):
    got = json.loads(child.run("from support import step_digests; step_digests.print_digests()",
                               timeout=300, FASTOPTIM_ISA=isa, FASTOPTIM_NUM_THREADS=str(threads)))
    assert (got["isa"], got["threads"]) == (isa, threads)
    differ = [k for k, value in expected_digests.items() if got["digests"][k] != value]
    assert not differ


# The large test says which case differs; this one shows how.
@each_case
@each_dtype
def test_contiguous(case, dtype):
    assert_same_bytes(run_fastoptim(case, 1000, dtype), expected(name_of(case), 1000, dtype))


@each_case
@each_dtype
def test_zeros_keep_their_sign(case, dtype):
    """-0.0 and 0.0 as parameters and gradients, in every pairing, for two steps."""
    rule, options = case
    p = np.repeat(np.array([0.0, -0.0], dtype), 300)
    g = np.tile(np.array([0.0, -0.0, 0.0], dtype), 200)
    ours, mine, s = p.copy(), p, {}
    opt = OPTIMIZERS[rule][0](ours, **options)
    for t in (1, 2):
        opt.step(g)
        with np.errstate(invalid="ignore"):  # 0/0 where eps is 0
            mine = OPTIMIZERS[rule][1](mine, g, s, t, **options)
    nan = np.isnan(mine)
    assert np.array_equal(np.isnan(ours), nan)
    assert ours[~nan].tobytes() == mine[~nan].tobytes()


@each_dtype
def test_a_maximum_that_is_nan_stays_nan(dtype):
    """As np.maximum does it: v_max has been NaN once, v is none any more."""
    p = initial(300, dtype)
    opt, s, expected = fo.Adam(p, amsgrad=True), {}, p.copy()
    for t, g in enumerate(gradients(300, dtype, 3), 1):
        if t == 2:
            for v_max in (opt.state[0]["v_max"], s["v_max"]):
                v_max[::3] = np.nan
        opt.step(g)
        expected = reference.adam(expected, g, s, t, amsgrad=True)
    nan = np.arange(300) % 3 == 0
    for x, y in ((p, expected), (opt.state[0]["v_max"], s["v_max"])):
        assert np.array_equal(np.isnan(x), nan)
        assert x[~nan].tobytes() == y[~nan].tobytes()


def at_offset(offset, n, dtype):
    """An array that lies `offset` bytes behind a cache line's start."""
    size = n * np.dtype(dtype).itemsize
    memory = np.zeros(size + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    return memory[start:start + size].view(dtype)


# Whole elements up to a cache line, and addresses that no element should lie at.
@pytest.mark.parametrize("offset", [*range(0, 64, 4), 1, 2, 3, 5, 7])
@each_dtype
def test_every_alignment(dtype, offset):
    for case in CASES:
        for n in (129, 1000):
            p, g = at_offset(offset, n, dtype), at_offset((3 * offset + 4) % 64, n, dtype)
            assert_same_bytes(run_fastoptim(case, n, dtype, 200, p, g),
                              expected(name_of(case), n, dtype))


# The shape of a base, and the 1000 elements of it that are the parameter.
LAYOUTS = {
    "F-ordered": ((40, 25), lambda base: base.T),
    "3-d F-ordered": ((25, 8, 5), lambda base: base.T),
    "axes permuted": ((8, 25, 5), lambda base: base.transpose(2, 0, 1)),
    "every third": (3000, lambda base: base[::3]),
    "backwards": (1000, lambda base: base[::-1]),
    "columns": ((100, 20), lambda base: base[:, 3:13]),
    "a block": ((14, 20, 16), lambda base: base[2:12, 0:20:2, 1:11]),
}
GRADIENT_LAYOUTS = {
    "C-ordered": lambda shape, dtype: np.empty(shape, dtype),
    "F-ordered": lambda shape, dtype: np.empty(shape, dtype, order="F"),
    "every third": lambda shape, dtype: np.empty((*shape, 3), dtype)[..., 0],
}
SENTINEL = 77.0


@pytest.mark.parametrize("gradient_layout", GRADIENT_LAYOUTS)
@pytest.mark.parametrize("layout", LAYOUTS)
@each_dtype
def test_layouts(dtype, layout, gradient_layout):
    shape, view = LAYOUTS[layout]
    for case in CASES:
        base = np.full(shape, SENTINEL, dtype)
        p = view(base)
        g = GRADIENT_LAYOUTS[gradient_layout](p.shape, dtype)
        assert_same_bytes(run_fastoptim(case, 1000, dtype, 200, p, g),
                          expected(name_of(case), 1000, dtype))
        p[...] = SENTINEL
        assert (base == SENTINEL).all(), "a neighbour was written"
