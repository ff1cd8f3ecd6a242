"""What batches are made in: memory that is used again unseen."""

import gc
import threading
import weakref

import numpy as np
import pytest

import fastoptim as fo

from support.child import printed
from support.orders import order, rows


def address(x):
    return x.__array_interface__["data"][0]


@pytest.mark.parametrize("prefetch", [0, 1, 2])
def test_a_loop_that_drops_its_batches_allocates_nothing_new(prefetch):
    X, Y = np.random.default_rng(0).random((10_000, 16)), np.arange(10_000)
    batches = fo.MiniBatches(X, Y, batch_size=64, prefetch=prefetch)
    addresses = []
    for _ in range(2):
        for x, y in batches:
            addresses.append((address(x), address(y)))
    assert set(addresses[4:]) <= set(addresses[:4])
    assert len({a for a, _ in addresses}) <= 3 + prefetch
    assert all(a % 64 == 0 for pair in addresses for a in pair)


@pytest.mark.parametrize("prefetch", [0, 1])
def test_batches_that_are_kept_stay_as_they_are(prefetch):
    X, Y = np.random.default_rng(0).random((5000, 3)), np.arange(5000)
    batches = fo.MiniBatches(X, Y, batch_size=64, prefetch=prefetch)
    kept = dict(enumerate(batches))
    views = [x[1:, ::2] for x, _ in batches]  # the second epoch, by views alone
    memory = [memoryview(y) for _, y in batches]
    for _ in batches:
        pass
    for epoch, get in ((0, lambda k, r: np.array_equal(kept[k][0], X[r])),
                       (1, lambda k, r: np.array_equal(views[k], X[r][1:, ::2])),
                       (2, lambda k, r: np.array_equal(memory[k], r))):
        for k in range(len(batches)):
            assert get(k, order(5000, 0, epoch)[k * 64 : (k + 1) * 64])


def test_batches_outlive_their_source():
    batches = fo.MiniBatches(np.arange(1000), batch_size=10, prefetch=1)
    kept = list(batches)
    gone = weakref.ref(batches)
    del batches
    gc.collect()
    assert gone() is None
    assert np.array_equal(np.concatenate(kept), order(1000))


def test_what_was_kept_is_freed_not_hoarded():
    """After list(batches) is dropped, a few buffers are left for the next batches."""
    code = """
import gc, numpy as np, fastoptim as fo
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
X = np.ones((50, 1 << 20), np.uint8)
batches = fo.MiniBatches(X, batch_size=1)
kept = list(batches)
full = resident()
kept.clear()
gc.collect()
print(full - resident() > 40 << 20)
"""
    assert printed(code) == "True"


def test_large_buffers_serve_the_next_object_too():
    X = np.ones((6, 10 << 20), np.uint8)
    used = [{address(x) for x in fo.MiniBatches(X, batch_size=1)} for _ in range(3)]
    assert used[0] == used[1] == used[2]
    kept = list(fo.MiniBatches(X, batch_size=1))
    assert len({address(x) for x in kept}) == 6


def test_spare_buffers_are_bounded():
    """Of objects that are gone, 64 MiB are kept for the next one at most."""
    code = """
import gc, numpy as np, fastoptim as fo
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
X = np.broadcast_to(np.uint8(1), (9, 20 << 20))
before = resident()
for length in (17, 18, 19, 20):
    kept = list(fo.MiniBatches(X[:, : length << 20], batch_size=1))
    kept.clear()
    gc.collect()
print(resident() - before < 80 << 20)
"""
    assert printed(code) == "True"


@pytest.mark.parametrize("cut", [0, 1])
@pytest.mark.parametrize("shape", [(5000, 1, 512), (1, 5000, 512)])
def test_batches_past_the_caches(shape, cut):
    """Rows of whole cache lines in batches of more than 8 MiB, and rows that are not whole."""
    X = np.random.default_rng(0).random(shape)[..., cut:]
    axis = shape.index(5000)
    for batch_size in (5000, 2500):
        for k, x in enumerate(fo.MiniBatches(X, batch_size=batch_size, axis=axis)):
            rows = order(5000)[k * batch_size : (k + 1) * batch_size]
            assert np.array_equal(x, np.take(X, rows, axis))


def test_batches_can_be_dropped_in_other_threads():
    batches = fo.MiniBatches(np.arange(20_000), batch_size=10)
    kept = list(batches)
    parts = [kept[k::4] for k in range(4)]
    kept.clear()
    threads = [threading.Thread(target=part.clear) for part in parts]
    for thread in threads:
        thread.start()
    assert np.array_equal(rows(batches), order(20_000, 0, 1))
    for thread in threads:
        thread.join()


def test_threads_share_one_epoch():
    """Each batch goes to one of them, and none twice."""
    batches = fo.MiniBatches(np.arange(50_000), batch_size=50, prefetch=1)
    taken = [[] for _ in range(4)]
    start = threading.Barrier(4)
    iterator = iter(batches)

    def work(mine):
        mine.append(next(iterator))
        start.wait()
        mine.extend(iterator)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = np.concatenate([x for mine in taken for x in mine])
    assert np.array_equal(np.sort(everything), np.arange(50_000))
