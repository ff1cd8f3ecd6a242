"""The background thread: it ends when it should, across forks and where things run short."""

import os
import threading
import time

import numpy as np
import pytest

import fastoptim as fo

from support.child import printed
from support.orders import order, rows

SETUP = """
import os, threading, numpy as np, fastoptim as fo
X = np.arange(300_000)
batches = fo.MiniBatches(X, batch_size=1000, prefetch=2)
def tasks():
    return len(os.listdir("/proc/self/task"))
fo.set_num_threads(1)
before = tasks()
"""

def test_prefetch_stops_with_its_owner():
    assert printed(SETUP + """
for x in batches:
    break
assert tasks() == before + 1
del batches
print(tasks() - before)
""") == "0"


@pytest.mark.parametrize("end", ["", "raise SystemExit(0)", "del X, x",
                                 "cycle = [batches]; cycle.append(cycle)"])
def test_prefetch_at_the_interpreters_exit(end):
    printed(SETUP + "for x in batches:\n    break\n" + end)


def test_prefetch_survives_an_exception_in_the_loop():
    batches = fo.MiniBatches(np.arange(1000), batch_size=10, prefetch=2)
    taken = []
    with pytest.raises(ZeroDivisionError):
        for batch in batches:
            taken.append(batch)
            raise ZeroDivisionError
    batches.load_state_dict(batches.state_dict())
    assert np.array_equal(np.r_[taken[0], rows(batches)], order(1000))


def test_prefetch_after_a_seek():
    batches = fo.MiniBatches(np.arange(1000), batch_size=10, prefetch=3)
    for epoch, position in ((0, 500), (3, 20), (0, 0), (0, 995)):
        next(iter(batches))
        batches.seek(epoch, position)
        assert np.array_equal(rows(batches), order(1000, 0, epoch)[position:])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("options", ["", ", block_rows=1000, window_blocks=4"])
def test_a_fork_in_mid_epoch(options):
    assert printed(SETUP + f"""
batches = fo.MiniBatches(X, batch_size=1000, prefetch=2{options})
whole = np.concatenate(list(batches))
batches.seek(0)
fo.set_num_threads(2)
for repeat in range(20):
    batches.seek(0)
    iterator = iter(batches)
    first = next(iterator)
    child = os.fork()
    if not child:
        import signal
        signal.alarm(20)
    rest = np.concatenate(list(iterator))
    right = np.array_equal(np.r_[first, rest], whole)
    if not child:
        list(batches)
        del batches
        os._exit(0 if right else 1)
    assert right and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print("right")
""", FASTOPTIM_NUM_THREADS="2") == "right"


FORKS = """
import itertools, os, signal, threading, numpy as np, fastoptim as fo
X = np.arange(200_000)
order = [fo.Permutation(len(X), 0, epoch)[:] for epoch in (0, 1)]
small = np.arange(60_000)
positions = fo.Permutation(len(small), 0).index_of(small)
over = False
def work():
    while not over:
        loop()
        fresh.index_of(small)
for repeat in range(60):
    batches = fo.MiniBatches(X, batch_size=20_000, {options})
    fresh = fo.Permutation(len(small), 0)
    shared, over = iter(batches), False
    def loop():
        for x in shared: pass
        for x in fo.MiniBatches(X, batch_size=20_000, {options}): pass
    thread = threading.Thread(target=work)
    thread.start()
    kept = next(shared, None)
    if not (child := os.fork()):
        signal.alarm(20)
        right = np.array_equal(fresh.index_of(small), positions)
        rest = list(shared)  # whole batches, each of them as it should be
        right &= all(any(np.array_equal(x, order[0][k:k + 20_000])
                         for k in range(0, len(X), 20_000)) for x in rest)
        right &= np.array_equal(np.concatenate(list(batches)), order[1])
        batches.seek(0)
        kept = rest = None
        right &= np.array_equal(np.concatenate(list(batches)), order[0])
        del batches, shared
        os._exit(not right)
    over = True
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
print("right")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("options", ["", "prefetch=2",
                                     "block_rows=1000, window_blocks=400, prefetch=1"])
def test_a_fork_while_another_thread_takes_a_batch(options):
    if options.startswith("block_rows"):  # one window: the order of the whole, but by other rows
        code = FORKS.replace("order = [", "order = [np.concatenate(list(fo.MiniBatches(X, "
                             "batch_size=len(X), start=(epoch, 0), {options}))) or ")
        code = code.replace(" or fo.Permutation(len(X), 0, epoch)[:] for", " for")
    else:
        code = FORKS
    assert printed(code.replace("{options}", options), FASTOPTIM_NUM_THREADS="1") == "right"


def test_a_finaliser_may_ask_for_the_place():
    """Before Python 3.12 the garbage collector runs wherever an object is made, even in here."""
    assert printed("""
import gc, numpy as np, fastoptim as fo
X = np.arange(300)
batches = fo.MiniBatches(*[X] * 21, batch_size=10)
class Cyclic:
    def __init__(self):
        self.me = self
    def __del__(self):
        seen.append((batches.epoch, batches.position, batches.remaining, batches.peek()[3][0]))
seen = []
gc.set_threshold(1)
for epoch in range(2):
    for taken in batches:
        Cyclic()
