"""What the core remembers of arrays from step to step, and how arrays lie beside each other."""

import itertools
import os
import sys

import numpy as np
import pytest

import fastoptim as fo
from fastoptim import reference

from support import child
from support.cases import DTYPES
from support.refusal import refused

each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def misaligned(values):
    memory = np.zeros(values.nbytes + 8, np.uint8)
    x = memory[1:1 + values.nbytes].view(values.dtype)
    x[...] = values
    assert not x.flags.aligned
    return x


@each_dtype
@pytest.mark.parametrize("make", [fo.SGD, fo.Adam])
def test_gradients_of_one_form_at_odd_and_even_addresses(make, dtype):
    """Form and dtype are those of the last one, yet it must not be read as that was: x86 does not
    mind, `make sanitize` does."""
    g = np.arange(1000, dtype=dtype)
    p, expected = np.zeros(1000, dtype), np.zeros(1000, dtype)
    opt, plain = make(p, lr=1.0), make(expected, lr=1.0)
    for gradient in (g, misaligned(g), misaligned(g), g, misaligned(g)):
        opt.step(gradient)
        plain.step(g.copy())
        assert p.tobytes() == expected.tobytes()


@each_dtype
def test_a_gradient_of_the_form_of_the_last_one_may_reach_into_a_parameter(dtype):
    memory = np.ones(60, dtype)
    p = memory[20:40]
    opt = fo.SGD({"p": p}, lr=1.0)
    apart = np.ones(60, dtype)
    for view in (lambda x, at: x[at:at + 20], lambda x, at: x[at:at + 20][::-1]):
        for at in (1, 10, 19, 20, 21, 30, 39):
            opt.step([view(apart, at)])
            with refused(ValueError, "grad 'p' must not share memory with parameter 'p'", memory,
                         opt):
                opt.step([view(memory, at)])
        for at in (0, 40):  # beside it
            opt.step([view(apart, at)])
            opt.step([view(memory, at)])


@each_dtype
def test_a_gradient_within_a_long_parameter_is_found_behind_a_short_one(dtype):
    """Of regions that begin before the gradient ends, the last ends before it begins."""
    memory = np.ones(400, dtype)
    opt = fo.SGD({"long": memory[::2], "short": memory[11:31:2], "apart": np.ones(10, dtype)})
    for at in (100, 101, 200, 389):
        g = memory[at:at + 10]
        grads = {"long": np.ones(200, dtype), "short": np.ones(10, dtype), "apart": g}
        for _ in range(2):  # the second meets what the first has left of its form, if anything
            with refused(ValueError, "grad 'apart' must not share memory with parameter 'long'",
                         memory, opt):
                opt.step(grads)
    opt.step({**grads, "apart": memory[41:61:2]})  # between the elements of the long one
    with refused(ValueError, "parameter .* must not share memory with parameter", memory):
        fo.SGD([memory[::2], memory[11:31:2], memory[100:110]])


OF_ONE_SHAPE = {  # (4, 6, 5) in different ways
    "C": lambda x: x[:120].reshape(4, 6, 5),
    "F": lambda x: x[:120].reshape(4, 6, 5, order="F"),
    "C, F within": lambda x: x[:120].reshape(4, 5, 6).transpose(0, 2, 1),
    "rows apart": lambda x: x[:240].reshape(4, 12, 5)[:, :6],
    "columns apart": lambda x: x[:240].reshape(4, 6, 10)[..., ::2],
    "backwards": lambda x: x[:120].reshape(4, 6, 5)[::-1, :, ::-1],
}


@each_dtype
@pytest.mark.parametrize("p_view", OF_ONE_SHAPE)
def test_states_may_lie_otherwise_than_their_parameter(p_view, dtype):
    """The functional layer takes them as the caller has them."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((4, 4, 6, 5)).astype(dtype)
    values[3] *= values[3]
    for g_view, m_view, v_view in itertools.product(OF_ONE_SHAPE, repeat=3):
        p, g, m, v = (OF_ONE_SHAPE[view](np.full(240, 7, dtype))
                      for view in (p_view, g_view, m_view, v_view))
        for x, start in zip((p, g, m, v), values):
            x[...] = start
        s = {"m": values[2], "v": values[3]}
        expected = reference.adam(values[0], values[1], s, 3)
        fo.adam_(p, g, m, v, t=3)
        for x, y in ((p, expected), (m, s["m"]), (v, s["v"]), (g, values[1])):
            assert x.tobytes() == y.tobytes(), (g_view, m_view, v_view)


OUT_OF_MEMORY = """
import ctypes, resource
import numpy as np
import fastoptim as fo

fo.set_num_threads(1)
shape = (2,) * 17
params = [np.zeros(4), np.zeros(shape)]
opt = fo.SGD(params, [np.full(4, 1.0), np.ones(shape)], lr=1.0)
turned = np.ones(shape).transpose()  # to lay it out takes lists of 17 axes
fresh = [np.full(4, 100.0), turned]
opt.step([np.full(4, 100.0), np.ones(shape)])
opt.step()  # now the bound gradients are in use, and one like the first needs no new layout
assert (params[0] == -101).all() and (params[1] == -2).all()

malloc, free = ctypes.CDLL(None).malloc, ctypes.CDLL(None).free
malloc.restype, malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
free.argtypes = [ctypes.c_void_p]
taken = (ctypes.c_void_p * 10_000_000)()
in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use, resource.RLIM_INFINITY))
n = 0
for size in (1 << 16, 1 << 12, 1 << 8, 100):  # all that is free, but pieces of less than 100 bytes
    while pointer := malloc(size):
        taken[n] = pointer
        n += 1
failed = False
try:
    opt.step(fresh)
except MemoryError:
    failed = True
for k in range(n):
    free(taken[k])
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert failed and opt.t == 2
assert (params[0] == -101).all() and (params[1] == -2).all()
opt.step()
assert (params[0] == -102).all() and (params[1] == -3).all(), params[0]
opt.step(fresh)
assert (params[0] == -202).all() and (params[1] == -4).all(), params[0]
"""

@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's limits")
@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="has a malloc of its own")
def test_where_memory_runs_out_in_a_step_the_next_one_takes_the_bound_gradients():
    child.run(OUT_OF_MEMORY)


@pytest.mark.parametrize("view", [lambda x: x[5:50], lambda x: x[::2][1:],
                                  lambda x: x.reshape(10, 10).T])
def test_numpy_does_not_resize_the_base_of_a_parameter(view):
    """A view's own header would not show it, and a step would write to memory that is freed."""
    base = np.ones(100)
    opt = fo.SGD(view(base), lr=0.5)
    with pytest.raises(ValueError, match="resize"):
        base.resize(10_000, refcheck=False)
    opt.step([np.ones_like(view(base))])
    assert (view(base) == 0.5).all()
    del opt
    base.resize(200, refcheck=False)
