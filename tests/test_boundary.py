"""What a step accepts, and what it refuses before the first byte changes."""

import array
import contextlib
import ctypes
import gc
import pickle
import re
import signal
import weakref

import numpy as np
import pytest

import fastoptim as fo

from support.cases import DTYPES, OPTIMIZERS
from support.refusal import refused


class Tensor:
    """A foreign array: all that is known of it is DLPack."""

    def __init__(self, x, device=(1, 0), error=None):
        self.x, self.device, self.error = x, device, error

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, **options):
        if self.error:
            raise self.error
        return self.x.__dlpack__(**options)


class Stubborn(np.ndarray):
    """A subclass that wants nothing to do with NumPy's functions."""

    def __array_function__(self, function, types, args, kwargs):
        return NotImplemented


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


# What is refused


ANY_DTYPE = "must have dtype float32, float64, bfloat16 or float16 in native byte order"


def bad_arrays(dtype=np.float64):
    """name -> (array of shape (4, 6) or so, error, how the message goes on), for a parameter."""
    like = np.ones((4, 6), dtype)
    locked = like.copy()
    locked.flags.writeable = False
    wrong = f"{ANY_DTYPE}, got "
    return {
        "read-only": (locked, ValueError, "must be writable, got a read-only array"),
        "bytes": (memoryview(bytes(192)).cast("d", (4, 6)), ValueError, "must be writable, got a"),
        "broadcast": (np.lib.stride_tricks.as_strided(np.ones(6), (4, 6), (0, 8)), ValueError,
                      r"must not overlap itself, got shape \(4, 6\) with strides \(0, 8\)"),
        "window": (np.lib.stride_tricks.as_strided(np.ones(9), (4, 6), (8, 8)), ValueError,
                   r"must not overlap itself, got shape \(4, 6\) with strides \(8, 8\)"),
        "overlap by a byte": (np.lib.stride_tricks.as_strided(np.ones(30), (4, 6), (48, 7)),
                              ValueError, "must not overlap itself"),
        "interleaved overlap": (np.lib.stride_tricks.as_strided(np.ones(30), (4, 6), (24, 16)),
                                ValueError, "must not overlap itself"),
        "byte-swapped": (like.astype(like.dtype.newbyteorder()), TypeError, wrong + "[<>]f8"),
        "object": (like.astype(object), TypeError, wrong + "object"),
        "int64": (like.astype(np.int64), TypeError, wrong + "int64"),
        "complex": (like.astype(complex), TypeError, wrong + "complex128"),
        "bool": (like.astype(bool), TypeError, wrong + "bool"),
        "longdouble": (like.astype(np.longdouble), TypeError, wrong + r"float(96|128)|longdouble"),
        "string": (like.astype("U"), TypeError, wrong + "<U"),
        "date": (np.ones((4, 6), "M8[D]"), TypeError, wrong + "datetime64"),
        "record": (np.ones((4, 6), [("x", "f8")]), TypeError, wrong + r"\[\('x'"),
        "bytearray": (bytearray(192), TypeError, wrong + "uint8"),
        "list": ([[1.0] * 6] * 4, TypeError,
                 r"must be an array \(NumPy, buffer protocol or DLPack\), got list"),
        "None": (None, TypeError, "must be an array .*, got NoneType"),
        "float": (1.0, TypeError, "must be an array .*, got float"),
        "string object": ("weights", TypeError, "must be an array .*, got str"),
        "masked": (np.ma.masked_array(like), TypeError, "must be a plain array, got a masked"),
        "masked, byte-swapped": (np.ma.masked_array(like.astype(">f8")), TypeError,
                                 "must be a plain array, got a masked array"),
        "GPU": (Tensor(like, (2, 0)), TypeError, "must lie in the memory of the CPU, got Tensor "),
        "locked tensor": (Tensor(locked), ValueError, "must be writable, got a read-only array"),
        "generator": ((x for x in like), TypeError, "must be an array .*, got generator"),
    }


