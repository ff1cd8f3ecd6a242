"""What the tests of steps in an OpenMP team share."""

import os

import pytest

from . import child

LARGE = 1_000_000  # elements: enough for every thread to take part

NO_VARIABLES = {k: None for k in os.environ if k.startswith(("FASTOPTIM_", "OMP_", "GOMP_"))}


def runs_openmp():
    """Whether this build has threads, and the system a runtime; in a child, which it changes."""
    return child.python("-c", "import fastoptim as fo; fo.set_threading('openmp')",
                        **NO_VARIABLES).returncode == 0


needs_openmp = pytest.mark.skipif(not runs_openmp(), reason="no threads, or no OpenMP runtime")
needs_tasks = pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="no /proc here")

# What the children share. region(n, f) calls f(thread) on n threads of the step's runtime.
HELPERS = f"""
import ctypes, os, sys, threading, time
import numpy as np, fastoptim as fo
LARGE = {LARGE}
def path():
    return fo.build_info()["threading_reason"].split(":")[0]
def runtime():
    return ctypes.CDLL(path())
BODY = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def region(n, f):
    library = runtime()
    body = BODY(lambda _: f(library.omp_get_thread_num()))
    library.GOMP_parallel(body, None, n, 0)
def threads():
    return set(map(int, os.listdir("/proc/self/task")))
def time_of(tasks):  # s on a processor
    times = 0
    for task in tasks:
        with open(f"/proc/self/task/{{task}}/schedstat") as file:
            times += int(file.read().split()[0])
    return times / 1e9
def adam(n=LARGE, steps=3):
    rng = np.random.default_rng(0)
    p = rng.standard_normal(n).astype("f")
    opt = fo.Adam(p)
    for _ in range(steps):
        opt.step(rng.standard_normal(n).astype("f"))
    return p.tobytes()
def adam_alone(**options):
    before = fo.get_num_threads()
    fo.set_num_threads(1)
    expected = adam(**options)
    fo.set_num_threads(before)
    return expected
"""
