"""Under the caller's rounding and flushing: the bytes of NumPy there, and of any number of threads.

torch.set_flush_denormal(True) and C's fesetround change the processor's mode for one thread. Each
test runs in a process of its own, so that no other one meets what it changes.
"""

import functools
import platform
import sys

import pytest

from support import child

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64",
    reason="the modes are set by glibc's functions, in x86's fenv_t")

PRELUDE = """
import ctypes, sys
from contextlib import contextmanager
import numpy as np
import fastoptim as fo
from support.cases import CASES, DTYPES, OPTIMIZERS

libm = ctypes.CDLL("libm.so.6")
FLUSH_TO_ZERO, DENORMALS_ARE_ZERO = 0x8000, 0x40
NEAREST, DOWN, UP, TO_ZERO = 0, 0x400, 0x800, 0xc00
MODES = {"down": (DOWN, 0), "up": (UP, 0), "to zero": (TO_ZERO, 0),
         "flush": (NEAREST, FLUSH_TO_ZERO),
         "flush both": (NEAREST, FLUSH_TO_ZERO | DENORMALS_ARE_ZERO),
         "denormals are zero": (NEAREST, DENORMALS_ARE_ZERO),
         "down, flush both": (DOWN, FLUSH_TO_ZERO | DENORMALS_ARE_ZERO), "usual": (NEAREST, 0)}

def set_mode(rounding, flush):
    libm.fesetround(rounding)
    environment = (ctypes.c_uint32 * 8)()  # fenv_t, whose last word is MXCSR
    libm.fegetenv(environment)
    environment[7] = environment[7] & ~(FLUSH_TO_ZERO | DENORMALS_ARE_ZERO) | flush
    libm.fesetenv(environment)

@contextmanager
def mode(name):
    set_mode(*MODES[name])
    yield
    set_mode(NEAREST, 0)

N = 270_000  # elements: enough for threads to take part in every step
rng = np.random.default_rng(0)
THREADS = (1, 2, 3, 7)

def numbers(dtype, size=N):
    # Of all sizes: some subnormal, some whose products are.
    tiny = np.finfo(dtype).tiny
    sizes = np.array([0, -0.0, tiny / 3, tiny * 8, np.sqrt(tiny)] + [0.1] * 95, dtype)
    return rng.standard_normal(size).astype(dtype) * rng.choice(sizes, size)

def same(a, b):
    return np.array_equal(a.view(f"u{a.itemsize}")[~np.isnan(b)],
                          b.view(f"u{b.itemsize}")[~np.isnan(b)]) and np.isnan(a[np.isnan(b)]).all()
"""

def run(code, **environ):
    return child.run(PRELUDE + code, timeout=300, **environ)


@pytest.mark.parametrize("name", ("down", "up", "to zero", "flush", "flush both",
                                  "denormals are zero", "down, flush both"))
def test_a_step_gives_the_bytes_of_numpy_under_the_callers_mode(name):
    """Flushing results alone, x*1 is 0 where x is subnormal: there NumPy's may differ."""
    assert run(f"""
name = {name!r}
differ = 0
for k, (rule, options) in enumerate(CASES):
    optimizer, reference = OPTIMIZERS[rule]
    dtype = np.dtype(DTYPES[k % 2])
    p, g = numbers(dtype), numbers(dtype)
    found, usual = set(), None
    for threads in THREADS:
        fo.set_num_threads(threads)
        ours = optimizer(p.copy(), g.copy(), **options)
        with mode(name):
            for _ in range(3):
                ours.step()
        found.add(b"".join(x.tobytes() for x in (ours.params[0], *ours.state[0].values())))
    assert len(found) == 1, (rule, options, "depends on the number of threads")
    if name != "flush":
        expected, s = p, {{}}
        with np.errstate(all="ignore"), mode(name):
            for t in range(1, 4):
                expected = reference(expected, g, s, t, **options)
        assert same(ours.params[0], expected), (rule, options)
        for state in s:
            assert same(ours.state[0][state], s[state]), (rule, options, state)
    other = optimizer(p.copy(), g.copy(), **options)
    for _ in range(3):
        other.step()
    differ += other.params[0].tobytes() != ours.params[0].tobytes()
print(differ > len(CASES) / 2)
""").strip() == "True", "the mode changed nothing: the test shows nothing"


def test_threads_that_were_started_under_a_mode_forget_it():
    run("""
p, g = numbers(np.float32), numbers(np.float32)
def bytes_of_steps(threads, name):
    fo.set_num_threads(threads)
    ours = fo.Adam(p.copy(), g.copy())
    with mode(name):
        for _ in range(3):
            ours.step()
    return ours.params[0].tobytes() + ours.state[0]["v"].tobytes()
with mode("flush both"):  # a new thread has the mode of the one that starts it
    fo.set_num_threads(7)
    fo.SGD(p.copy(), g).step()
seen = set()
for name in [*MODES, *reversed(MODES)]:
    one = bytes_of_steps(1, name)
    seen.add(one)
    for threads in THREADS:
        assert bytes_of_steps(threads, name) == one, (name, threads)
assert len(seen) >= 5  # of eight modes, or the test shows nothing
""")


def test_low_precision_does_not_depend_on_threads():
    run("""
import ml_dtypes
for name in MODES:
    for dtype in (np.float32, ml_dtypes.bfloat16, np.float16):
        for state_dtype in ("bfloat16", "q8"):
            for rounding in ("stochastic", "nearest"):
                with np.errstate(all="ignore"):
                    p, g = numbers(np.float32).astype(dtype), numbers(np.float32).astype(dtype)
                found = set()
                for threads in THREADS:
                    fo.set_num_threads(threads)
                    ours = fo.Adam(p.copy(), g, state_dtype=state_dtype, rounding=rounding)
                    with mode(name):
                        for _ in range(2):
                            ours.step()
                    found.add(ours.params[0].tobytes() + ours.state[0]["v"].tobytes())
                assert len(found) == 1, (name, dtype, state_dtype, rounding)
""")


def test_averages_do_not_depend_on_threads():
    run("""
x = numbers(np.float32, 80_000).reshape(40, 2000)
for name in MODES:
    found = set()
    for threads in THREADS:
        fo.set_num_threads(threads)
        with mode(name):
            found.add(fo.ewma(x, beta=0.9, axis=0).tobytes())
    assert len(found) == 1, name
""")


OF_ALL_RULES = """
import hashlib
digest = hashlib.sha256()
for name in MODES:
    for k, (rule, options) in enumerate(CASES):
        optimizer, _ = OPTIMIZERS[rule]
        p, g = (np.resize(numbers(DTYPES[k % 2], 3000), N // 9) for _ in range(2))
        ours = optimizer(p, g, **options)
        with mode(name):
            for _ in range(4):
                ours.step()
        for x in (ours.params[0], *ours.state[0].values()):
            x[np.isnan(x)] = np.nan
            digest.update(x.tobytes())
print(digest.hexdigest())
"""


@functools.cache
def digest_on(isa):
    return run(OF_ALL_RULES, FASTOPTIM_ISA=isa)


def test_every_instruction_set_gives_the_same(isa):
    assert digest_on(isa) == digest_on("baseline")
