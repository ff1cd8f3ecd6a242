"""ewma equals fastoptim.reference byte for byte, wherever its arrays lie."""

import numpy as np
import pytest

import fastoptim as fo
from fastoptim.reference import ewma as reference

from support import child
from support.averages import digest, numbers
from support.cases import DTYPES
from support.refusal import refused

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_correction = pytest.mark.parametrize("bias_correction", [True, False])


def assert_same(got, expected):
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    assert got.tobytes() == expected.tobytes()


@each_dtype
@each_correction
@pytest.mark.parametrize("beta", [0, 0.5, 0.9, 0.98, 0.999999])
@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_one_series(n, beta, bias_correction, dtype):
    x = numbers(n, dtype)
    assert_same(fo.ewma(x, beta, bias_correction=bias_correction),
                reference(x, beta, bias_correction=bias_correction))


# One strip is 256 series; a few threads' worth is 32768 elements.
@each_dtype
@each_correction
@pytest.mark.parametrize("n_series", [1, 7, 255, 256, 257, 511, 513, 1500])
@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_many_series(n_series, axis, bias_correction, dtype):
    shape = (40, n_series) if axis % 2 == 0 else (n_series, 40)
    x = numbers(shape, dtype)
    assert_same(fo.ewma(x, axis=axis, bias_correction=bias_correction),
                reference(x, bias_correction=bias_correction, axis=axis))


LAYOUTS = {
    "C": lambda x: x,
    "F": lambda x: np.asfortranarray(x),
    "backwards": lambda x: x[::-1, ::-1, ::-1],
    "backwards in time": lambda x: x[::-1],
    "strided": lambda x: np.repeat(np.repeat(x, 3, 2), 2, 0)[::2, :, ::3],
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "swapped": lambda x: np.ascontiguousarray(x.swapaxes(0, 1)).swapaxes(0, 1),
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "field": lambda x: (lambda r: (r["x"].__setitem__(..., x), r["x"])[1])(
        np.zeros(x.shape, [("x", x.dtype), ("pad", x.dtype)])),
}


@each_dtype
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_of_several_axes(layout, axis, dtype):
    x = LAYOUTS[layout](numbers((13, 7, 300), dtype))
    kept = x.copy()
    assert_same(fo.ewma(x, axis=axis), reference(x, axis=axis))
    assert_same(x, kept)


@pytest.mark.parametrize("axis", [0, 1])
def test_broadcast_series(axis):
    x = np.broadcast_to(numbers(20, np.float64), (30, 20))
    assert_same(fo.ewma(x, axis=axis), reference(x, axis=axis))


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0,), (3, 0, 4), (1, 1, 1), (1, 6), (6, 1)])
def test_empty_and_thin_arrays(shape):
    x = numbers(shape, np.float64)
    for axis in range(len(shape)):
        assert_same(fo.ewma(x, axis=axis), reference(x, axis=axis))


@each_dtype
def test_any_number_of_threads(dtype):
    x = numbers((50, 3000), dtype)
    results = []
    for n in (1, 2, 3, 7):
        fo.set_num_threads(n)
        results.append(fo.ewma(x))
    for result in results:
        assert_same(result, reference(x))


