"""What is refused before the first byte changes: parameters, gradients and states."""

import re

import numpy as np
import pytest

import fastoptim as fo

from support.foreign import Tensor
from support.refusal import refused

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
