"""The functional layer's repeated calls, which are not checked and laid out anew: each must do what
a first call does, and refuse what a first call refuses."""

import gc
import sys
import threading
import weakref

import numpy as np
import pytest

import fastoptim as fo
from fastoptim import _core
from fastoptim.functional import ADAM

from support import child
from support.bits import assert_same_bytes
from support.cases import CASES, FUNCTIONS, OPTIMIZERS, name_of
from support.refusal import refused

F32 = np.float32


def arrays(n=10, dtype=F32, seed=0):
    rng = np.random.default_rng(seed)
    p, g, m = rng.standard_normal((3, n)).astype(dtype)
    return [p.copy(), g.copy(), m.copy(), rng.random(n).astype(dtype)]


def same(x, y):
    return [a.tobytes() for a in x] == [a.tobytes() for a in y]


def repeat(p, g, m, v, v_max=None, *, t=1, lr=1e-3, seed=0, rounding="stochastic",
           betas=(0.9, 0.999), eps=1e-8, amsgrad=False, weight_decay=0.0, decoupled=False,
           maximize=False):
    """Whether the core takes the step again without checks."""
    return _core.repeat_step(ADAM, 5, t, lr, seed, rounding, p, g, m, v, v_max, betas, eps,
                             amsgrad, weight_decay, decoupled, maximize)


@pytest.mark.parametrize("case", [case for case in CASES if case[0] in FUNCTIONS], ids=name_of)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_repeated_calls_equal_numpy(case, dtype):
    """Other rates, counts and gradients at each call; strides too."""
    rule, options = case
    make, reference = OPTIMIZERS[rule]
    function = FUNCTIONS[rule]
    rng = np.random.default_rng(0)
    for view in (lambda x: x, lambda x: x.reshape(10, 30)[:, ::-3]):
        p = view(rng.standard_normal(300).astype(dtype))
        names = list(make(p.copy(), **options).state[0])
        states = {name: view(np.zeros(300, dtype)) for name in names}
        expected, s = p.copy(), {}
        for t in range(1, 6):
            g = view(rng.standard_normal(300).astype(dtype))
            lr = 0.1 / t if t % 2 else np.float64(0.1 / t)
            count = {} if rule == "sgd" else {"t": t}
            function(p, g, **states, lr=lr, **count, **options)
            expected = reference(expected, g, s, t, lr=float(lr), **options)
        assert_same_bytes((p, states), (expected, s))


def test_which_calls_are_repeated():
    x = arrays()
    p, g, m, v = x
    assert not repeat(*x)  # never seen
    fo.adam_(*x, t=1)
    assert repeat(*x, t=2)
    for equal in ({"t": 2**53}, {"lr": 0.5}, {"lr": np.float64(0.5)}, {"lr": -0.0}, {"seed": 7},
                 {"rounding": "nearest"}, {"betas": (np.float64(0.9), 0.999)}):
        assert repeat(*x, **equal), equal
    for other in ({"t": 0}, {"t": 2**53 + 1}, {"t": 2**70}, {"t": 1.0}, {"t": True}, {"t": None},
                  {"lr": 1}, {"lr": -1.0}, {"lr": float("inf")}, {"lr": float("nan")},
                  {"lr": None}, {"seed": -1}, {"seed": 2**64}, {"seed": 1.0}, {"seed": True},
                  {"rounding": "up"}, {"rounding": None}, {"betas": [0.9, 0.999]},
                  {"betas": (0.9, 0.99)}, {"betas": (0.9, 0.999, 0.9)}, {"betas": 0.9},
                  {"betas": ((0.9, 0.999), 0.999)}, {"eps": 1e-7}, {"eps": F32(1e-8)},
                  {"weight_decay": 0}, {"weight_decay": False}, {"weight_decay": -0.0},
                  {"decoupled": 0}, {"decoupled": None}, {"amsgrad": True}):
        before = [a.copy() for a in x]
        assert not repeat(*x, **other), other
        assert same(x, before)
    fresh = g.copy()
    assert repeat(p, fresh, m, v)  # a gradient comes anew with each step
    for k in (0, 2, 3):
        others = [a.copy() if i == k else a for i, a in enumerate(x)]
        assert not repeat(*others)
    assert not repeat(p, g, v, m)
    assert not repeat(p, g, m, v, v.copy())
    assert not repeat(p, g, m, None)
    assert not repeat(p, [1.0], m, v)
    assert not repeat(p, None, m, v)


