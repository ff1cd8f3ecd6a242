"""Forks and threads: a child steps too, and two threads cannot tear one optimizer."""

import signal
import threading

import numpy as np
import pytest

import fastoptim as fo
from fastoptim import reference

from support import child

LARGE = 1_000_000  # elements: enough for every thread to take part


def test_a_forked_child_steps_serially_to_the_same_bytes():
    out = child.run(f"""
import os, numpy as np, fastoptim as fo
p, g = np.ones({LARGE}, np.float32), np.full({LARGE}, 0.5, np.float32)
opt = fo.Adam(p, g)
opt.step()
assert fo.get_num_threads() == 4
child = os.fork()
if not child:
    assert fo.get_num_threads() == 1
    try:
        fo.set_num_threads(2)
    except RuntimeError as error:
        assert "a forked child runs on one thread" in str(error)
        fo.set_num_threads(1)
        opt.step()
        os._exit(opt.t if (p == p[0]).all() else 99)
    os._exit(98)
import signal
signal.alarm(30)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""", FASTOPTIM_NUM_THREADS="4")
    assert out.split() == ["2"]


def test_multiprocessing_fork_pool_steps():
    out = child.run(f"""
import multiprocessing, numpy as np, fastoptim as fo
def work(k):
    p = np.full({LARGE}, float(k))
    fo.SGD(p, np.ones_like(p), lr=1.0).step()
    return float(p[-1])
p = np.ones({LARGE})
fo.SGD(p, p.copy()).step()
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map_async(work, range(4)).get(timeout=30))
""", FASTOPTIM_NUM_THREADS="4")
    assert out.strip() == "[-1.0, 0.0, 1.0, 2.0]"


# A thread is in a call of the optimizer, or out of it for a moment, when the process forks.
FORK = """
import os, sys, threading, time, numpy as np, fastoptim as fo
p, g = np.zeros(5_000_000, np.float32), np.ones(5_000_000, np.float32)
opt = fo.Adam(p, lr=1.0)
opt.step(g)
saved, values = opt.state_dict(), p.copy()
def fork_during(call, children):
    found = []
    def work():
        while len(found) < children:
            call()
    thread = threading.Thread(target=work)
    thread.start()
    while len(found) < children:
        time.sleep(0.0013)
        read, write = os.pipe()
        child = os.fork()
        if not child:
            try:
                answer = in_child()
            except BaseException as error:
                answer = repr(error)
            os.write(write, answer.encode())
            os._exit(0)
        os.close(write)
        found.append(os.read(read, 1000).decode())
        os.close(read)
        os.waitpid(child, 0)
    thread.join()
    return found
"""

def test_a_fork_during_a_step_leaves_an_optimizer_that_can_be_loaded():
    out = child.run(FORK + """
def in_child():
    refused = []
    for call in (lambda: opt.step(g), opt.state_dict, lambda: opt.step(g)):
        try:
            call()
        except RuntimeError as error:
            refused.append(str(error))
    again = fo.Adam(p.copy(), lr=1.0)  # a new one goes without more
    again.step(g)
    p[:] = values
    opt.load_state_dict(saved)
    opt.step(g)
    assert opt.t == 2 and (p == p[0]).all() and abs(p[0] + 2) < 1e-6, p
    return f"{len(refused)} {refused and refused[0]}"
print(*fork_during(lambda: opt.step(g), 8), sep="\\n")
assert (p == p[0]).all()
""")
    refused = [line for line in out.splitlines() if line != "0 []"]
    assert refused, "no fork came during a step: the test shows nothing"
    assert set(refused) == {
        "3 an optimizer must be whole, got one whose step or load was cut off halfway (by a fork "
        "while another thread was in it): write saved values into its parameters and call "
        "load_state_dict, or make a new optimizer"}


@pytest.mark.parametrize("call", ("opt.state_dict()", "opt.step([Slow()])"))
def test_a_fork_during_what_writes_nothing_lets_the_child_step(call):
    out = child.run(FORK + f"""
class Slow:  # a gradient that takes its time to say what it is
    def __dlpack__(self, **options):
        time.sleep(0.01)
        raise ValueError("no more")
    def __dlpack_device__(self):
        return 1, 0
def call():
    try:
        {call}
    except TypeError as error:
        assert "no more" in str(error)
def in_child():
    opt.state_dict()
    opt.step(g)
    assert opt.t == 2 and (p == p[0]).all() and abs(p[0] + 2) < 1e-6, p
    return "stepped"
print(*fork_during(call, 8))
""")
    assert out.split() == ["stepped"] * 8


def test_a_fork_between_two_gradients_does_not_mix_them_with_the_childs():
    out = child.run("""
import os, threading, time, numpy as np, fastoptim as fo
p, q = np.zeros(3), np.zeros(3)
opt = fo.SGD([p, q], lr=1.0)
taken, go_on = threading.Event(), threading.Event()
class Slow:
    def __dlpack__(self, **options):
        taken.set()
        go_on.wait()
        return np.ones(3).__dlpack__()
    def __dlpack_device__(self):
        return 1, 0
thread = threading.Thread(target=lambda: opt.step([np.ones(3), Slow()]))
thread.start()
taken.wait()
child = os.fork()
if not child:
    opt.step([np.full(3, 2.0), np.full(3, 3.0)])
    os._exit(int(-p[0] * 10 - q[0]))
go_on.set()
thread.join()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), p[0], q[0])
""")
    assert out.split() == ["23", "-1.0", "-1.0"]