@pytest.mark.parametrize("kind", bad_arrays())
def test_refused_parameters(kind):
    bad, error, match = bad_arrays()[kind]
    good = np.ones(3)
    with refused(error, "parameter 1 " + match, good):
        fo.Adam([good, bad])
    with refused(error, "parameter 'W' " + match, good):
        fo.Adam({"b": good, "W": bad})
    with refused(error, "parameter 1 " + match, good):
        fo.Adam([{"params": good}, {"params": [bad]}])
    with refused(error, "^p " + match, good):
        fo.sgd_(bad, np.ones((4, 6)))


# What only a parameter must not be.
AS_GRADIENT = {"read-only", "bytes", "broadcast", "window", "overlap by a byte",
               "interleaved overlap", "locked tensor"}


@pytest.mark.parametrize("kind", sorted(set(bad_arrays()) - AS_GRADIENT))
def test_a_gradient_that_is_refused_at_the_last_of_many_tensors(kind):
    bad, error, match = bad_arrays()[kind]
    match = match.replace(ANY_DTYPE, "must have dtype float64 like (parameter 40|p)")
    params = [np.ones((4, 6)) for _ in range(41)]
    grads = [np.ones((4, 6)) for _ in range(40)] + [bad]
    opt = fo.Adam(params)
    opt.step([np.ones((4, 6))] * 41)
    with refused(error, "grad 40 " + match, opt):
        opt.step(grads)
    with refused(error, "grad 40 " + match, *params):
        fo.Adam(params, grads=grads)
    m, v = np.ones((4, 6)), np.ones((4, 6))
    if bad is None:
        error, match = ValueError, "must be given"
    with refused(error, "^g " + match, params[0], m, v):
        fo.adam_(params[0], bad, m, v, t=1)
    opt.step([np.ones((4, 6))] * 41)
    assert opt.t == 2


@pytest.mark.parametrize("kind", sorted(AS_GRADIENT))
def test_a_gradient_may_be_what_a_parameter_must_not(kind):
    g = bad_arrays()[kind][0]
    p = np.ones((4, 6))
    fo.SGD(p, lr=1.0).step([g])
    assert np.array_equal(p, 1 - np.asarray(g.x if isinstance(g, Tensor) else g))


@pytest.mark.parametrize("shape", [(6, 4), (24,), (4, 6, 1), (1, 4, 6), (), (4, 1), (0,), (4, 7)])
def test_gradients_of_another_shape(shape):
    p, q, v = np.ones(2), np.ones((4, 6)), np.ones((4, 6))
    opt = fo.Momentum({"p": p, "q": q})
    g = np.ones(shape)
    match = rf"must have shape \(4, 6\), got {re.escape(str(shape))}"
    with refused(ValueError, f"grad 'q' {match}", opt):
        opt.step({"q": g, "p": np.ones(2)})
    with refused(ValueError, f"grad 'q' {match}", opt):
        fo.Momentum({"p": p, "q": q}, {"q": g, "p": np.ones(2)})
    with refused(ValueError, f"^g {match}", q, v):
        fo.momentum_(q, g, v)
    with refused(ValueError, f"^v {match}", q, v):
        fo.momentum_(q, v, np.ones(shape))


def test_dtypes_do_not_mix():
    for_float32 = "{} must have dtype float32, bfloat16 or float16 for {} of float32, got float64"
    p, q = np.ones(3, np.float32), np.ones(3)
    opt = fo.SGD([p, q])
    with refused(TypeError, for_float32.format("grad 0", "parameter 0"), opt):
        opt.step([np.ones(3), np.ones(3)])
    with refused(TypeError, "grad 1 must have dtype float64 like parameter 1, got float32", opt):
        opt.step([p.copy(), p.copy()])
    with refused(TypeError, for_float32.format("v", "p"), p, q):
        fo.momentum_(p, np.ones(3, np.float32), q)
    with refused(TypeError, for_float32.format("g", "p"), p, q):
        fo.momentum_(p, q, np.ones(3, np.float32))


