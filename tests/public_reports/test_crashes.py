"""Crashes and hangs: faults that users of other libraries reported in public.

A test is named by what the user saw. Its first line says where that was reported, and what was
seen there; the rest is the same situation here.
"""

import copy
import pickle
import signal
import sys
import weakref

import numpy as np
import pytest

import fastoptim as fo

from support import child
from support.orders import order_list as order
from support.orders import row_list as rows


def test_what_a_loader_was_made_from_cannot_be_swapped_afterwards():
    # https://github.com/PKU-ML/AdvNotRealFeatures/issues/6: a loader's data set was assigned.
    batches, p = fo.MiniBatches(np.arange(10), batch_size=5, seed=1), fo.Permutation(10, seed=1)
    for thing, name, value in [(batches, "batch_size", 2), (batches, "seed", 2),
                               (batches, "shuffle", False), (batches, "drop_last", True),
                               (p, "n", 10**9), (p, "seed", 2), (p, "epoch", 1)]:
        before = getattr(thing, name)
        with pytest.raises(AttributeError, match=name):
            setattr(thing, name, value)
        assert getattr(thing, name) == before
    assert rows(batches) == list(p) == order(10, seed=1)


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_array_that_was_resized_is_not_read_where_it_lay(shuffle):
    # https://github.com/numpy/numpy/issues/28429: a view kept looking at memory that was let go.
    assert child.run(f"""
import numpy as np, fastoptim as fo
x, p = np.arange(3e6), np.zeros(3_000_000)
batches, opt = fo.MiniBatches(x, batch_size=5, shuffle={shuffle}), fo.SGD(p)
x.resize(10, refcheck=False)
p.resize(10, refcheck=False)
for use in (lambda: next(iter(batches)), lambda: opt.step(np.ones(10))):
    try:
        use()
    except (RuntimeError, TypeError, ValueError) as error:
        print("refused")
""").split() == ["refused", "refused"]


FORKS = """
import os, signal, threading, time
import numpy as np, fastoptim as fo
{}
def forever():
    while True:
        work()
threading.Thread(target=forever, daemon=True).start()
for k in range(20):
    time.sleep(0.003 + 0.0007 * k)
    child = os.fork()
    if not child:
        signal.alarm(10)
        try:
            try:
                work()
            except RuntimeError:
                mend()
                work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        break
print(code)
os._exit(0)
"""

@pytest.mark.parametrize("work", [
    "b = fo.MiniBatches(np.zeros((40_000, 20)), batch_size=20_000)\nwork = lambda: list(b)",
    "opt = fo.Adam(np.zeros(2_000_000), np.ones(2_000_000))\nwork = opt.step\n"
    "saved = opt.state_dict()\nmend = lambda: opt.load_state_dict(saved)",  # if cut off halfway
], ids=["loader", "step"])
def test_a_child_forked_while_another_thread_works_does_not_hang(work):
    # https://github.com/ultralytics/ultralytics/pull/26085: forked with a lock held, it waited.
    assert child.run(FORKS.format(work)) == "0\n"


def test_arithmetic_in_a_forked_child_does_not_hang():
    # https://github.com/OpenMathLib/OpenBLAS/issues/294: a child's first product never ended.
    assert child.run("""
import os, signal, numpy as np, fastoptim as fo
fo.set_num_threads(4)
opt = fo.Adam(np.zeros(1_000_000), np.ones(1_000_000))
opt.step()
child = os.fork()
if not child:
    signal.alarm(20)
    opt.step()
    os._exit(opt.t)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""") == "2\n"


@pytest.mark.parametrize("work", ["opt.step", "lambda: list(batches)", "lambda: fo.shuffle_(own)",
                                  "lambda: fo.ewma(x)", "lambda: order[:]"])
def test_a_daemon_thread_does_not_abort_the_process_at_its_end(work):
    # https://github.com/pytorch/pytorch/issues/38228: terminate called without an active exception.
    assert child.run(f"""
import threading, time
import numpy as np, fastoptim as fo
x = np.random.default_rng(0).random((100_000, 10))
opt, order = fo.Adam(np.zeros(300_000), np.ones(300_000)), fo.Permutation(1_000_000)
batches, own = fo.MiniBatches(x, batch_size=5000), x.copy()
def forever(work):
    while True:
        work()
threading.Thread(target=forever, args=({work},), daemon=True).start()
time.sleep(0.2)
print("end")
""") == "end\n"


@pytest.mark.skipif(sys.platform != "linux", reason="limits and /proc as Linux has them")
def test_a_thread_that_cannot_be_started_is_not_waited_for():
    # https://github.com/valkey-io/valkey-search/issues/1344: a pool waited for a thread not begun.
    assert child.run("""
import resource, numpy as np, fastoptim as fo
x = np.arange(1000)
batches = fo.MiniBatches(x, batch_size=100, prefetch=1)
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + (4 << 20),) * 2)  # less than a stack
for epoch in range(3):
    batches.seek(epoch)
    print([row for batch in batches for row in batch.tolist()] ==
          fo.Permutation(1000, 0, epoch)[:].tolist())
""", timeout=20) == "True\n" * 3


def test_positions_that_a_thread_writes_to_meanwhile_are_no_crash():
    # https://github.com/numpy/numpy/issues/15387: threads and an array of indices, corruption.
    assert child.run("""
import sys, threading, time, numpy as np, fastoptim as fo
sys.setswitchinterval(1e-6)
a, p, stop = np.zeros(20_000, np.int64), fo.Permutation(1000), time.monotonic() + 2
def write():
    while time.monotonic() < stop:
        a.fill(1 << 40)
        a.fill(0)
threading.Thread(target=write).start()
seen = set()
while time.monotonic() < stop:
    try:
        seen.update(p[a].tolist())
    except IndexError:
        pass
print(all(0 <= row < 1000 for row in seen))
""") == "True\n"


