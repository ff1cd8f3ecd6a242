"""MiniBatches: every row once, in epochs, shards and blocks, resumable anywhere."""

import io
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastoptim as fo

from support import reference_permutation as reference
from support.orders import VECTORS, order, rows

# Epochs, batches, length


@pytest.mark.parametrize("prefetch", [0, 1, 3])
@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 1000])
@pytest.mark.parametrize("batch_size", [1, 64, 1000, 5000])
def test_an_epoch_is_the_permutation(n, batch_size, prefetch):
    batches = fo.MiniBatches(np.arange(n), batch_size=batch_size, seed=4, prefetch=prefetch)
    for epoch in range(3):
        assert batches.epoch == epoch
        taken = list(batches)
        assert [len(x) for x in taken[:-1]] == [batch_size] * (len(taken) - 1)
        assert len(taken) == len(batches) == math.ceil(n / batch_size)
        assert np.array_equal(np.concatenate([*taken, np.arange(0)]), order(n, 4, epoch))


def test_arrays_come_together():
    X, Y = np.random.default_rng(0).random((100, 3)), np.arange(100)
    for x, y in fo.MiniBatches(X, Y, batch_size=32):
        assert np.array_equal(x, X[y])


@pytest.mark.parametrize("n", [10, 11, 19, 20])
def test_drop_last(n):
    batches = fo.MiniBatches(np.arange(n), batch_size=10, drop_last=True)
    for epoch in range(2):
        taken = list(batches)
        assert len(taken) == len(batches) == n // 10
        assert all(len(x) == 10 for x in taken)
        assert np.array_equal(np.concatenate([*taken, np.arange(0)]),
                              order(n, 0, epoch)[: n // 10 * 10])


def test_unshuffled_batches_are_views():
    X, Y = np.zeros((3, 10)), np.arange(20).reshape(2, 10)
    batches = fo.MiniBatches(X, Y, batch_size=4, axis=1, shuffle=False, prefetch=1)
    for _ in range(2):
        taken = list(batches)
        assert [y[0].tolist() for _, y in taken] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
        assert all(np.shares_memory(x, X) and x.base is X for x, _ in taken)


def test_a_loop_left_early_is_over():
    """What was left goes on only where a state is loaded, or sought."""
    batches = fo.MiniBatches(np.arange(10), batch_size=3)
    first = next(iter(batches))
    assert (batches.epoch, batches.position) == (0, 3)
    state = batches.state_dict()
    assert np.array_equal(rows(batches), order(10, 0, 1))
    assert (batches.epoch, batches.position) == (2, 0)
    batches.load_state_dict(state)
    assert np.array_equal(np.r_[first, rows(batches)], order(10))
    assert (batches.epoch, batches.position) == (1, 0)
    batches.seek(0)
    assert np.array_equal(rows(batches), order(10))
    assert np.array_equal(rows(batches), order(10, 0, 1))


def test_repr_names_what_matters():
    batches = fo.MiniBatches(np.zeros((100, 2)), np.zeros(100, "i4"), batch_size=32, seed=9)
    next(iter(batches))
    assert repr(batches) == ("MiniBatches(float64[100, 2], int32[100], batch_size=32, seed=9, "
                             "epoch=0, position=32 of 100)")


def test_tqdm_shows_a_total():
    tqdm = pytest.importorskip("tqdm")
    with tqdm.tqdm(fo.MiniBatches(np.arange(10), batch_size=3), file=io.StringIO()) as bar:
        assert bar.total == 4


# Shards and state


@given(n=st.integers(0, 300), batch_size=st.integers(1, 50), data=st.data())
def test_shards_part_every_batch(n, batch_size, data):
    world = data.draw(st.integers(1, batch_size))
    whole = list(fo.MiniBatches(np.arange(n), batch_size=batch_size, seed=1))
    ranks = [list(fo.MiniBatches(np.arange(n), batch_size=batch_size, seed=1,
                                 shard=(rank, world))) for rank in range(world)]
    assert {len(rank) for rank in ranks} == {len(whole)}
    for k, batch in enumerate(whole):
        parts = [rank[k] for rank in ranks]
        assert np.array_equal(np.concatenate(parts), batch)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_batch_size_and_a_world_beyond_all_bounds():
    x = np.arange(10)
    assert np.array_equal(rows(fo.MiniBatches(x, batch_size=10**30)), order(10))
    world = 2**31 - 1
    parts = [list(fo.MiniBatches(x, batch_size=10**30, shard=(world * k // 10, world)))
             for k in range(1, 10)]
    assert all(len(part) == 1 and len(part[0]) <= 1 for part in parts)


@pytest.mark.parametrize("n", [2**47, 2**47 + 12_345, 2**48])
def test_shards_of_batches_beyond_all_memory(n):
    """Views, so that none of it is needed: count*rank would not fit in 64 bits."""
    world = 2**20
    x = np.broadcast_to(np.uint8(0), n)
    for rank in (0, 1, 2**15 - 1, 2**15, 2**16 - 1, 2**16, 2**17 + 3, world - 2, world - 1):
        batches = fo.MiniBatches(x, batch_size=n, shuffle=False, shard=(rank, world))
        (part,) = batches
        assert len(part) == n * (rank + 1) // world - n * rank // world


def test_four_ranks_see_every_row_once():
    n, batch_size = 10_007, 64
    ranks = [fo.MiniBatches(np.arange(n), batch_size=batch_size, shard=(rank, 4))
             for rank in range(4)]
    for _ in range(2):
        taken = [list(rank) for rank in ranks]
        assert [len(rank) for rank in taken] == [157] * 4
        everything = np.concatenate([x for rank in taken for x in rank])
        assert np.array_equal(np.sort(everything), np.arange(n))


@given(n=st.integers(1, 200), seed=st.integers(0, 2**128 - 1), sizes=st.tuples(
    st.integers(1, 60), st.integers(1, 60)), stop=st.integers(0, 40), world=st.integers(1, 4),
    prefetch=st.integers(0, 2), blocks=st.sampled_from([{}, dict(block_rows=7, window_blocks=3)]))
def test_resuming_gives_exactly_the_rest(n, seed, sizes, stop, world, prefetch, blocks):
    batches = fo.MiniBatches(np.arange(n), batch_size=sizes[0], seed=seed, prefetch=prefetch,
                             **blocks)
    per_epoch = [rows(fo.MiniBatches(np.arange(n), batch_size=n, seed=seed, start=(e, 0),
                                     **blocks)) for e in range(stop + 3)]
    taken, iterator = 0, iter(batches)
    for _ in range(stop):
        batch = next(iterator, None)
        if batch is None:
            iterator = iter(batches)
            batch = next(iterator)
        taken += len(batch)
    state = json.loads(json.dumps(batches.state_dict()))
    assert batches.state_dict() == state
    epoch, position = divmod(taken, n)
    assert (state["epoch"], state["position"]) == (epoch, position)

    size = max(sizes[1], world)
    ranks = [fo.MiniBatches(np.arange(n), batch_size=size, shard=(rank, world),
                            prefetch=prefetch, **blocks) for rank in range(world)]
    for rank in ranks:
        rank.load_state_dict(state)
    for expected in (per_epoch[epoch][position:], per_epoch[epoch + 1]):
        parts = [list(rank) for rank in ranks]
        assert {len(part) for part in parts} == {math.ceil(len(expected) / size)}
        follow = [x for batch in zip(*parts, strict=True) for x in batch]
        assert np.array_equal(np.concatenate(follow), expected)


def test_state_is_a_few_numbers():
    batches = fo.MiniBatches(np.arange(10), batch_size=3, seed=7, start=(2, 3))
    assert batches.state_dict() == {
        "version": "perm-v1", "n": 10, "shuffle": True, "block_rows": 0, "window_blocks": 0,
        "seed": 7, "epoch": 2, "position": 3}


def test_the_state_after_the_last_batch_is_the_next_epoch():
    batches = fo.MiniBatches(np.arange(10), batch_size=5)
    states = [(batches.epoch, batches.position) for _ in batches]
    assert states == [(0, 5), (1, 0)]


# Blocks in windows


@given(n=st.integers(0, 400), block_rows=st.integers(1, 60), window_blocks=st.integers(1, 12),
       seed=st.integers(0, 99), epoch=st.integers(0, 3), batch_size=st.integers(1, 100))
def test_every_row_once_for_every_n(n, block_rows, window_blocks, seed, epoch, batch_size):
    taken = rows(fo.MiniBatches(np.arange(n), batch_size=batch_size, seed=seed,
                                start=(epoch, 0), block_rows=block_rows,
                                window_blocks=window_blocks))
    assert np.array_equal(taken, reference.block_permutation(n, seed, epoch, block_rows,
                                                             window_blocks))
    assert np.array_equal(np.sort(taken), np.arange(n))


def test_block_vectors():
    for case in VECTORS["blocks"]:
        taken = rows(fo.MiniBatches(
            np.arange(case["n"]), batch_size=5, seed=case["seed"], start=(case["epoch"], 0),
            block_rows=case["block_rows"], window_blocks=case["window_blocks"]))
        assert taken.tolist() == case["rows"]


def test_blocks_of_more_rows_than_a_table_holds():
    n = 300_001
    taken = rows(fo.MiniBatches(np.arange(n), batch_size=9999, block_rows=30_000,
                                window_blocks=3))
    assert np.array_equal(np.sort(taken), np.arange(n))
    for window in (taken[:90_000], taken[90_000:180_000]):
        assert len(np.unique(window // 30_000)) <= 4


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
@pytest.mark.parametrize("prefetch", [0, 1])
def test_a_mapped_file(tmp_path, mode, prefetch):
    path = tmp_path / "rows"
    data = np.random.default_rng(0).random((40_000, 33))
    data.tofile(path)
    mapped = np.memmap(path, data.dtype, mode, shape=data.shape)
    labels = np.memmap(path, data.dtype, mode, shape=data.shape)[:, 0]
    if mode == "c":  # private pages hold what was written: they must not be let go of
        mapped += 1
    for x in (mapped, mapped[1:-1], np.asarray(mapped), mapped[:, 3:5], mapped.T[:, 5:].T, labels):
        expected = np.array(x)
        batches = fo.MiniBatches(x, np.arange(len(x)), batch_size=777, block_rows=1000,
                                 window_blocks=3, prefetch=prefetch)
        for _ in range(2):
            for batch, index in batches:
                assert np.array_equal(batch, expected[index])
        assert np.array_equal(x, expected)
    del mapped, labels, x


# Refusals


@pytest.mark.parametrize(("options", "error", "message"), [
    (dict(batch_size=0), ValueError, "batch_size must be >= 1, got 0"),
    (dict(batch_size=2.0), TypeError, "batch_size must be an integer, got 2.0"),
    (dict(seed=-1), ValueError, "seed must be in [0, 2**128 - 1], got -1"),
    (dict(shuffle=1), TypeError, "shuffle must be True or False, got 1"),
    (dict(drop_last=None), TypeError, "drop_last must be True or False, got None"),
    (dict(axis=1), ValueError, "axis must be in [-1, 0], got 1"),
    (dict(axis=0.0), TypeError, "axis must be an integer, got 0.0"),
    (dict(shard=(2, 2)), ValueError, "rank must be in [0, 1], got 2"),
    (dict(shard=(-1, 2)), ValueError, "rank must be in [0, 1], got -1"),
    (dict(shard=(0, 0)), ValueError, "world must be >= 1, got 0"),
    (dict(shard=2), ValueError, "shard must be (rank, world), got 2"),
    (dict(shard=(0, 5)), ValueError,
     "batch_size must be at least the world's size, a row for each rank, got 4 for a world of 5"),
    (dict(batch_size=2**40, shard=(0, 2**31)), ValueError,
     "world must be <= 2147483647, got 2147483648"),
    (dict(start=3), ValueError, "start must be (epoch, position), got 3"),
    (dict(start=(-1, 0)), ValueError, "epoch must be in [0, 2**64 - 1], got -1"),
    (dict(start=(0, 11)), ValueError, "position must be in [0, 10], got 11"),
    (dict(prefetch=-1), ValueError, "prefetch must be in [0, 1024], got -1"),
    (dict(block_rows=0), ValueError, "block_rows must be in [1, 281474976710656], got 0"),
    (dict(block_rows=5, window_blocks=0), ValueError,
     "window_blocks must be in [1, 281474976710656], got 0"),
    (dict(block_rows=5, shuffle=False), ValueError,
     "block_rows must be None with shuffle=False, got 5"),
])
def test_refused_options(options, error, message):
    with pytest.raises(error) as caught:
        fo.MiniBatches(np.arange(10), **{"batch_size": 4, **options})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(("arrays", "error", "message"), [
    ([], ValueError, "arrays must be at least one, got none"),
    ([[1, 2]], TypeError, "array 0 must be an array"),
    ([np.array(3)], ValueError, "array 0 must have an axis of samples, got shape ()"),
    ([np.zeros((5, 2)), np.zeros(4), np.zeros(5)], ValueError,
     "arrays must have the same length along axis 0, got 5 for array 0, 4 for array 1, "
     "5 for array 2"),
    ([np.broadcast_to(np.uint8(0), (1 << 48) + 1)], ValueError,
     "the length of the arrays must be in [0, 281474976710656], got 281474976710657"),
])
def test_refused_arrays(arrays, error, message):
    with pytest.raises(error) as caught:
        fo.MiniBatches(*arrays, batch_size=2)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(("change", "error", "message"), [
    (dict(version="perm-v0"), ValueError,
     "state must have version 'perm-v1' like these batches, got 'perm-v0'"),
    (dict(n=11), ValueError, "state must have n 10 like these batches, got 11"),
    (dict(shuffle=False), ValueError, "state must have shuffle True like these batches, got False"),
    (dict(block_rows=3), ValueError, "state must have block_rows 0 like these batches, got 3"),
    (dict(seed=-1), ValueError, "seed must be in [0, 2**128 - 1], got -1"),
    (dict(epoch="1"), TypeError, "epoch must be an integer, got '1'"),
    (dict(position=11), ValueError, "position must be in [0, 10], got 11"),
    (dict(position=None), TypeError, "position must be an integer, got None"),
])
def test_refused_states(change, error, message):
    batches = fo.MiniBatches(np.arange(10), batch_size=4, seed=1, start=(5, 4))
    before = batches.state_dict()
    with pytest.raises(error) as caught:
        batches.load_state_dict({**before, **change})
    assert str(caught.value).startswith(message)
    assert batches.state_dict() == before


def test_refused_states_of_another_kind():
    batches = fo.MiniBatches(np.arange(10), batch_size=4)
    with pytest.raises(TypeError, match="state must be a mapping, got 3"):
        batches.load_state_dict(3)
    with pytest.raises(ValueError, match="state must have an entry 'version', got "):
        batches.load_state_dict({"n": 10})
