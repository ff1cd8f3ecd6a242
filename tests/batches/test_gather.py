"""Batches hold exactly the bytes of their rows: any dtype, layout, axis and number of threads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastoptim as fo

STRUCT = np.dtype([("a", "u1"), ("b", "f8"), ("c", "S3")])
DTYPES = ["bool", "i1", "u2", ">i4", "f2", "f4", ">f8", "c16", "S5", "U3", "M8[s]", STRUCT]


def filled(shape, dtype):
    """An array of that shape and dtype with varied bytes."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape))
    if dtype.kind == "b":
        return (np.arange(size) % 3 == 0).reshape(shape)
    x = np.random.default_rng(0).integers(0, 128, size * dtype.itemsize, np.uint8)
    return x.view(dtype).reshape(shape)


def one_epoch(x, axis, batch_size=7, **options):
    return list(fo.MiniBatches(x, batch_size=batch_size, axis=axis, **options))


def check(x, axis, batch_size=7, seed=3):
    n = x.shape[axis]
    batches = one_epoch(x, axis, batch_size, seed=seed)
    order = fo.Permutation(n, seed)[:]
    assert len(batches) == -(-n // batch_size)
    for k, batch in enumerate(batches):
        expected = np.take(x, order[k * batch_size : (k + 1) * batch_size], axis)
        assert batch.dtype == x.dtype and batch.shape == expected.shape
        assert batch.tobytes() == expected.tobytes()
        assert batch.flags.writeable and batch.flags.aligned


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(50,), (50, 1), (50, 3), (50, 4, 5), (50, 0), (1, 9)])
@pytest.mark.parametrize("order", "CF")
def test_dtypes_and_orders(dtype, shape, order):
    x = np.asarray(filled(shape, dtype), order=order)
    for axis in range(x.ndim):
        check(x, axis)


VIEWS = {
    "every second element": lambda x: x[:, ::2],
    "backwards": lambda x: x[::-1, ::-1],
    "every third row, backwards": lambda x: x[::-3],
    "a column": lambda x: x[:, 2],
    "a window": lambda x: x[5:40, 1:4],
    "axes swapped": lambda x: x.T,
    "three axes": lambda x: x[:, :6].reshape(60, 2, 3)[:, ::-1],
    "three axes, inner swapped": lambda x: x[:, :6].reshape(60, 2, 3).transpose(0, 2, 1),
    "rows in the middle": lambda x: x[:, :6].reshape(60, 2, 3).transpose(1, 0, 2),
    "broadcast rows": lambda x: np.broadcast_to(x[0], (60, 8)),
    "broadcast columns": lambda x: np.broadcast_to(x[:, :1], (60, 8)),
    "unaligned": lambda x: x.view(np.uint8).reshape(60, -1)[:, 1:33].view("f4"),
}


@pytest.mark.parametrize("view", VIEWS)
def test_views(view):
    x = VIEWS[view](filled((60, 8), "f8"))
    for axis in range(x.ndim):
        check(x, axis)


@given(shape=hnp.array_shapes(max_dims=4, max_side=9), data=st.data())
def test_any_layout(shape, data):
    x = filled([2 * side for side in shape], data.draw(st.sampled_from(DTYPES)))
    x = x.transpose(data.draw(st.permutations(range(x.ndim))))
    x = x[tuple(slice(None, None, data.draw(st.sampled_from([1, 2, -1, -2]))) for _ in shape)]
    check(x, data.draw(st.integers(0, x.ndim - 1)), data.draw(st.integers(1, 10)))


@pytest.mark.parametrize("row", [1, 2, 3, 4, 8, 15, 16, 17, 32, 63, 64, 65, 128, 129, 1000, 5000])
def test_row_sizes(row):
    check(filled((200, row), "u1"), 0, batch_size=64)


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 1023, 1024, 1025, 2048, 2049, 70_001])
@pytest.mark.parametrize("axis", [0, 1])
def test_every_thread_count_gives_the_same_bytes(n, axis):
    x = filled((n, 16) if axis == 0 else (16, n), "f4")
    for count in (1, 2, 3, 7):
        fo.set_num_threads(count)
        check(x, axis, batch_size=n)
        check(x, axis, batch_size=max(1, n - 1))


def test_arrays_in_unison_keep_their_layouts():
    n = 1000
    x = np.asfortranarray(filled((6, n), "f4"))
    y = np.arange(n)
    z = np.arange(3 * n).reshape(n, 3)
    for a, b in fo.MiniBatches(x.T, y, batch_size=64):
        assert np.array_equal(a, x.T[b])
        assert a.flags.c_contiguous
    for a, b in fo.MiniBatches(z.T, y[None], batch_size=64, axis=1):
        assert np.array_equal(a, z.T[:, b[0]])
        assert a.flags.f_contiguous  # a sample's values stay together, as they are in z


def test_the_source_is_read_only_and_untouched():
    x = filled((100, 3), "f8")
    before = x.copy()
    x.flags.writeable = False
    for batch in fo.MiniBatches(x, batch_size=9):
        batch[...] = 0
    assert np.array_equal(x, before)


@pytest.mark.parametrize("dtype", ["O", [("a", "f4"), ("b", "O")]])
def test_objects_are_refused(dtype):
    x = np.zeros(4, dtype)
    with pytest.raises(TypeError, match="array 1 must not hold Python objects, got dtype"):
        fo.MiniBatches(np.arange(4), x, batch_size=2)
    with pytest.raises(TypeError, match="array 0 must not hold Python objects, got dtype"):
        fo.shuffle_(x)


def test_strings_of_any_length_are_refused():
    x = np.array(["a", "b"], np.dtypes.StringDType())
    with pytest.raises(TypeError, match="array 0 must not hold Python objects, got dtype"):
        fo.MiniBatches(x, batch_size=2)