CHANGES = {
    "read-only": (lambda x: x.setflags(write=False), ValueError, "must be writable"),
    "other dtype": (lambda x: setattr(x, "dtype", np.int32), TypeError, "must have dtype"),
    "other byte order": (lambda x: setattr(x, "dtype", ">f4"), TypeError, "must have dtype"),
    "other shape": (lambda x: setattr(x, "shape", (2, 5)), ValueError, "must have shape"),
    "resized": (lambda x: x.resize(4, refcheck=False), ValueError, "must have shape"),
}


@pytest.mark.filterwarnings("ignore:Setting the (dtype|strides|shape)")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("which", range(4))
def test_an_array_that_changes_between_two_calls(which, change):
    x = arrays()
    fo.adam_(*x, t=1)
    make, error, match = CHANGES[change]
    make(x[which])
    if (which, change) == (1, "read-only"):
        fo.adam_(*x, t=2)
        return
    with refused(error, match, *x):
        fo.adam_(*x, t=2)


@pytest.mark.filterwarnings("ignore:Setting the (dtype|strides|shape)")
def test_strides_that_begin_to_overlap():
    memory = np.zeros(40, F32)
    p, m, v = memory[:20:2], memory[20:30], memory[30:]
    g = np.ones(10, F32)
    fo.adam_(p, g, m, v, t=1)
    p = np.lib.stride_tricks.as_strided(p, strides=(4,))  # in place of 8: the same address
    fo.adam_(p, g, m, v, t=2)
    assert (memory[:10] != 0).all()
    for strides, match in (((0,), "overlap itself"), ((12,), "share memory")):
        with refused(ValueError, match, p):
            fo.adam_(np.lib.stride_tricks.as_strided(p, strides=strides), g, m, v, t=2)


def test_a_gradient_that_begins_to_share_memory():
    memory = np.ones((2, 50), F32)
    x = p, g, m, v = [memory[0, :10], np.ones(10, F32), memory[0, 10:20], memory[1, :10]]
    fo.adam_(*x, t=1)
    for other, name in ((memory[0, 5:15], "[pm]"), (p, "p"), (p[::-1], "p"), (v, "v"),
                        (memory[0, 19:29], "m")):
        with refused(ValueError, f"(g must not share memory with {name}$)", *x):
            fo.adam_(p, other, m, v, t=2)
    fo.adam_(p, memory[0, 20:30], m, v, t=2)  # right behind
    # Among what is written, but apart from it: NumPy decides at the first call.
    columns = np.ones((10, 4), F32)
    p, g, m, v = (columns[:, k] for k in range(4))
    fo.adam_(p, g, m, v, t=1)
    assert repeat(p, g, m, v, t=2)
    with refused(ValueError, "g must not share memory with m", columns):
        fo.adam_(p, m, m, v, t=2)


def test_memory_that_is_used_again():
    """Arrays at the addresses of arrays that are gone, with other dtypes and shapes."""
    memory = np.zeros(1024, np.uint8)
    expected = {}
    for _ in range(3):
        for dtype in (F32, np.float64, np.float16):
            for shape in ((4,), (2, 2), (4, 1), (8,)):
                n = int(np.prod(shape)) * np.dtype(dtype).itemsize
                p, g, m = (memory[k * 128:k * 128 + n].view(dtype).reshape(shape)
                           for k in range(3))
                v = np.zeros(shape, F32 if dtype is np.float16 else dtype)
                p[...], g[...], m[...] = 1, 0.5, 0
                fo.adam_(p, g, m, v, t=1, rounding="nearest")
                key = dtype, shape
                assert expected.setdefault(key, p.tobytes()) == p.tobytes()
                assert abs(float(p.ravel()[0]) - 0.999) < 1e-3


def test_nothing_is_kept_alive():
    class Tracked(np.ndarray):
        pass

    x = arrays()
    counts = [sys.getrefcount(a) for a in x]
    options = {"lr": 0.123456, "betas": (0.91, 0.998)}
    for t in range(1, 4):
        fo.adam_(*x, t=t, **options)
    assert [sys.getrefcount(a) for a in x] == counts
    base = np.zeros(40, F32).view(Tracked)
    gone = weakref.ref(base)
    views = [np.asarray(base)[k::4] for k in range(4)]
    for t in range(1, 4):
        fo.adam_(*views, t=t)
    del base, views
    gc.collect()
    assert gone() is None