@pytest.mark.parametrize("grads, error, match", [
    ({"a": 1}, ValueError, r"names, got missing \['b', 'c'\]$"),
    ({"a": 1, "b": 1, "c": 1, "d": 1}, ValueError, r"names, got unexpected \['d'\]$"),
    ({"a": 1, "b": 1, "d": 1}, ValueError, r"names, got missing \['c'\], unexpected \['d'\]$"),
    ({"a": 1, "b": 1, 2: 1}, ValueError, r"names, got missing \['c'\], unexpected \[2\]$"),
    ({}, ValueError, r"names, got missing \['a', 'b', 'c'\]$"),
    ([1, 1], ValueError, "grads must hold 3 arrays, one a parameter, got 2"),
    ([1, 1, 1, 1], ValueError, "grads must hold 3 arrays, one a parameter, got 4"),
    ([], ValueError, "grads must hold 3 arrays, one a parameter, got 0"),
    (iter([1]), ValueError, "grads must hold 3 arrays, one a parameter, got 1"),
    (np.ones((3, 2)), ValueError, "grads must hold 3 arrays, one a parameter, got 1"),
    (3, TypeError, "grads must be an array, a sequence or a mapping of arrays, got int"),
    ({"a": 1, "b": 1, "c": 1}, TypeError, "grad 'a' must be an array .*, got int"),
    ([1, 1, 1], TypeError, "grad 'a' must be an array .*, got int"),
    ("abc", TypeError, "grads must be an array, a sequence or a mapping of arrays, got str"),
    (None, ValueError, "grad 'a' must be given: no gradient is bound"),
])
def test_gradients_that_do_not_match(grads, error, match):
    params = {name: np.ones(2) for name in "abc"}
    opt = fo.Adam(params)
    with refused(error, match, opt):
        opt.step(grads)
    if grads is not None and not hasattr(grads, "__next__"):
        with refused(error, match, *params.values()):
            fo.Adam(params, grads)


@pytest.mark.parametrize("params", [None, 3, "abc", 1.5])
def test_params_that_are_no_collection(params):
    with pytest.raises(TypeError, match="params must be an array, a sequence or a mapping of "
                                        f"arrays, got {type(params).__name__}"):
        fo.SGD(params)


@pytest.mark.parametrize("params", [[], {}, (), iter([])])
def test_no_params(params):
    with pytest.raises(ValueError, match="params must hold at least one array, got none"):
        fo.SGD(params)


# Shared memory


@pytest.mark.parametrize("first, second", [
    pytest.param(lambda x: x, lambda x: x, id="same"),
    pytest.param(lambda x: x[:20], lambda x: x[19:], id="one element"),
    pytest.param(lambda x: x[::2], lambda x: x[::3], id="strides that meet"),
    pytest.param(lambda x: x[5:6], lambda x: x, id="within"),
    pytest.param(lambda x: x, lambda x: x[::-1], id="backwards"),
    pytest.param(lambda x: x.reshape(5, 8)[:, :4], lambda x: x.reshape(5, 8)[2], id="row, columns"),
    pytest.param(lambda x: x[:20], lambda x: x.view(np.uint8)[157:165].view(x.dtype),
                 id="one byte"),
    pytest.param(lambda x: x[:4], lambda x: x[2:].view(np.float32), id="other dtype"),
])
def test_two_parameters_that_overlap(first, second):
    memory = np.arange(40.0)
    apart = np.ones(3)
    for a, b in ((first, second), (second, first)):
        with refused(ValueError, "parameter ([02]) must not share memory with parameter ([02])$",
                     memory, apart):
            fo.Adam([a(memory), apart, b(memory)])
        with refused(ValueError, "parameter .* must not share memory with parameter", memory):
            fo.SGD([{"params": {"a": a(memory)}}, {"params": {"b": b(memory)}}])


