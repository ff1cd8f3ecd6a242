"""Which arrays batches are made of: axes, dicts, foreign ones, and ones that change meanwhile."""

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastoptim as fo

from support.orders import order

# Views


def test_views_cannot_eat_the_data_set():
    X, Y = np.arange(20.0).reshape(10, 2), np.arange(10)
    before = X.copy()
    batches = fo.MiniBatches(X, Y, batch_size=4, shuffle=False)
    for x, y in (batches.peek(), *batches):
        assert not x.flags.writeable and not y.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            x -= x.mean()
    assert np.array_equal(X, before) and X.flags.writeable


@pytest.mark.parametrize("view", [
    lambda x: x, lambda x: x.T, lambda x: x[::-2, 1::3], lambda x: np.broadcast_to(x[0], (7, 8)),
    lambda x: x.reshape(3, 2, 2, 4).transpose(2, 0, 3, 1), lambda x: x[:, :0],
    lambda x: x.view("f4"), lambda x: x.astype("S9"),
])
def test_views_are_slices(view):
    x = view(np.arange(48.0).reshape(6, 8))
    for axis in range(x.ndim):
        n = x.shape[axis]
        taken = list(fo.MiniBatches(x, batch_size=2, axis=axis, shuffle=False))
        assert len(taken) == -(-n // 2)
        for k, y in enumerate(taken):
            expected = x[(slice(None),) * axis + (slice(2 * k, 2 * k + 2),)]
            assert (y.dtype, y.shape, y.strides) == (x.dtype, expected.shape, expected.strides)
            assert y.__array_interface__["data"][0] == expected.__array_interface__["data"][0]
            assert np.array_equal(y, expected)


# Axes


def test_an_axis_from_the_end_is_each_arrays_own():
    X, y = np.arange(30).reshape(3, 10), np.arange(10)
    for axis in (-1, (1, 0), (-1, -1), [1, -1]):
        for a, b in fo.MiniBatches(X, y, batch_size=4, axis=axis):
            assert np.array_equal(a, X[:, b])
        for a, b in fo.MiniBatches(X, y, batch_size=4, axis=axis, shuffle=False):
            assert np.array_equal(a, X[:, b])
        x, z = X.copy(), y.copy()
        fo.shuffle_(x, z, axis=axis, seed=4)
        assert np.array_equal(z, order(10, 4)) and np.array_equal(x, X[:, z])


@given(data=st.data(), n=st.integers(0, 20))
def test_any_axes(data, n):
    arrays, axes = [], []
    for _ in range(data.draw(st.integers(1, 4))):
        shape = data.draw(st.lists(st.integers(0, 4), max_size=3))
        axis = data.draw(st.integers(0, len(shape)))
        shape.insert(axis, n)
        arrays.append(np.random.default_rng(0).random(shape))
        axes.append(axis - data.draw(st.sampled_from([0, len(shape)])))
    batches = fo.MiniBatches(*arrays, np.arange(n), batch_size=6, axis=(*axes, 0))
    for *parts, index in batches:
        for x, part, axis in zip(arrays, parts, axes):
            assert np.array_equal(part, np.take(x, index, axis))


@pytest.mark.parametrize(("axis", "error", "message"), [
    (1, ValueError, "axis must be in [-1, 0] for array 1 of shape (10,), got 1; "
                    "axis may be a tuple, one for each array"),
    (-2, ValueError, "axis must be in [-1, 0] for array 1 of shape (10,), got -2; "),
    ((1, 1), ValueError, "axis must be in [-1, 0] for array 1 of shape (10,), got 1"),
    ((1,), ValueError, "axis must be an integer or a tuple of 2, one for each array, got (1,)"),
    ((1, 0.0), TypeError, "axis must be an integer, got 0.0"),
    (0, ValueError, "arrays must have the same length along axis 0, got 3 for array 0, "
                    "10 for array 1; axis=(1, 0) would give 10 for each"),
    ((0, 0), ValueError, "arrays must have the same length along axis 0, got 3 for array 0, "),
    ((0, -1), ValueError, "arrays must have the same length along axis 0, got 3 for array 0, "),
])
def test_refused_axes(axis, error, message):
    X, y = np.arange(30).reshape(3, 10), np.arange(10)
    for use in (lambda: fo.MiniBatches(X, y, batch_size=2, axis=axis),
                lambda: fo.shuffle_(X, y, axis=axis)):
        with pytest.raises(error) as caught:
            use()
        assert str(caught.value).startswith(message)
    assert np.array_equal(X.ravel(), np.arange(30)) and np.array_equal(y, np.arange(10))


# Dicts


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_dict_gives_dicts(shuffle):
    X, y = np.random.default_rng(0).random((10, 3)), np.arange(10)
    batches = fo.MiniBatches({"x": X, "y": y}, batch_size=4, shuffle=shuffle, prefetch=1)
    assert list(batches.peek()) == ["x", "y"]
    for _ in range(2):
        taken = list(batches)
        assert len(taken) == 3
        for batch in taken:
            assert type(batch) is dict and list(batch) == ["x", "y"]
            assert np.array_equal(batch["x"], X[batch["y"]])
    assert [list(batch) for batch in fo.MiniBatches({"only": y}, batch_size=5)] == [["only"]] * 2


def test_shuffle_takes_a_dict():
    arrays = {"x": np.arange(12).reshape(2, 6), "y": np.arange(6)}
    fo.shuffle_(arrays, axis=-1, seed=1)
    assert np.array_equal(arrays["y"], order(6, 1))
    assert np.array_equal(arrays["x"][1], 6 + arrays["y"])


@pytest.mark.parametrize(("arrays", "error", "message"), [
    ([{}], ValueError, "arrays must be at least one, got none"),
    ([{1: np.arange(3)}], TypeError, "arrays must be named by strings, got 1"),
    ([{"x": np.arange(3)}, np.arange(3)], TypeError,
     "array 0 must be an array, got dict: a dict of arrays must come alone"),
    ([{"x": np.arange(3), "y": np.arange(4)}], ValueError,
     "arrays must have the same length along axis 0, got 3 for array 'x', 4 for array 'y'"),
    ([{"x": {"y": np.arange(3)}}], TypeError, "array 'x' must be an array, got dict"),
    ([[np.arange(3), np.arange(3)]], TypeError,
     "array 0 must be an array, got a list of arrays: unpack it, as MiniBatches(*arrays)"),
    ([[1, 2, 3]], TypeError, "array 0 must be an array (NumPy, buffer protocol or DLPack), got "
                             "list: np.array(...) makes one of numbers"),
])
def test_refused_collections(arrays, error, message):
    with pytest.raises(error) as caught:
        fo.MiniBatches(*arrays, batch_size=2)
    assert str(caught.value).startswith(message)


# Arrays of other libraries


class Shows:
    """Has __array__ alone, and gives its memory."""

    def __init__(self, x):
        self.x, self.calls = x, 0

    def __array__(self, dtype=None, copy=None):
        self.calls += 1
        return self.x


class Copies(Shows):
    def __array__(self, dtype=None, copy=None):
        return self.x.copy()


class Raises(Shows):
    def __array__(self, dtype=None, copy=None):
        raise ValueError("no copy, no array")


def test_what_shows_its_memory_is_taken():
    x = np.arange(10.0)
    batches = fo.MiniBatches(Shows(x), batch_size=3)
    x += 5
    assert np.array_equal(np.concatenate(list(batches)), order(10) + 5)
    p, q = np.zeros(10), np.zeros(10)
    fo.SGD(Shows(p), lr=1.0).step(Shows(x))
    fo.SGD(q, lr=1.0).step([x])
    assert np.array_equal(p, q) and p.any()


@pytest.mark.parametrize("kind", [Copies, Raises])
def test_what_cannot_show_its_memory_is_refused(kind):
    p, other = np.zeros(10), kind(np.arange(10.0))
    for use in (lambda: fo.MiniBatches(other, batch_size=3), lambda: fo.SGD([other]),
                lambda: fo.SGD([p]).step([other]), lambda: fo.ewma(other)):
        with pytest.raises(TypeError, match=r"must be an array \(NumPy, buffer protocol or "
                                            r"DLPack\), got "):
            use()


def test_columns_and_frames_of_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(np.arange(30.0).reshape(10, 3), columns=list("abc"))
    for x, a in fo.MiniBatches(frame, frame["a"], batch_size=4, shuffle=False):
        assert np.array_equal(x[:, 0], a)
    taken = np.concatenate(list(fo.MiniBatches(frame, batch_size=4)))
    assert np.array_equal(taken, frame.to_numpy()[order(10)])
    p = np.zeros((10, 3))
    fo.SGD(p, lr=1.0).step(frame)
    assert np.array_equal(p, -frame.to_numpy())

    mixed = pandas.DataFrame({"a": [1.0, 2.0], "b": [1, 2]})
    refuse_everywhere(mixed, "pandas.DataFrame: call its to_numpy() first")


def test_sparse_matrices_are_refused_by_name():
    sparse = pytest.importorskip("scipy.sparse")
    refuse_everywhere(sparse.csr_matrix(np.eye(2)),
                      "scipy.sparse.csr_matrix: call its toarray() first")
    refuse_everywhere(sparse.coo_array(np.eye(2)),
                      "scipy.sparse.coo_array: call its toarray() first")


def test_a_dataset_of_h5py_is_refused_by_name(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "file", "w") as file:
        file["x"] = np.eye(2)
        refuse_everywhere(file["x"], "h5py.Dataset: read it into memory first, with [:]")


def test_an_array_of_zarr_is_refused_by_name():
    zarr = pytest.importorskip("zarr")
    refuse_everywhere(zarr.array(np.eye(2)), "zarr.Array: read it into memory first, with [:]")


def refuse_everywhere(x, got):
    p = np.zeros((2, 2))
    rule = "must be an array (NumPy, buffer protocol or DLPack), got "
    for label, use in (("array 0", lambda: fo.MiniBatches(x, batch_size=1)),
                       ("array 'x'", lambda: fo.MiniBatches({"x": x}, batch_size=1)),
                       ("array 0", lambda: fo.shuffle_(x)),
                       ("parameter 0", lambda: fo.SGD(x)),
                       ("parameter 0", lambda: fo.SGD([x])),
                       ("parameter 'x'", lambda: fo.SGD({"x": x})),
                       ("grad 0", lambda: fo.SGD(p, x)),
                       ("grad 0", lambda: fo.SGD(p).step(x)),
                       ("grad 0", lambda: fo.SGD(p).step([x])),
                       ("x", lambda: fo.ewma(x))):
        with pytest.raises(TypeError) as caught:
            use()
        assert str(caught.value) == f"{label} {rule}{got}"
    assert not p.any()


def test_a_set_of_arrays_has_no_order():
    x = Shows(np.zeros(3))
    with pytest.raises(TypeError, match="params must be an array, a sequence or a mapping of arr"):
        fo.SGD({x})
    with pytest.raises(TypeError, match="grads must be an array, a sequence or a mapping of array"):
        fo.SGD([np.zeros(3)]).step({x})


# Arrays that change


class Stubborn(np.ndarray):
    """A subclass that wants nothing to do with NumPy's functions."""

    def __array_function__(self, function, types, args, kwargs):
        return NotImplemented


CHANGES = {
    "resized": lambda x: x.resize(10, refcheck=False),
    "grown": lambda x: x.resize(100_000, refcheck=False),
    "another shape": lambda x: setattr(x, "shape", (x.size, 1)),
    "another dtype": lambda x: setattr(x, "dtype", np.int64),
}


@pytest.mark.filterwarnings("ignore:Setting the:DeprecationWarning")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("options", [{}, dict(prefetch=1), dict(shuffle=False)], ids=str)
@pytest.mark.parametrize("kind", [np.ndarray, Stubborn])
def test_an_array_that_was_changed_is_refused_by_name(change, options, kind):
    x = kind((1000,))
    x[...] = 1
    batches = fo.MiniBatches(np.arange(1000), x, batch_size=50, **options)
    CHANGES[change](x)
    for use in (lambda: next(iter(batches)), batches.peek):
        with pytest.raises(ValueError, match="array 1 must stay the array that it was when the "
                                             "batches were made, got one whose size, shape, "
                                             "strides or dtype was changed"):
            use()


def test_an_array_that_was_changed_under_an_iterator_is_refused():
    x = np.arange(1000)
    iterator = iter(fo.MiniBatches(x, batch_size=50))
    next(iterator)
    x.resize(10, refcheck=False)
    with pytest.raises(ValueError, match="array 0 must stay the array that it was"):
        next(iterator)


@pytest.mark.parametrize("view", [lambda x: x, lambda x: x[2:], lambda x: x.view(Stubborn)])
def test_numpy_does_not_resize_what_the_background_thread_reads(view):
    memory = np.arange(1000)
    x = view(memory)
    batches = fo.MiniBatches(x, batch_size=50, prefetch=2)
    taken = []
    for batch in batches:
        taken.append(batch)
        with pytest.raises(ValueError, match="cannot resize"):
            memory.resize(10, refcheck=False)
    assert np.array_equal(np.concatenate(taken), np.asarray(x)[order(len(x))])
    del batches, batch, taken, x
    memory.resize(10, refcheck=False)


class Reshapes:
    """Changes another array when it is asked for itself."""

    def __init__(self, x, other, shape):
        self.x, self.other, self.new = x, other, shape

    def __array__(self, dtype=None, copy=None):
        self.other.resize(self.new, refcheck=False)
        return self.x


def test_an_array_that_changes_while_it_is_checked_is_not_read_past_its_end():
    for use in (lambda *arrays: fo.MiniBatches(*arrays, batch_size=50),
                lambda *arrays: fo.shuffle_(*arrays)):
        x, y = np.arange(1000), np.arange(1000)
        with pytest.raises(ValueError, match="arrays must have the same length"):
            use(x, Reshapes(y, x, 10))
    x = np.zeros((100, 100))
    with pytest.raises(ValueError, match="axis must name an axis of x, which has 1, got 1"):
        fo.ewma(x, axis=1, out=Reshapes(np.zeros((100, 100)), x, 10))


@pytest.mark.parametrize("options", [{}, dict(prefetch=2), dict(shuffle=False)], ids=str)
@pytest.mark.parametrize("under_way", [False, True])
def test_an_array_that_refers_to_its_batches_is_freed(options, under_way):
    class Own(np.ndarray):
        pass

    x = Own((1000,))
    x[...] = np.arange(1000)
    x.batches = fo.MiniBatches(x, batch_size=10, **options)
    if under_way:
        x.iterator = iter(x.batches)
        next(x.iterator)
    assert len(list(x.batches)) == 100
    gone = weakref.ref(x)
    del x
    gc.collect()
    assert gone() is None
