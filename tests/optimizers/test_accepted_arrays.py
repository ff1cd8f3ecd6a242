"""What a step accepts: arrays of any layout, and buffers of other kinds."""

import array
import ctypes

import numpy as np
import pytest

import fastoptim as fo

from support.cases import DTYPES, OPTIMIZERS
from support.foreign import Tensor
from support.refusal import refused

# Where an array lies. Each makes, from a flat array of 480 elements, a view of it.

LAYOUTS = {
    "0-d": lambda x: x[7:8].reshape(()),
    "0-d, as a subscript gives it": lambda x: x.reshape(20, 24)[3, 4, ...],
    "one": lambda x: x[7:8],
    "empty": lambda x: x[5:5],
    "empty, several axes": lambda x: x.reshape(20, 24)[3:3, ::-5],
    "flat": lambda x: x,
    "C": lambda x: x.reshape(4, 6, 20),
    "F": lambda x: x.reshape(20, 24, order="F"),
    "transposed": lambda x: x.reshape(4, 6, 20).transpose(1, 2, 0),
    "offset": lambda x: x[3:-2],
    "backwards": lambda x: x[::-1],
    "backwards, strided": lambda x: x[-2::-3],
    "every second": lambda x: x[::2],
    "rows": lambda x: x.reshape(20, 24)[::3],
    "column": lambda x: x.reshape(20, 24)[:, 5],
    "columns": lambda x: x.reshape(20, 24)[:, 3:-3:4],
    "inner block": lambda x: x.reshape(20, 24)[2:-3, 5:-1],
    "both ways": lambda x: x.reshape(20, 24)[::-2, ::-5],
    "F, inner block": lambda x: x.reshape(20, 24, order="F")[3:-1, 2:-2],
    "axes of length 1": lambda x: x.reshape(1, 20, 1, 24, 1)[:, ::2],
    "axes of length 1, strange strides": lambda x: np.lib.stride_tricks.as_strided(
        x, (1, 480, 1), (10**9, x.itemsize, -7)),
    "64 axes": lambda x: x.reshape((1,) * 30 + (20,) + (1,) * 32 + (24,))[..., ::-1],
    "interleaved axes": lambda x: np.lib.stride_tricks.as_strided(
        x, (2, 3), (3 * x.itemsize, 2 * x.itemsize)),  # no axis lies within the other
}
each_layout = pytest.mark.parametrize("view", LAYOUTS.values(), ids=list(LAYOUTS))
each_dtype = pytest.mark.parametrize("dtype", DTYPES)

RULES = [("sgd", {}), ("momentum", {"nesterov": True, "weight_decay": 0.1}),
         ("rmsprop", {"centered": True, "momentum": 0.9}), ("adam", {"amsgrad": True})]
each_rule = pytest.mark.parametrize("rule, options", RULES, ids=[rule for rule, _ in RULES])