@pytest.mark.parametrize("view", [
    pytest.param(lambda x: x, id="same"),
    pytest.param(lambda x: x[::-1], id="backwards"),
    pytest.param(lambda x: np.broadcast_to(x[7:8], (12,)), id="one element for all"),
])
def test_gradients_that_share_memory(view):
    p, q = np.arange(12.0), np.ones(12)
    opt = fo.Adam({"p": p, "q": q})
    opt.step({"p": np.ones(12), "q": np.ones(12)})
    cases = [(view(p), "parameter 'p'"), (view(q), "parameter 'q'"),
             (view(opt.state["q"]["v"]), "state 'v' of 'q'"),
             (view(opt.state["p"]["m"]), "state 'm' of 'p'")]
    for g, other in cases:
        with refused(ValueError, f"grad 'q' must not share memory with {other}$", opt):
            opt.step({"p": np.ones(12), "q": g})
        if other.startswith("parameter"):
            with refused(ValueError, f"grad 'q' must not share memory with {other}$", p, q):
                fo.Adam({"p": p, "q": q}, {"p": np.ones(12), "q": g})


def test_gradients_may_share_memory_with_one_another():
    p, q, g = np.zeros(2), np.zeros(2), np.ones(2)
    opt = fo.SGD([p, q], [g, g], lr=1.0)
    opt.step()
    opt.step([g, g[::-1]])
    assert p.tolist() == q.tolist() == [-2, -2]


@pytest.mark.parametrize("names", [("p", "g"), ("p", "m"), ("p", "v"), ("m", "v"), ("g", "m"),
                                   ("g", "v"), ("g", "v_max"), ("v", "v_max")])
def test_functional_arrays_that_share_memory(names):
    x = {name: np.full(4, k + 1.0) for k, name in enumerate(("p", "g", "m", "v", "v_max"))}
    x[names[1]] = x[names[0]][::-1]
    with refused(ValueError, "({0}|{1}) must not share memory with ({0}|{1})$".format(*names),
                 *x.values()):
        fo.adam_(**x, t=1, amsgrad=True)


@pytest.mark.parametrize("bad", ["m", "v", "v_max"])
@pytest.mark.parametrize("kind", sorted(set(bad_arrays()) - {"None"}))
def test_functional_states_that_are_refused(bad, kind):
    array, error, match = bad_arrays()[kind]
    match = match.replace(ANY_DTYPE, "must have dtype float64 like p")
    x = {name: np.ones((4, 6)) for name in ("p", "g", "m", "v", "v_max")}
    good = [value for name, value in x.items() if name != bad]
    x[bad] = array
    with refused(error, f"^{bad} {match}", *good):
        fo.adam_(**x, t=1, amsgrad=True)


# While it runs


def test_a_list_of_gradients_that_shrinks_while_it_is_read():
    grads = []

    class Shrinks(Tensor):
        def __dlpack__(self, **options):
            del grads[1:]
            return super().__dlpack__(**options)

    p = np.ones((3, 2))
    opt = fo.Adam(list(p))
    grads[:] = [Shrinks(np.ones(2)), np.ones(2), np.ones(2)]
    with refused(IndexError, "index", p, opt):
        opt.step(grads)


def test_a_gradient_that_rewrites_its_parameter_while_it_is_read():
    class Rewrites(Tensor):
        def __dlpack__(self, **options):
            p.resize(1000, refcheck=False)  # which moves it
            return super().__dlpack__(**options)

    p = np.ones(2)
    opt = fo.SGD([p, np.ones(2)])
    with pytest.raises(ValueError, match="parameter 0 must stay the array that it was"):
        opt.step([np.ones(2), Rewrites(np.ones(2))])
    assert opt.t == 0 and not p[2:].any()


def test_a_gradient_that_steps_its_optimizer_while_it_is_read():
    class Steps(Tensor):
        def __dlpack__(self, **options):
            opt.step(np.ones(2))
            return super().__dlpack__(**options)

    p = np.ones(2)
    opt = fo.SGD(p)
    with refused(TypeError, "grad 0 must be readable in place on the CPU, got Steps: an optimizer "
                 "must be used by one thread at a time", p, opt):
        opt.step(Steps(np.ones(2)))
    opt.step(np.ones(2))
    assert opt.t == 1


