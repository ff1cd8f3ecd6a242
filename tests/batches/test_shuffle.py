"""shuffle_: the order of Permutation, in place, and nothing moved by a refused call."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastoptim as fo

from support import child


@given(n=st.integers(0, 500), seed=st.integers(0, 2**128 - 1), epoch=st.integers(0, 2**64 - 1))
def test_the_order_of_permutation(n, seed, epoch):
    x, y = np.arange(n), np.arange(3.0 * n).reshape(n, 3)
    before = y.copy()
    assert fo.shuffle_(x, y, seed=seed, epoch=epoch) is None
    order = fo.Permutation(n, seed, epoch)[:]
    assert np.array_equal(x, order)
    assert np.array_equal(y, before[order])


@pytest.mark.parametrize("n", [0, 1, 2, 65536, 65537, 200_000])
def test_sizes(n):
    x = np.arange(n, dtype=np.uint32)
    fo.shuffle_(x, seed=5)
    assert np.array_equal(x, fo.Permutation(n, 5)[:])


@pytest.mark.parametrize("view", [
    lambda x: x, lambda x: x.T, lambda x: x[:, ::-2], lambda x: x[::-3], lambda x: x[1:30, 1:2],
    lambda x: np.asfortranarray(x), lambda x: x.reshape(60, 2, 4).transpose(1, 2, 0),
    lambda x: x.astype("S3"), lambda x: x[:, :0], lambda x: x > 100,
])
def test_layouts(view):
    base = np.arange(480.0).reshape(60, 8)
    x = view(base)
    for axis in range(x.ndim):
        everything, expected = base.copy(), x.copy()
        order = fo.Permutation(x.shape[axis], 9)[:]
        expected = np.take(expected, order, axis)
        fo.shuffle_(x, seed=9, axis=axis)
        assert np.array_equal(x, expected)
        if np.shares_memory(x, base):  # what is not in the view stays
            outside = np.ones(base.shape, bool)
            marks = np.zeros(base.shape)
            view(marks)[...] = 1
            outside = marks == 0
            assert np.array_equal(base[outside], everything[outside])


def test_axis_1_moves_columns():
    x, y = np.arange(20.0).reshape(2, 10), np.arange(10)[None]
    fo.shuffle_(x, y, axis=-1, seed=2)
    assert np.array_equal(x, np.arange(20.0).reshape(2, 10)[:, y[0]])


MEMORY = """
import numpy as np, fastoptim as fo
def peak():
    return int([line for line in open("/proc/self/status") if "VmHWM" in line][0].split()[1])
fo.shuffle_(np.arange(1000))
x = np.arange(4_000_000)
before = peak()
fo.shuffle_(x)
print(peak() - before)
"""

@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="no /proc here")
def test_memory_is_a_bit_a_row():
    # KiB: 500 KB of bits, where an array of indices takes 32 MB.
    assert int(child.run(MEMORY)) < 4096


def refuse(arrays, error, message, **options):
    before = [np.array(x) for x in arrays]
    with pytest.raises(error) as caught:
        fo.shuffle_(*arrays, **options)
    assert str(caught.value).startswith(message)
    for x, y in zip(arrays, before, strict=True):
        assert np.array_equal(x, y)


def test_refusals():
    x = np.arange(10)
    frozen = np.arange(10)
    frozen.flags.writeable = False
    refuse([x, frozen], ValueError, "array 1 must be writable, got a read-only array")
    refuse([x, x], ValueError, "array 1 must not share memory with array 0")
    long = np.arange(20)
    refuse([long[:10], long[5:15]], ValueError, "array 1 must not share memory with array 0")
    refuse([np.lib.stride_tricks.as_strided(x, (5, 4), (8, 8))], ValueError,
           "array 0 must not overlap itself, got shape (5, 4) with strides (8, 8)")
    refuse([x, np.arange(9)], ValueError,
           "arrays must have the same length along axis 0, got 10 for array 0, 9 for array 1")
    refuse([x], ValueError, "axis must be in [-1, 0], got 1", axis=1)
    refuse([x], ValueError, "seed must be in [0, 2**128 - 1], got -1", seed=-1)
    refuse([x], ValueError, "epoch must be in [0, 2**64 - 1], got -1", epoch=-1)
    refuse([], ValueError, "arrays must be at least one, got none")
    refuse([np.array(3)], ValueError, "array 0 must have an axis of samples, got shape ()")
    with pytest.raises(TypeError, match="array 0 must be an array"):
        fo.shuffle_([1, 2, 3])
    fo.shuffle_(long[::2], long[1::2])  # interleaved, but apart
    assert sorted(long) == list(range(20))


def test_rows_as_large_as_a_batch_that_is_stored_past_the_caches():
    x = np.arange(3 * (2 << 20), dtype=np.float32).reshape(3, -1)
    expected = x[fo.Permutation(3, 1)[:]]
    fo.shuffle_(x, seed=1)
    np.testing.assert_array_equal(x, expected)
