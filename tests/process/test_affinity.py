"""Workers run where their caller may, but not on its processor; what others set is respected."""

import os

import pytest

from support import child

PRELUDE = """
import ctypes, os, sys, threading, time
import numpy as np
import fastoptim as fo

processor = ctypes.CDLL(None).sched_getcpu
allowed = os.sched_getaffinity(0)

def tasks():
    return set(map(int, os.listdir("/proc/self/task")))

def masks():  # of the workers
    return [os.sched_getaffinity(task) for task in workers]

def turns():  # of each worker on a processor
    counts = []
    for task in workers:
        with open(f"/proc/self/task/{task}/schedstat") as file:
            counts.append(int(file.read().split()[2]))
    return counts

def step():
    opt.step()
    assert (p == -opt.t).all()

def step_at_rest():  # a step that its caller began and ended on one processor
    for _ in range(1000):
        before = processor()
        step()
        if processor() == before:
            return before
    sys.exit("the caller never stays on a processor")

def later():  # when the pool looks at the masks again
    time.sleep(0.03)

others = tasks()
p, g = np.zeros(400_000, np.float32), np.ones(400_000, np.float32)
opt = fo.SGD(p, g, lr=1.0)
step()
workers = sorted(tasks() - others)
if not workers:
    sys.exit()  # a build without threads
"""

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or not os.path.exists("/proc/self/task"),
    reason="no affinity masks on this system")

needs_two = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs two processors")


def run(code, threads=2, **options):
    child.run(PRELUDE + code, FASTOPTIM_NUM_THREADS=str(threads), **options)


@needs_two
def test_a_worker_stays_off_the_processor_of_its_caller_wherever_that_moves():
    run("""
for _ in range(20):
    for place in allowed:
        os.sched_setaffinity(0, {place})
        os.sched_setaffinity(0, allowed)  # the caller stays there
        at = step_at_rest()
        assert masks() == [allowed - {at}], (at, masks())
assert os.sched_getaffinity(0) == allowed
""")


@needs_two
def test_the_mask_of_the_caller_is_followed_when_it_changes():
    run("""
for place in [*allowed] * 3:
    os.sched_setaffinity(0, {place})
    later()
    step()
    assert masks() == [{place}] * 4, masks()
    os.sched_setaffinity(0, allowed)
    later()
    at = step_at_rest()
    assert masks()[0] == allowed - {at}, (at, masks())
    assert all(mask <= allowed for mask in masks())
""", threads=5)


@needs_two
def test_a_change_for_all_threads_is_followed():
    run("""
for place in [*allowed] * 3:
    for mask in ({place}, allowed):
        for task in tasks():  # as taskset -a does
            os.sched_setaffinity(task, mask)
        later()
        at = step_at_rest()
        assert masks() == [mask - {at} or mask], (at, masks())
""")


@needs_two
def test_a_worker_that_others_have_pinned_is_left_there():
    run("""
for place in allowed:
    os.sched_setaffinity(workers[0], allowed)
    while True:  # until the pool has put it elsewhere: else pinning it would change nothing
        os.sched_setaffinity(0, {place})
        os.sched_setaffinity(0, allowed)
        later()
        step()
        if masks() != [{place}]:
            break
    os.sched_setaffinity(workers[0], {place})
    for caller in (allowed, {min(allowed)}, {max(allowed)}, allowed):
        os.sched_setaffinity(0, caller)
        for _ in range(5):
            later()
            step()
            assert masks() == [{place}], (place, caller, masks())
    later()
    step()  # the caller's mask is as it was, the worker's still its own
    assert masks() == [{place}]
""")


@needs_two
def test_a_worker_pinned_apart_from_its_caller_takes_part():
    run("""
first, second = sorted(allowed)[:2]
os.sched_setaffinity(0, {first})
later()
step()
os.sched_setaffinity(workers[0], {second})
later()
step()
before = turns()
end = time.monotonic() + 20
while turns() == before:
    time.sleep(0.005)
    step()
    assert time.monotonic() < end, "the worker takes no part"
assert masks() == [{second}]
""")


def test_no_more_threads_take_part_than_there_are_processors():
    run("""
time.sleep(0.2)
before = turns()
for _ in range(100):
    step()
moved = sum(now != then for now, then in zip(turns(), before))
assert moved <= max(len(allowed) - 1, 0), (moved, allowed)
assert len(workers) == 15  # but they are there, for a wider mask
""", threads=16)


def test_with_one_processor_the_caller_works_alone():
    run("""
os.sched_setaffinity(0, {min(allowed)})
later()
step()
time.sleep(0.2)
before = turns()
for k in range(100):
    step()
    if k % 20 == 0:
        later()
assert turns() == before
assert masks() == [{min(allowed)}] * 3
""", threads=4)


@needs_two
def test_callers_with_masks_of_their_own():
    run("""
def pinned(place):
    os.sched_setaffinity(0, {place})
    q = np.zeros(400_000, np.float32)
    own = fo.SGD(q, g, lr=1.0)
    for _ in range(200):
        own.step()
        if not (q == -own.t).all():
            wrong.append(place)
    if os.sched_getaffinity(0) != {place}:
        wrong.append("mask")

wrong = []
threads = [threading.Thread(target=pinned, args=[place]) for place in allowed]
for thread in threads:
    thread.start()
for _ in range(200):
    step()
for thread in threads:
    thread.join()
assert not wrong, wrong
at = step_at_rest()
assert masks()[0] == allowed - {at}, (at, masks())
""", threads=3)
