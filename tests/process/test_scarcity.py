"""Where memory and threads cannot be had: MemoryError or the same bytes, never an end or a hang."""

import platform
import shutil
import subprocess

import pytest

from support import ROOT, child

SOURCE = ROOT / "bench" / "interpose.cpp"

PRELUDE = """
import ctypes, os, sys, threading, time
import numpy as np
import fastoptim as fo

process = ctypes.CDLL(None)
allocations = process.interpose_allocations
limit_news, refuse_threads = process.interpose_limit_news, process.interpose_refuse_threads
others = len(os.listdir("/proc/self/task"))  # NumPy's
n_workers = lambda: len(os.listdir("/proc/self/task")) - others
"""

@pytest.fixture(scope="session")
def interposed(tmp_path_factory):
    """run(code, **environ) -> what it prints, in a process with bench/interpose.cpp."""
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None or platform.libc_ver()[0] != "glibc" or not SOURCE.exists():
        pytest.skip("needs glibc, a C++ compiler and the sources")
    library = tmp_path_factory.mktemp("interposed") / "interpose.so"
    subprocess.run([compiler, "-std=c++17", "-O1", "-shared", "-fPIC", SOURCE, "-o", library],
                   check=True)

    def run(code, timeout=60, **environ):
        return child.run(PRELUDE + code, timeout=timeout, LD_PRELOAD=str(library), **environ)

    return run


def test_a_threaded_step_allocates_nothing(interposed):
    assert interposed("""
from itertools import repeat
p, g = np.zeros(1_000_000, np.float32), np.ones(1_000_000, np.float32)
step = fo.Adam(p, g).step
step()
before = allocations()
for _ in repeat(None, 100):
    step()
print(allocations() - before)
""", FASTOPTIM_NUM_THREADS="3") == "0\n"


def test_a_step_goes_on_with_the_threads_that_can_be_had(interposed):
    interposed("""
fo.set_num_threads(3)
p, g = np.zeros(1_000_000), np.ones(1_000_000)
opt = fo.SGD(p, g, lr=1.0)
opt.step()
if n_workers() == 0:
    sys.exit()  # a build without threads
for refuse in (True, False):
    refuse_threads(refuse)
    fo.set_num_threads(6)
    opt.step()
    opt.step()
    assert n_workers() == 2, n_workers()  # not asked again at once
    assert (p == -opt.t).all()
time.sleep(1.1)
opt.step()
assert n_workers() == 5, n_workers()
assert (p == -opt.t).all()
""", FASTOPTIM_NUM_THREADS="3")


def test_a_process_without_threads_works_alone(interposed):
    interposed("""
refuse_threads(True)
fo.set_num_threads(4)
p, g = np.zeros(1_000_000), np.ones(1_000_000)
opt = fo.SGD(p, g, lr=1.0)
for _ in range(3):
    opt.step()
assert n_workers() == 0
assert (p == -3).all()
x = np.arange(200_000.0).reshape(2, -1)
averages = fo.ewma(x, beta=0.9, axis=0)
rows = fo.Permutation(100_000, seed=1)[:]
assert sorted(rows) == list(range(100_000))
refuse_threads(False)
fo.set_num_threads(1)
assert (averages == fo.ewma(x, beta=0.9, axis=0)).all()
""")


# After k more allocations of C++ there are none. Not of what makes objects of the core's types:
# there it is pybind11 that ends the process.
@pytest.mark.parametrize("work", (
    "step()", "fo.ewma(x, beta=0.9, axis=0)",
    "order[:]", "order.index_of(rows)", "table.index_of(few)",
    "opt._core.zero_states()", "opt.state_dict()", "opt.load_state_dict(saved)",
    "next(batches)", "next(ahead)", "fo._core.shuffle([x.T], ['x'], [0], in_place)",
))
def test_no_allocation_that_fails_ends_the_process(interposed, work):
    interposed(f"""
p, g = np.zeros(300_000), np.ones(300_000)
opt = fo.SGD(p, g, lr=1.0)
step, saved = opt.step, opt.state_dict()
x = np.arange(400_000.0).reshape(2, -1)
table = fo.Permutation(60_000, seed=1)
few = np.resize(table[:], 100_000)
order = fo.Permutation(100_000, seed=1)
rows, in_place = order[:], fo.Permutation(200_000)._core
batches = iter(fo.MiniBatches(x.T, batch_size=64, seed=1))
ahead = iter(fo.MiniBatches(x.T, batch_size=64, seed=1, prefetch=2))
work = lambda: {work}
work_is_a_step = {work == 'step()'}
failed = 0
for k in range(60):
    fo.set_num_threads(2 + k)  # another thread for each
    table = fo.Permutation(60_000, seed=k)
    limit_news(k)
    try:
        work()
    except MemoryError:
        failed += 1
    finally:
        limit_news(-1)
for _ in range(3):
    work()
if work_is_a_step:
    assert (p == -opt.t).all()
""")


def test_batches_come_without_a_thread_to_prefetch_them(interposed):
    interposed("""
x = np.arange(1000.0)
def batches():
    return fo.MiniBatches(x, batch_size=7, seed=3, prefetch=2)
expected = [b.copy() for b in batches()]
refuse_threads(True)
found = batches()
for a, b in zip(expected, found, strict=True):
    assert (a == b).all()
found.seek(0, 70)
for a, b in zip(expected[10:], found, strict=True):
    assert (a == b).all()
found.seek(0, 0)
each = iter(found)
for k, a in enumerate(expected):
    refuse_threads(k % 10 < 5)
    assert (a == next(each)).all()
    if k == 20:
        found.seek(0, 70)
        break
for a, b in zip(expected[10:], found, strict=True):
    assert (a == b).all()
""")