def test_parameters_and_gradients_outlive_their_names():
    base = np.zeros((200, 1000))
    opt = fo.Momentum([row[::2] for row in base], grads=[np.ones(500) for _ in base], lr=1.0,
                      dampening=0.0)
    kept = base[3]
    del base
    gc.collect()
    np.ones((200, 1000)).sum()  # would land where something was freed
    opt.step()
    assert (kept[::2] == -1).all() and not kept[1::2].any()
    states = opt.state
    del opt
    gc.collect()
    assert all((x["v"] == 1).all() for x in states.values())


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers on this system")
def test_interrupts_leave_whole_steps():
    class Interrupt(Exception):
        pass

    def interrupt(number, frame):
        raise Interrupt

    p, g = np.zeros(200_000), np.ones(200_000)
    opt = fo.SGD(p, grads=g, lr=1.0)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for k in range(20):
            with contextlib.suppress(Interrupt):
                signal.setitimer(signal.ITIMER_REAL, 1e-4 * (k + 1))
                while True:
                    opt.step()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert opt.t > 0 and (p == -opt.t).all()
    opt.step()
    assert (p == -opt.t).all()


# After binding


@pytest.mark.parametrize("make", [
    pytest.param(lambda x: pickle.loads(pickle.dumps(x)), id="unpickled"),
    pytest.param(lambda x: x.astype(np.dtype(x.dtype, metadata={"unit": "m"})), id="metadata"),
])
def test_bound_arrays_may_have_equal_but_distinct_dtype_objects(make):
    for p, g in [(make(np.zeros(3)), np.ones(3)), (np.zeros(3), make(np.ones(3)))]:
        assert p.dtype is not g.dtype
        opt = fo.Momentum(p, grads=g, lr=1.0, beta=0.5)
        opt.step()
        opt.step()
        assert p.tolist() == [-1.25] * 3


def test_a_given_gradient_replaces_the_bound_one_for_that_step_only():
    p, g, h = np.zeros(4), np.full(4, 1.0), np.full((4, 2), 10.0)[:, 0]
    opt = fo.SGD(p, grads=g, lr=1.0)
    for expected, grads in ((-1.0, None), (-11.0, h), (-21.0, h), (-22.0, None)):
        opt.step(grads)
        assert p.tolist() == [expected] * 4


def test_a_refused_gradient_does_not_take_the_place_of_the_bound_one():
    p, q = np.zeros(2), np.zeros(2)
    opt = fo.SGD([p, q], grads=[np.ones(2), np.ones(2)], lr=1.0)
    with refused(ValueError, "grad 1 must have shape", p, q, opt):
        opt.step([np.full(2, 5.0), np.ones(3)])
    opt.step()
    assert p.tolist() == q.tolist() == [-1.0, -1.0]


def test_no_gradient_is_kept_alive():
    opt = fo.SGD([np.zeros(3), np.zeros(4)])
    for length in (4, 5):
        g = np.ones(3)
        gone = weakref.ref(g)
        # No traceback is kept either: a frame in it would hold the list.
        with contextlib.suppress(ValueError):
            opt.step([g, np.ones(length)])
        del g
        assert gone() is None
    assert opt.t == 1


def reshape(x):
    x.shape = (2, 3)


def resize(x):
    x.resize(7, refcheck=False)


def retype(x):
    x.dtype = np.int64


def restride(x):
    x.strides = (0,)


# NumPy may come to forbid the attribute in question, and warns before it does.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("change", [reshape, resize, retype, restride])
@pytest.mark.parametrize("which", ["parameter", "state", "grad"])
def test_arrays_whose_header_was_rewritten_after_binding_are_refused(which, change):
    p, g = np.arange(6.0), np.ones(6)
    opt = fo.Momentum({"W": p}, grads={"W": g})
    opt.step()
    changed = {"parameter": p, "grad": g, "state": opt.state["W"]["v"]}[which]
    if (which, change) == ("state", resize):  # NumPy sees that the memory is not the array's own
        with refused(ValueError, "does not own its data", p, g, opt):
            change(changed)
        return
    change(changed)
    with refused(ValueError, f"{which} ('v' of )?'W' must stay the array that it was when it was "
                 "bound, got one whose size, shape, strides or dtype was changed", p, g, opt):
        opt.step()
    if which != "grad":
        with refused(ValueError, "must stay the array that it was", p, opt):
            opt.step({"W": np.ones(6)})