gc.collect()
print(len(seen))
""", timeout=30) == "60"


def slow_rows():
    """Eight rows of 24 MiB, a byte at a time, of which a batch takes some 20 ms to copy."""
    memory = np.zeros(2 * (24 << 20), np.uint8)
    return np.lib.stride_tricks.as_strided(memory, (8, 24 << 20), (0, 2))


def test_dropping_batches_lets_other_threads_run():
    """The background thread is in the midst of a batch, and is waited for without the GIL."""
    ticks, over = [], threading.Event()

    def tick():
        while not over.wait(0.0005):
            ticks.append(time.perf_counter())

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        for _ in range(50):
            batches = fo.MiniBatches(slow_rows(), batch_size=1, prefetch=1)
            next(iter(batches))
            start = time.perf_counter()
            del batches
            end = time.perf_counter()
            if end - start > 0.01:
                break
        else:
            pytest.skip("no batch was ever under way")
        time.sleep(0.01)
    finally:
        over.set()
        thread.join()
    assert sum(start < t < end for t in ticks) > 2


@pytest.mark.parametrize("use", [
    "fo.shuffle_(x)", "fo.ewma(x, out=x)", "next(iter(fo.MiniBatches(x, batch_size=len(x))))"])
def test_numpy_does_not_resize_what_another_thread_works_on(use):
    assert printed(f"""
import threading, time, numpy as np, fastoptim as fo
fo.set_num_threads(1)
x = np.ones(3_000_000)
refused = 0
for _ in range(20):
    def work():
        started.set()
        try:
            {use}
        except ValueError:
            pass  # the array was resized before its memory was used
    started = threading.Event()
    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    time.sleep(0.001)
    try:
        x.resize(x.size + 1, refcheck=False)
    except ValueError:
        refused += 1
    thread.join()
    if refused:
        break
print(refused > 0)
""") == "True"


def test_batches_come_where_no_thread_can_be_started():
    pytest.importorskip("resource")
    assert printed("""
import numpy as np, fastoptim as fo, resource
fo.set_num_threads(1)
batches = fo.MiniBatches(np.arange(1000), batch_size=100, prefetch=2)
limit = resource.getrlimit(resource.RLIMIT_AS)
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (3 << 20), limit[1]))  # a thread's stack is 8 MiB
right = True
for epoch in range(2):
    batches.seek(epoch)
    rows = np.concatenate(list(batches))
    right &= np.array_equal(rows, fo.Permutation(1000, 0, epoch)[:])
    batches.seek(epoch, 500)
    right &= np.array_equal(np.concatenate(list(batches)), rows[500:])
resource.setrlimit(resource.RLIMIT_AS, limit)
print(right)
""", timeout=30) == "True"


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps"), reason="no /proc here")
@pytest.mark.parametrize("prefetch", [0, 1])
def test_two_windows_of_a_file_stay_mapped(tmp_path, prefetch):
    path = tmp_path / "rows"
    block, row = 2048, 4096  # 8 MiB, since the system maps a page's neighbours with it
    with open(path, "wb") as file:
        file.truncate(16 * block * row)
    X = np.memmap(path, np.uint8, "r", shape=(16 * block, row))

    def windows():
        """Of two blocks each, how many are mapped."""
        inside, total = False, 0
        with open("/proc/self/smaps") as file:
            for line in file:
                if "-" in line.split(maxsplit=1)[0]:
                    inside = line.rstrip().endswith(str(path))
                elif inside and line.startswith("Rss:"):
                    total += int(line.split()[1])
        return total * 1024 / (2 * block * row)

    batches = fo.MiniBatches(X, batch_size=block, block_rows=block, window_blocks=2,
                             prefetch=prefetch)
    iterator = iter(batches)
    for window in range(8):
        next(iterator)  # in the midst of it: the next one is being read
        expected = 2 if window < 7 else 1
        end = time.monotonic() + 10
        while abs(windows() - expected) > 0.2:
            assert time.monotonic() < end, (window, windows())
            time.sleep(0.005)
        next(iterator)
    del iterator
    assert windows() < 0.2


@pytest.mark.parametrize("options", [{}, dict(prefetch=2), dict(shuffle=False)], ids=str)
def test_no_batch_is_lost_where_memory_runs_out(options):
    testing = pytest.importorskip("_testcapi")
    X, y = np.arange(2000).reshape(1000, 2), np.arange(1000)
    refused = 0
    for k in range(40):  # the allocation that fails
        batches = fo.MiniBatches(X, y, batch_size=10, **options)
        iterator = iter(batches)
        first = None
        testing.set_nomemory(k, k + 1)
        try:
            first = next(iterator)
        except MemoryError:
            refused += 1
        finally:
            testing.remove_mem_hooks()
        assert batches.position == (0 if first is None else 10)
        taken = [*([] if first is None else [first]), *iterator]
        expected = order(1000) if options.get("shuffle", True) else y
        assert np.array_equal(np.concatenate([rows for _, rows in taken]), expected)
    assert refused > 1


def test_an_iterator_that_was_never_made_is_refused():
    kind = type(iter(fo.MiniBatches(np.arange(3), batch_size=1)))
    with pytest.raises(TypeError):
        kind()
    with pytest.raises(TypeError, match="iter"):
        next(kind.__new__(kind))