@each_dtype
@pytest.mark.parametrize("layout", ["C", "F", "backwards", "strided", "field"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_in_place(axis, layout, dtype):
    x = LAYOUTS[layout](numbers((9, 5, 270), dtype))
    if not x.flags.writeable:
        x = x.copy()
    expected = reference(x, axis=axis)
    beside = None if x.base is None else x.base
    assert fo.ewma(x, axis=axis, out=x) is x
    assert_same(x, expected)
    if layout == "field":
        assert not beside["pad"].any()


@each_dtype
def test_out_may_lie_otherwise_and_its_neighbours_stay(dtype):
    x = numbers((40, 300), dtype)
    memory = np.full((300, 120), 7, dtype)
    out = memory.T[1:-1:3][:40, ::-1]
    assert out.shape == (40, 300)
    kept = memory.copy()
    assert fo.ewma(x, out=out) is out
    assert_same(out, reference(x))
    kept.T[1:-1:3][:40, ::-1] = out
    assert_same(memory, kept)


def test_out_may_lie_between_the_elements_of_x():
    memory = numbers(200, np.float64)
    x = memory[::2].copy()
    fo.ewma(memory[::2], out=memory[1::2])
    assert_same(memory[::2].copy(), x)
    assert_same(memory[1::2].copy(), reference(x))


def test_other_buffers():
    x = numbers(30, np.float64)
    assert_same(fo.ewma(memoryview(x)), reference(x))
    assert type(fo.ewma(x.view(np.recarray))) is np.ndarray


def test_a_buffer_that_gives_no_view_is_refused_by_name():
    x = memoryview(numbers(30, np.float64))
    x.release()
    with pytest.raises(TypeError, match="^x must be readable in place on the CPU, got memoryview"):
        fo.ewma(x)


@pytest.mark.long
def test_all_instruction_sets(isa):
    printed = child.run("from support.averages import *; print(digest(all_results()))",
                        FASTOPTIM_ISA=isa, FASTOPTIM_NUM_THREADS="2")
    expected = []
    for dtype in DTYPES:
        for bias_correction in (True, False):
            x = numbers((300, 9, 33), dtype)
            for axis in range(3):
                expected += [
                    reference(x, 0.99, axis=axis, bias_correction=bias_correction),
                    reference(x[:, ::-2], axis=axis, bias_correction=bias_correction)]
    assert printed.strip() == digest(expected)


@pytest.mark.parametrize("beta", [0, 0.5, 0.9, 0.999, 0.9999, 0.99999, 0.999999, 1 - 1e-9])
def test_the_average_of_a_constant_is_that_constant(beta):
    """In float32 it is off by 1e-5 to 1e-2 where the sum is kept in float32."""
    constants = np.array([1, 3, 0.1, -7.3, 1e-30, 1e30])
    for dtype in DTYPES:
        x = np.broadcast_to(constants.astype(dtype), (20_000, 6))
        y = fo.ewma(x, beta)
        assert np.array_equal(y[:, 0], x[:, 0])
        if dtype == "float32":
            assert_same(y, np.ascontiguousarray(x))
        else:
            assert np.allclose(y, x, rtol=1e-11, atol=0)


def test_without_correction_the_average_of_a_constant_starts_at_zero():
    average = fo.ewma(np.full(50, 3.0), 0.98, bias_correction=False)
    assert np.allclose(average, 3 * (1 - 0.98 ** np.arange(1, 51)))


@pytest.mark.parametrize("bias_correction", [True, False])
@pytest.mark.parametrize("beta", [0.9, 0.9999])
def test_float32_is_the_average_in_float64_rounded_once(beta, bias_correction):
    x = numbers((5000, 3), np.float32)
    exact = fo.ewma(x.astype(np.float64), beta, bias_correction=bias_correction)
    assert_same(fo.ewma(x, beta, bias_correction=bias_correction), exact.astype(np.float32))


X = np.ones((4, 3))
LOCKED = X.copy()
LOCKED.flags.writeable = False


@pytest.mark.parametrize("x, options, error, match", [
    (X, {"beta": 1}, ValueError, r"beta must be in \[0, 1\), got 1"),
    (X, {"beta": -0.1}, ValueError, r"beta must be in \[0, 1\), got -0\.1"),
    (X, {"beta": float("nan")}, ValueError, r"beta must be in \[0, 1\), got nan"),
    (X, {"beta": "0.9"}, TypeError, "beta must be a number, got '0.9'"),
    (X, {"beta": [0.9]}, TypeError, "beta must be a number"),
    (X, {"bias_correction": 1}, TypeError, "bias_correction must be True or False, got 1"),
    (X, {"axis": 2}, ValueError, "axis must name an axis of x, which has 2, got 2"),
    (X, {"axis": -3}, ValueError, "axis must name an axis of x, which has 2, got -3"),
    (X, {"axis": 10**30}, ValueError, "axis must name an axis of x, which has 2, got 1000"),
    (X, {"axis": 0.0}, TypeError, "axis must be an integer, got 0.0"),
    (X, {"axis": None}, TypeError, "axis must be an integer, got None"),
    (X, {"axis": True}, TypeError, "axis must be an integer, got True"),
    (np.float64(1), {}, ValueError, "axis must name an axis of x, which has 0, got 0"),
    (np.ones(()), {}, ValueError, "axis must name an axis of x, which has 0, got 0"),
    ([1.0, 2.0], {}, TypeError, r"x must be an array \(NumPy, buffer .*\), got list"),
    (np.ones(3, int), {}, TypeError, "x must have dtype float32 or float64 in native byte order, "
                                     "got int64"),
    (np.ones(3, np.float16), {}, TypeError, "x must have dtype .*, got float16"),
    (np.ones(3, object), {}, TypeError, "x must have dtype .*, got object"),
    (X.astype(X.dtype.newbyteorder()), {}, TypeError, "x must have dtype .* native byte order"),
    (np.ma.masked_array(X), {}, TypeError, "x must be a plain array, got a masked array"),
    (X, {"out": np.empty((3, 4))}, ValueError, r"out must have shape \(4, 3\), got \(3, 4\)"),
    (X, {"out": np.empty((4, 3), np.float32)}, TypeError,
     "out must have dtype float64 like x, got float32"),
    (X, {"out": LOCKED}, ValueError, "out must be writable, got a read-only array"),
    (X, {"out": [[0.0] * 3] * 4}, TypeError, "out must be an array .*, got list"),
    (X, {"out": np.ma.masked_array(X.copy())}, TypeError, "out must be a plain array"),
    (X, {"out": np.lib.stride_tricks.as_strided(X, (4, 3), (0, 8))}, ValueError,
     "out must not overlap itself"),
    (X, {"out": X[::-1]}, ValueError, r"x must not share memory with out \(unless it is x\)"),
    (np.zeros(33, np.uint8)[1:].view(np.float64), {}, ValueError,
     "x must be aligned to its item size"),
    (np.ones(4), {"out": np.zeros(33, np.uint8)[1:].view(np.float64)}, ValueError,
     "out must be aligned to its item size"),
])
def test_refused(x, options, error, match):
    kept = [a for a in (x, options.get("out")) if type(a) is np.ndarray and a.dtype != object]
    with refused(error, match, *kept):
        fo.ewma(x, **options)


@pytest.mark.parametrize("shift", [1, -1, 3])
def test_an_out_that_overlaps_x_without_being_x_is_refused(shift):
    memory = np.arange(60.0)
    x, out = (memory[5:-5], memory[5 + shift:len(memory) - 5 + shift])
    with refused(ValueError, r"x must not share memory with out \(unless it is x\)", memory):
        fo.ewma(x, out=out)