def numbers(n, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(n).astype(dtype)


def check_steps(rule, options, memory, view, gradient, steps=3):
    """That steps on view(memory) change it as NumPy does, and no other byte of memory.

    gradient: from t, counted from 1, to the gradient of that step.
    """
    optimizer, reference = OPTIMIZERS[rule]
    p, again = view(memory), memory.copy()
    expected, states = p.copy(), {}
    opt = optimizer(p, **options)
    for t in range(1, steps + 1):
        g = gradient(t)
        before = g.copy()
        opt.step([g])
        expected = np.asarray(reference(expected, g, states, t, **options), p.dtype)
        assert np.array_equal(g, before)
    view(again)[...] = expected
    assert memory.tobytes() == again.tobytes()
    for name, x in opt.state[0].items():
        assert x.tobytes() == np.asarray(states[name], p.dtype).tobytes()


@each_rule
@each_dtype
@each_layout
def test_parameters_are_updated_where_they_lie(view, dtype, rule, options):
    memory = numbers(480, dtype)
    shape = view(memory).shape
    check_steps(rule, options, memory, view, lambda t: np.asarray(numbers(shape, dtype, t)))


@each_rule
@each_layout
def test_gradients_may_lie_anywhere(view, rule, options):
    shape = view(numbers(480, np.float32)).shape
    memory = numbers(shape, np.float32).reshape(shape)
    check_steps(rule, options, memory, lambda x: x, lambda t: view(numbers(480, np.float32, t)))


OF_ONE_SHAPE = {  # (20, 24) in different ways
    "C": lambda x: x.reshape(20, 24),
    "F": lambda x: x.reshape(20, 24, order="F"),
    "backwards": lambda x: x.reshape(20, 24)[::-1, ::-1],
    "transposed": lambda x: x[::-1].reshape(24, 20).T,
    "one column for all": lambda x: np.broadcast_to(x[:20, None], (20, 24)),
    "one row for all": lambda x: np.broadcast_to(x[::20], (20, 24)),
    "one number for all": lambda x: np.broadcast_to(x[3], (20, 24)),
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(20, 24),
}


@each_rule
@pytest.mark.parametrize("p_view", ["C", "F", "backwards", "transposed"])
def test_gradients_may_lie_otherwise_than_their_parameter_and_change_from_step_to_step(
        p_view, rule, options):
    views = [*OF_ONE_SHAPE.values()]

    def gradient(t):
        return views[t // 2 % len(views)](numbers(480, np.float64, t))  # each twice

    check_steps(rule, options, numbers(480, np.float64), OF_ONE_SHAPE[p_view], gradient,
                steps=2 * len(views) + 1)


@each_rule
@each_dtype
@pytest.mark.parametrize("offset", [1, 2, 3, 5])
def test_byte_misaligned_arrays(offset, dtype, rule, options):
    def misaligned(values):
        memory = np.zeros(values.nbytes + 8, np.uint8)
        view(memory)[:] = values
        return memory

    def view(memory):
        x = memory[offset:offset - 8].view(dtype)
        assert not x.flags.aligned
        return x

    check_steps(rule, options, misaligned(numbers(300, dtype)), view,
                lambda t: view(misaligned(numbers(300, dtype, t))))


@each_rule
@each_dtype
def test_fields_of_structured_arrays(dtype, rule, options):
    kind = np.dtype([("name", "S3"), ("x", dtype), ("y", dtype), ("inner", dtype, (2,))])
    memory = np.zeros(60, kind)
    memory["name"], memory["x"], memory["y"] = b"abc", numbers(60, dtype), numbers(60, dtype, 9)

    def gradient(t):
        g = np.zeros(60, kind)
        g["y"] = numbers(60, dtype, t)
        return g["y"]

    check_steps(rule, options, memory, lambda x: x["x"], gradient)


def test_subarrays_of_structured_arrays():
    memory = np.zeros(5, [("a", "i1"), ("w", np.float32, (2, 3))])
    fo.SGD(memory["w"], lr=1.0).step(np.ones((5, 2, 3), np.float32))
    assert (memory["w"] == -1).all() and not memory["a"].any()


@pytest.mark.parametrize("part", [lambda x: x.real, lambda x: x.imag], ids=["real", "imag"])
def test_parts_of_complex_arrays(part):
    memory = np.full(40, 2 + 3j)
    expected = memory.copy()
    part(expected)[:] -= 1
    fo.SGD(part(memory), lr=1.0).step(np.ones(40))
    assert memory.tobytes() == expected.tobytes()


@pytest.mark.parametrize("mode, in_file", [("r+", -1.0), ("c", 0.0)])
def test_memory_maps(tmp_path, mode, in_file):
    path = tmp_path / "weights"
    np.zeros((50, 4), np.float32).tofile(path)
    p = np.memmap(path, np.float32, mode, shape=(50, 4))
    opt = fo.SGD({"W": p}, lr=1.0)
    opt.step({"W": np.ones((50, 4), np.float32)})
    p.flush()
    assert (p == -1).all()
    assert (np.fromfile(path, np.float32) == in_file).all()


def test_a_memory_map_that_is_open_for_reading_is_read_only(tmp_path):
    path = tmp_path / "weights"
    np.zeros(50).tofile(path)
    p = np.memmap(path, np.float64, "r")
    with refused(ValueError, "parameter 0 must be writable, got a read-only array", p):
        fo.SGD(p)
    q = np.zeros(50)
    fo.SGD(q).step(p)  # as a gradient it is fine


def test_buffers_of_the_standard_library():
    p, q = array.array("f", [1, 2, 3]), array.array("d", [1, 2, 3, 4])
    view = memoryview(q)[::2]
    g = array.array("f", [1, 1, 1])
    opt = fo.SGD({"p": p, "q": view}, lr=1.0)
    opt.step({"p": g, "q": memoryview(array.array("d", [5, 5]))})
    assert (list(p), list(q)) == ([0, 1, 2], [-4, 2, -2, 4])
    g.append(1)  # nothing holds on to the buffer of a gradient
    with pytest.raises(BufferError):
        p.append(1)  # but that of a parameter could move
    one = array.array("d", [1])
    fo.SGD(one, lr=1.0).step(array.array("d", [1]))
    assert list(one) == [0]


def test_ctypes_and_bytearray():
    p = (ctypes.c_float * 3)(1, 2, 3)
    fo.SGD(p, lr=1.0).step(np.ones(3, np.float32))
    assert list(p) == [0, 1, 2]
    raw = bytearray(24)
    fo.SGD(memoryview(raw).cast("d"), lr=1.0).step(np.ones(3))
    assert np.frombuffer(raw).tolist() == [-1, -1, -1]


@pytest.mark.skipif(not np.from_dlpack(np.ones(1)).flags.writeable,
                    reason="this NumPy reads DLPack as read-only")
def test_dlpack():
    x, g = np.ones((3, 4))[::2, ::-1], np.arange(8.0).reshape(2, 4)
    p = Tensor(x)
    opt = fo.SGD(p, lr=1.0)
    opt.step(Tensor(g))
    assert np.array_equal(x, 1 - g)
    opt.step([Tensor(g)])
    assert np.array_equal(x, 1 - 2 * g)


def test_numpy_scalars_are_gradients_of_0_d_parameters():
    p = np.array(2.0)
    fo.SGD(p, lr=1.0).step(p * 3)  # NumPy makes a scalar of it
    assert p == -4.0


@each_dtype
def test_interleaved_slices_are_parameters_of_their_own(dtype):
    memory = np.zeros(300, dtype)
    opt = fo.SGD([memory[k::3] for k in range(3)], lr=1.0)
    opt.step([np.full(100, k, dtype) for k in range(3)])
    assert np.array_equal(memory, np.tile([0, -1, -2], 100))

    memory = np.zeros((40, 6), dtype)
    opt = fo.Momentum({"left": memory[:, :2], "right": memory[:, 3:]}, lr=1.0, dampening=0.0)
    # The gradients of the one lie between the parameters of the other.
    opt.step({"right": np.ones((40, 3), dtype), "left": np.ones((40, 2), dtype)})
    assert np.array_equal(memory, np.tile([-1, -1, 0, -1, -1, -1], (40, 1)))


def test_a_gradient_may_lie_between_the_elements_of_a_parameter():
    memory = np.arange(10.0)
    fo.SGD(memory[::2], lr=1.0).step(memory[1::2])
    assert memory.tolist() == [-1, 1, -1, 3, -1, 5, -1, 7, -1, 9]