def test_more_arrays_than_the_table_holds():
    models = [arrays(7, seed=k) for k in range(600)]
    copies = [[a.copy() for a in x] for x in models]
    for t in range(1, 4):
        for x in models:
            fo.adam_(*x, t=t)
    for x, y in zip(models, copies):
        opt = fo.Adam(y[0], [y[1]])
        for name, start in (("m", y[2]), ("v", y[3])):
            opt.state[0][name][...] = start
        for _ in range(3):
            opt.step()
        assert x[0].tobytes() == y[0].tobytes()
    assert repeat(*models[-1], t=4)


def test_options_that_change_at_every_call():
    x, y = arrays(), arrays()
    for t in range(1, 9):
        options = {"weight_decay": 0.01 * t, "betas": (0.9 - 0.01 * t, 0.999)}
        fo.adam_(*x, t=t, **options)
        fresh = [a.copy() for a in y]
        fo.adam_(*fresh, t=t, **options)
        y = fresh
        assert same(x, y)


def test_functions_on_the_same_arrays_do_not_meet():
    p, g, s = np.ones(5), np.full(5, 0.5), np.zeros(5)
    for _ in range(3):
        q, z = p.copy(), s.copy()
        fo.momentum_(p, g, s, lr=0.1)
        fo.momentum_(q, g.copy(), z, lr=0.1)
        fo.rmsprop_(p, g, s, lr=0.1)
        fo.rmsprop_(q, g.copy(), z, lr=0.1)
        fo.sgd_(p, g, lr=0.1)
        fo.sgd_(q, g.copy(), lr=0.1)
        assert same((p, s), (q, z))


def test_a_coefficient_that_float32_cannot_hold():
    x = arrays()
    for t in (1, 2, 3):
        with refused(ValueError, "lr must be 0 or in", *x):
            fo.adam_(*x, t=t, lr=1e-60)
        fo.adam_(*x, t=t, lr=1e-3)
    with refused(TypeError, "adam_ takes the options", *x):
        fo.adam_(*x, t=4, epsilon=1e-8)


def test_subnormal_states_are_looked_for_where_the_last_call_met_some():
    x, y = arrays(5000), arrays(5000)
    for a in (x, y):
        a[1][::2] = 0
        a[2][::2] = 5e-45
    for t in range(1, 5):
        fo.adam_(*x, t=t)
        y = [a.copy() for a in y]
        fo.adam_(*y, t=t)
        assert same(x, y)


@pytest.mark.parametrize("n", [10, 5000, 300_000])
def test_threads_on_arrays_of_their_own(n):
    """With the GIL held in a call, and released; each thread has its own table."""
    steps = 300 if n < 10_000 else 20
    start = threading.Barrier(4)
    results = {}

    def work(seed):
        x = arrays(n, seed=seed)
        start.wait()
        for t in range(1, steps + 1):
            fo.adam_(*x, t=t, lr=0.01 / t)
        results[seed] = x

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, x in results.items():
        y = arrays(n, seed=seed)
        opt = fo.Adam(y[0], [y[1]])
        for name, values in (("m", y[2]), ("v", y[3])):
            opt.state[0][name][...] = values
        for t in range(1, steps + 1):
            opt.lr = 0.01 / t
            opt.step()
        assert x[0].tobytes() == y[0].tobytes()


def test_threads_that_share_their_arrays():
    """Their steps may mix, but nothing else may happen: other memory stays as it is."""
    memory = np.zeros((6, 5000), F32)
    x = [memory[k] for k in range(1, 5)]
    x[1][...] = 1

    def work():
        for t in range(1, 200):
            fo.adam_(*x, t=t)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not memory[0].any() and not memory[5].any() and np.isfinite(memory).all()


def test_a_forked_child_repeats_its_parents_calls():
    out = child.run("""
import os, warnings
import numpy as np, fastoptim as fo
warnings.simplefilter("ignore")
x = [np.full(n, 0.5, np.float32) for n in [100_000] * 4]
fo.adam_(*x, t=1)
pid = os.fork()
fo.adam_(*x, t=2)
if not pid:
    os._exit(int(1000 * x[0][0]) % 200)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == int(1000 * x[0][0]) % 200)
""")
    assert out.strip() == "True"