def test_a_gradient_that_forks_and_steps_in_the_child_is_refused_there():
    out = child.run("""
import os, numpy as np, fastoptim as fo
p, q, g = np.zeros(3), np.zeros(3), np.ones(3)
opt = fo.SGD([p, q], lr=1.0)
class Forks:
    def __dlpack__(self, **options):
        global child
        child = os.fork()
        if not child:
            opt.step([g, g])
        return g.__dlpack__()
    def __dlpack_device__(self):
        return 1, 0
try:
    opt.step([g, Forks()])
except RuntimeError as error:
    assert "one thread at a time" in str(error), error
    os._exit(opt.t + 10)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), opt.t)
""")
    assert out.split() == ["11", "1"]


# What a daemon thread may be in when the interpreter ends, and what it needs.
CALLS = {
    "step": "opt.step()",
    "step with gradients": "opt.step([g])",
    "step with a gradient that runs Python": "opt.step([exported])",
    "first step": "fo.Adam(p, g).step()",
    "state_dict": "opt.state_dict()",
    "load_state_dict": "opt.load_state_dict(saved)",
    "functional": "fo.functional.sgd_(p, g, lr=1e-3)",
    "ewma": "fo.ewma(x, beta=0.9, axis=1)",
    "batches": "for batch in batches: pass",
    "prefetched batches": "for batch in ahead: pass",
    "new batches": "next(iter(fo.MiniBatches(x, batch_size=64, prefetch=1)))",
    "shuffle_": "fo.shuffle_(x, seed=1)",
    "permutation": "order[:]",
    "permutation at": "order[rows]",
    "permutation index": "order.index_of(rows)",
    "roofline": "fo._core.roofline(streams)",
}


@pytest.mark.parametrize("call", CALLS)
def test_a_daemon_thread_in_a_call_does_not_end_the_exit(call):
    for delay in (0.05, 0.07):
        done = child.python("-c", f"""
import sys, threading, time, numpy as np, fastoptim as fo
p, g = np.ones(300_000, np.float32), np.full(300_000, 0.5, np.float32)
opt = fo.Adam(p, g)
saved = opt.state_dict()
x = np.ones((20_000, 30), np.float32)
batches = fo.MiniBatches(x, batch_size=5000)
ahead = fo.MiniBatches(x, batch_size=5000, prefetch=2)
order = fo.Permutation(300_000)
rows = order[:]
streams = [np.ones(1_000_000) for _ in range(4)]
class Exported:
    def __dlpack__(self, **options):
        for _ in range(1000):  # where the interpreter takes turns
            pass
        return g.__dlpack__()
    def __dlpack_device__(self):
        for _ in range(1000):
            pass
        return 1, 0
    def __getattr__(self, name):
        raise AttributeError(name)
exported = Exported()
started = threading.Event()
def work():
    while True:
        {CALLS[call]}
        started.set()
threading.Thread(target=work, daemon=True).start()
assert started.wait(30)
time.sleep({delay})
""")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_two_threads_on_one_optimizer_never_tear_it():
    p, g = np.ones(LARGE), np.full(LARGE, 0.5)
    optimizer = fo.Adam(p, g)
    start, lock = threading.Barrier(2), threading.Lock()
    taken, messages = [], []

    def work():
        start.wait()
        for _ in range(30):
            try:
                optimizer.step()
            except RuntimeError as error:
                with lock:
                    messages.append(str(error))
            else:
                with lock:
                    taken.append(1)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(taken) + len(messages) == 60
    assert messages, "the two never met: the test shows nothing"
    assert set(messages) == {
        "an optimizer must be used by one thread at a time, got another step meanwhile"}
    assert optimizer.t == len(taken)
    expected, s = np.ones(1), {}
    for t in range(1, len(taken) + 1):
        expected = reference.adam(expected, g[:1], s, t)
    assert (p == expected[0]).all()


def test_optimizers_in_different_threads_do_not_meet():
    results = {}

    def work(k):
        p = np.full(LARGE, float(k), np.float32)
        optimizer = fo.Momentum(p, np.ones_like(p))
        for _ in range(10):
            optimizer.step()
        results[k] = p

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(4):
        expected, s = np.full(1, float(k), np.float32), {}
        for t in range(1, 11):
            expected = reference.momentum(expected, np.ones(1, np.float32), s, t)
        assert (results[k] == expected[0]).all()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timer here")
def test_an_interrupt_does_not_part_the_count_from_the_parameters():
    p, g = np.zeros(50_000), np.ones(50_000)
    optimizer = fo.SGD(p, g, lr=1.0)

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    interrupts = 0
    try:
        while interrupts < 50:
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-3 * (1 + interrupts % 7) / 3)
                while True:
                    optimizer.step()
            except KeyboardInterrupt:
                interrupts += 1
                assert (p == -optimizer.t).all()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    optimizer.step()
    assert (p == -optimizer.t).all()
