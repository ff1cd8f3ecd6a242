"""Forks and threads: a child steps too, and two threads cannot tear one optimizer."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastoptim as fo
from fastoptim import reference

LARGE = 1_000_000  # elements: enough for every thread to take part


def run(code, **environ):
    return subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=60, check=True,
                          capture_output=True, text=True, env={**os.environ, **environ}).stdout


def test_a_forked_child_steps_serially_to_the_same_bytes():
    out = run(f"""
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
    out = run(f"""
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