def test_a_finaliser_that_reads_the_loader_does_not_deadlock():
    # https://github.com/getsentry/sentry-python/issues/803: the collector ran under a lock.
    assert child.run("""
import gc, numpy as np, fastoptim as fo
class Finalised:
    def __init__(self):
        self.me = self
    def __del__(self):
        batches.epoch
batches = fo.MiniBatches(*[np.arange(300)] * 21, batch_size=1)
gc.set_threshold(5)
for _ in range(10):
    for batch in batches:
        Finalised()
gc.set_threshold(0)
print(batches.epoch)
""", timeout=30) == "10\n"


@pytest.mark.parametrize("make", [lambda x: fo.Adam(x), lambda x: fo.Momentum(x, x + 1),
                                  lambda x: fo.MiniBatches(x, batch_size=2)])
def test_an_array_that_refers_to_what_refers_to_it_is_freed(make):
    # https://github.com/numpy/numpy/issues/6581: an array in a cycle was never collected.
    import gc

    class Owner(np.ndarray):
        pass

    x = Owner(10)
    x[...] = 0
    x.user = make(x)
    gone = weakref.ref(x)
    del x
    gc.collect()
    assert gone() is None


def test_letting_go_of_a_loader_does_not_hold_up_other_threads():
    # https://github.com/pybind/pybind11/issues/1446: a destructor waited for a thread with the GIL.
    assert child.run("""
import sys, threading, time, numpy as np, fastoptim as fo
sys.setswitchinterval(100)  # the main thread is never asked for the GIL
ticks = 0
def tick():
    global ticks
    while True:
        time.sleep(0.001)
        ticks += 1
x = np.ones((20_000_000,), np.float32)
batches = fo.MiniBatches(x, batch_size=10_000_000, prefetch=1)
iterator = iter(batches)
threading.Thread(target=tick, daemon=True).start()
time.sleep(0.01)
next(iterator)
time.sleep(0.02)  # the batch after it is being made
before, start = ticks, time.perf_counter()
del iterator, batches
print(ticks > before or time.perf_counter() - start < 0.02)
sys.stdout.flush()
__import__("os")._exit(0)
""") == "True\n"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timer here")
def test_an_interrupt_while_loading_leaves_one_state_or_the_other():
    # https://github.com/zylo117/Yet-Another-EfficientDet-Pytorch/issues/101: Ctrl-C, half a file.
    params = {name: np.zeros(10) for name in "abcdef"}
    states = []
    for k in (1, 2):
        opt = fo.Momentum(params, lr=float(k), beta=k / 8, seed=k)
        for _ in range(k):
            opt.step({name: np.full(10, float(k)) for name in params})
        states.append(opt.state_dict())
    seen = {(s["t"], s["lr"], s["groups"][0]["beta"], s["storage"]["seed"],
             *(float(v["v"][0]) for v in s["state"].values())) for s in states}
    assert len(seen) == 2

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    found = set()
    try:
        for k in range(300):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-4 * (3 + k % 11))
                while True:
                    for state in states:
                        opt.load_state_dict(state)
            except KeyboardInterrupt:
                s = opt.state_dict()
                found.add((s["t"], s["lr"], s["groups"][0]["beta"], s["storage"]["seed"],
                           *(float(v["v"][0]) for v in s["state"].values())))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert found <= seen


def test_loading_another_optimizers_live_state_copies_it():
    # https://github.com/pytorch/pytorch/issues/196083: afterwards both stepped on one buffer.
    p, g = {"a": np.zeros(3), "b": np.zeros(3)}, {"a": np.ones(3), "b": np.full(3, 2.0)}
    first, second = fo.Momentum(p, lr=0.0), fo.Momentum(copy.deepcopy(p), lr=0.0)
    first.step(g)
    second.load_state_dict({**first.state_dict(), "state": first.state})
    old = second.state_dict()["state"]
    first.step(g)
    assert np.array_equal(second.state["a"]["v"], old["a"]["v"])
    live = second.state
    second.load_state_dict({**second.state_dict(), "state": {"a": live["b"], "b": live["a"]}})
    assert np.array_equal(second.state["a"]["v"], old["b"]["v"])
    assert np.array_equal(second.state["b"]["v"], old["a"]["v"])


def test_an_empty_tensor_is_not_refused_for_its_strides():
    # https://github.com/triton-inference-server/python_backend/pull/444: empty, "not contiguous".
    params = [np.zeros((0, 3), np.float32), np.zeros((3, 0, 2), np.float32), np.ones(3, "f4")]
    opt = fo.Adam(params, state_dtype="q8")
    opt.step([np.ones_like(p) for p in params])
    opt.load_state_dict(opt.state_dict())
    assert opt.t == 1


def test_states_of_8_bits_come_back_from_a_file():
    # https://github.com/pytorch/ao/issues/3314: 8-bit states from a checkpoint, dtype mismatch.
    opt = fo.Adam(np.zeros(300, np.float32), state_dtype="q8")
    opt.step(np.ones(300, np.float32))
    state = opt.state_dict()
    opt.load_state_dict(pickle.loads(pickle.dumps(state)))  # with an int8 that is not NumPy's own
    for name, x in opt.state[0].items():
        assert x.tobytes() == state["state"][0][name].tobytes()