def test_arrays_made_read_only_after_binding_are_refused():
    p, q = np.zeros(2), np.zeros(2)
    opt = fo.Momentum({"p": p, "q": q}, grads={"p": np.ones(2), "q": np.ones(2)})
    q.flags.writeable = False
    with refused(ValueError, "parameter 'q' must be writable, got a read-only array", p, q, opt):
        opt.step()
    q.flags.writeable = True
    opt.state["q"]["v"].flags.writeable = False
    with refused(ValueError, "state 'v' of 'q' must be writable, got a read-only", p, q, opt):
        opt.step()
    opt.state["q"]["v"].flags.writeable = True
    opt.step()
    assert opt.t == 1


# Memory of others


def test_a_subclass_is_updated_as_the_array_that_it_is():
    base = np.ones(4)
    p, g = base[:2].view(Stubborn), base[2:].view(Stubborn)
    opt = fo.Momentum(p, lr=1.0, beta=0.5)
    opt.step(g)  # the ranges touch, so that sharing is looked at
    assert base.tolist() == [0.5, 0.5, 1.0, 1.0]
    assert type(opt.state[0]["v"]) is np.ndarray


@pytest.mark.parametrize("tensor, error, match", [
    pytest.param(Tensor(np.ones(3), (2, 0)), TypeError,
                 "grad 1 must lie in the memory of the CPU, got Tensor on DLPack device 2",
                 id="cuda"),
    pytest.param(Tensor(np.ones(3), None), TypeError, "grad 1 must be readable in place on the CPU",
                 id="no device"),
    pytest.param(Tensor(np.ones(3), ("cpu", 0)), TypeError, "grad 1 must be readable in place",
                 id="odd device"),
    pytest.param(Tensor(np.ones(3), error=BufferError("requires grad, detach it")), TypeError,
                 "grad 1 must be readable in place on the CPU, got Tensor: requires grad, detach",
                 id="raises"),
    pytest.param(Tensor(np.ones(3), error=KeyboardInterrupt("pressed")), KeyboardInterrupt,
                 "pressed", id="interrupt"),
    pytest.param(Tensor(np.ones(3, np.int64)), TypeError,
                 "grad 1 must have dtype float64 like parameter 1, got int64", id="int64"),
])
def test_foreign_arrays_that_cannot_be_read_are_refused(tensor, error, match):
    p = np.ones((2, 3))
    opt = fo.Adam([p[0], p[1]])
    with refused(error, match, p, opt):
        opt.step([np.ones(3), tensor])


def test_fresh_gradients_of_changing_forms_between_bound_ones():
    """The core remembers the form of the last gradient, and which ones it points to."""
    rng = np.random.default_rng(0)
    p, bound = rng.standard_normal((2, 3, 5))
    expected = p.copy()
    opt = fo.SGD(p, grads=bound, lr=0.5)
    wide = rng.standard_normal((3, 10))
    for grad in (None, wide[:, ::2], wide[:, 1::2], None, np.asfortranarray(bound), None,
                 bound[::-1], wide[:, :5].copy(), None):
        opt.step(None if grad is None else [grad])
        expected -= 0.5 * (bound if grad is None else grad)
        assert p.tobytes() == expected.tobytes()
        with pytest.raises(ValueError, match=r"^grad 0 must have shape \(3, 5\), got \(5, 3\)"):
            opt.step([bound.T])
        with pytest.raises(TypeError, match="^grad 0 must have dtype float64"):
            opt.step([bound.astype(np.float32)])
        assert p.tobytes() == expected.tobytes()


@pytest.mark.parametrize("arguments", [(), (0.1, None), (0.1, None, None, (), None)])
def test_the_cores_step_counts_its_arguments(arguments):
    step = fo.SGD(np.zeros(1), grads=np.zeros(1))._core
    with pytest.raises(TypeError, match="^run takes lr, grads, t and perhaps kept, got "
                       f"{len(arguments)} arg"):
        step.run(*arguments)
    with pytest.raises(TypeError, match="Step.__init__ must be called first"):
        type(step).__new__(type(step)).run(0.1, None, None)
