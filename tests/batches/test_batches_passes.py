"""One iter() is one pass: peeks, loops left early, loops within loops, copies, what is left."""

import copy
import operator
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastoptim as fo

from support.orders import order, rows


def place(batches):
    return batches.epoch, batches.position


prefetches = pytest.mark.parametrize("prefetch", [0, 1, 3])


@prefetches
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_loop_after_a_break_begins_the_next_epoch(prefetch, shuffle):
    batches = fo.MiniBatches(np.arange(10), batch_size=3, prefetch=prefetch, shuffle=shuffle)
    for epoch in range(3):
        for _ in batches:
            break
        assert place(batches) == (2 * epoch, 3)
        expected = order(10, 0, 2 * epoch + 1) if shuffle else np.arange(10)
        assert np.array_equal(rows(batches), expected)
        assert place(batches) == (2 * epoch + 2, 0)


@prefetches
def test_loops_within_loops_lose_nothing(prefetch):
    batches = fo.MiniBatches(np.arange(50), batch_size=7, seed=3, prefetch=prefetch)
    outer = []
    for k, x in enumerate(batches):
        outer.append(x)
        assert place(batches) == ((0, 7 * k + 7) if k < 7 else (1, 0))
        assert np.array_equal(rows(batches), order(50, 3, k + 1))
        assert place(batches) == (k + 2, 0)
    assert np.array_equal(np.concatenate(outer), order(50, 3))
    assert np.array_equal(rows(batches), order(50, 3, 9))


@prefetches
def test_a_zip_with_itself_gives_two_epochs(prefetch):
    batches = fo.MiniBatches(np.arange(20), batch_size=3, prefetch=prefetch)
    first, second = map(np.concatenate, zip(*zip(batches, batches, strict=True)))
    assert np.array_equal(first, order(20))
    assert np.array_equal(second, order(20, 0, 1))


def test_a_zip_of_a_short_and_a_long_one_loses_no_pass():
    short, long = (fo.MiniBatches(np.arange(n), batch_size=5) for n in (10, 30))
    for epoch in range(3):
        for k, (x, y) in enumerate(zip(short, long)):
            assert np.array_equal(x, order(10, 0, epoch)[5 * k : 5 * k + 5])
            assert np.array_equal(y, order(30, 0, epoch)[5 * k : 5 * k + 5])


@prefetches
def test_a_place_that_was_set_is_where_the_next_loop_begins_and_only_that(prefetch):
    batches = fo.MiniBatches(np.arange(100), batch_size=8, start=(2, 16), prefetch=prefetch)
    assert place(batches) == (2, 16)
    assert np.array_equal(rows(batches), order(100, 0, 2)[16:])
    assert np.array_equal(rows(batches), order(100, 0, 3))
    for position in (0, 5, 99):
        batches.seek(7, position)
        assert place(batches) == (7, position)
        assert np.array_equal(rows(batches), order(100, 0, 7)[position:])
    assert np.array_equal(rows(batches), order(100, 0, 8))


def test_an_iterator_under_way_is_not_moved_by_seek_or_load():
    batches = fo.MiniBatches(np.arange(20), batch_size=5)
    iterator = iter(batches)
    taken = [next(iterator)]
    batches.seek(9, 15)
    taken.append(next(iterator))
    assert place(batches) == (0, 10)
    other = fo.MiniBatches(np.arange(20), batch_size=5, seed=2**100 + 1, start=(4, 10))
    batches.load_state_dict(other.state_dict())
    assert batches.state_dict() == other.state_dict() and batches.seed == 2**100 + 1
    taken += iterator
    assert np.array_equal(np.concatenate(taken), order(20))
    # The state is of the iterator that moved last, whose seed is that of before.
    assert batches.state_dict() == {**other.state_dict(), "seed": 0, "epoch": 1, "position": 0}
    assert np.array_equal(rows(batches), order(20, 2**100 + 1, 4)[10:])


@given(data=st.data(), n=st.integers(1, 60), batch_size=st.integers(1, 20),
       prefetch=st.integers(0, 2))
def test_any_mixture_of_iterators_and_states(data, n, batch_size, prefetch):
    """Beside a model of it: what each iterator gives, and where the state is."""
    batches = fo.MiniBatches(np.arange(n), batch_size=batch_size, seed=1, prefetch=prefetch)
    begin, state, live = (0, 0), (0, 0), []
    for action in data.draw(st.lists(st.sampled_from("innnsdp"), max_size=30)):
        if action == "i":
            live.append([iter(batches), *begin])
            begin = (begin[0] + 1, 0)
        elif action == "n" and live:
            mine = data.draw(st.sampled_from(live))
            iterator, epoch, position = mine
            batch = next(iterator, None)
            if position == n:
                assert batch is None
                continue
            end = min(position + batch_size, n)
            assert np.array_equal(batch, order(n, 1, epoch)[position:end])
            mine[2] = end
            state = (epoch, end) if end < n else (epoch + 1, 0)
        elif action == "s":
            epoch, position = data.draw(st.tuples(st.integers(0, 5), st.integers(0, n)))
            batches.seek(epoch, position)
            begin = state = (epoch, position) if position < n else (epoch + 1, 0)
        elif action == "d" and live:
            live.pop()
        elif action == "p":
            epoch, position = begin
            assert np.array_equal(batches.peek(), order(n, 1, epoch)[position:][:batch_size])
        assert place(batches) == state
        assert batches.remaining == -(-(n - state[1]) // batch_size)
        for iterator, _, position in live:
            assert iterator.remaining == -(-(n - position) // batch_size)


# A look


@prefetches
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_peek_moves_nothing(prefetch, shuffle):
    X, y = np.arange(20).reshape(10, 2), np.arange(10)
    batches = fo.MiniBatches(X, y, batch_size=4, prefetch=prefetch, shuffle=shuffle)
    for _ in range(3):
        before = batches.state_dict()
        look = batches.peek()
        assert batches.state_dict() == before
        iterator = iter(batches)
        first = next(iterator)
        assert all(map(np.array_equal, look, first))
        assert batches.state_dict() != before
        again = batches.peek()  # the first of the pass after this one
        assert len(list(iterator)) == 2
        assert all(map(np.array_equal, again, batches.peek()))


def test_a_peek_at_nothing_is_refused():
    with pytest.raises(ValueError, match="the arrays must hold a sample to be peeked at, got none"):
        fo.MiniBatches(np.arange(0), batch_size=4).peek()


# How many are left


def test_what_is_left_after_a_resume():
    batches = fo.MiniBatches(np.arange(100), batch_size=10, start=(3, 45))
    assert (len(batches), batches.remaining) == (10, 6)
    iterator = iter(batches)
    for left in range(6, 0, -1):
        assert iterator.remaining == operator.length_hint(iterator) == left
        assert batches.remaining == left
        next(iterator)
    assert iterator.remaining == operator.length_hint(iterator) == 0
    assert batches.remaining == 10  # of the epoch that comes next
    assert next(iterator, None) is None


# Last batches


@given(n=st.integers(1, 100), batch_size=st.integers(1, 30), data=st.data())
def test_min_batch_leaves_out_a_last_batch_that_is_shorter(n, batch_size, data):
    least = data.draw(st.integers(1, min(n, batch_size)))
    start = data.draw(st.integers(0, n))
    batches = fo.MiniBatches(np.arange(n), batch_size=batch_size, min_batch=least,
                             start=(0, start))
    epoch = 0
    expected = [order(n)[k : k + batch_size] for k in range(start, n, batch_size)]
    expected = [x for x in expected if len(x) >= least]
    if start and not expected:  # nothing of that epoch is left
        epoch = 1
        expected = [order(n, 0, 1)[k : k + batch_size] for k in range(0, n, batch_size)]
        expected = [x for x in expected if len(x) >= least]
    assert batches.epoch == epoch and batches.remaining == len(expected)
    taken = list(batches)
    assert len(taken) == len(expected) and all(map(np.array_equal, taken, expected))
    assert len(batches) == n // batch_size + (n % batch_size >= least > 0 < n % batch_size)


def test_min_batch_counts_over_all_ranks():
    """So all ranks drop the same batch, and with min_batch=world none of them is empty."""
    for least, sizes in ((1, [[2, 0], [2, 0], [2, 1], [2, 0]]), (4, [[2], [2], [2], [2]])):
        ranks = [fo.MiniBatches(np.arange(9), batch_size=8, shard=(rank, 4), min_batch=least)
                 for rank in range(4)]
        assert sorted([len(x) for x in rank] for rank in ranks) == sorted(sizes)


@pytest.mark.parametrize(("n", "options", "message"), [
    (5, dict(drop_last=True), "batch_size must be <= the number of samples with drop_last=True, "
                              "or no batch would ever come, got 10 for 5"),
    (0, dict(drop_last=True), "batch_size must be <= the number of samples with drop_last=True, "
                              "or no batch would ever come, got 10 for 0"),
    (5, dict(min_batch=6), "min_batch must be <= the number of samples, or no batch would ever "
                           "come, got 6 for 5"),
    (50, dict(min_batch=11), "min_batch must be <= batch_size, got 11 for 10"),
    (50, dict(min_batch=0), "min_batch must be >= 1, got 0"),
    (50, dict(min_batch=3, drop_last=True), "min_batch must be left out with drop_last=True, "
                                            "which is min_batch=10, got 3"),
])
def test_batches_that_would_never_come_are_refused(n, options, message):
    with pytest.raises(ValueError) as caught:
        fo.MiniBatches(np.arange(n), batch_size=10, **options)
    assert str(caught.value) == message


# Copies


COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy,
          "pickle": lambda batches: pickle.loads(pickle.dumps(batches))}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("options", [{}, dict(prefetch=2), dict(shuffle=False),
                                     dict(block_rows=5, window_blocks=2),
                                     dict(drop_last=True, shard=(1, 2), seed=2**99)])
def test_copies_are_independent_and_go_on_alike(how, options):
    X = np.arange(30)
    batches = fo.MiniBatches(X, -X, batch_size=4, **options)
    next(iter(batches))
    other = COPIES[how](batches)
    assert type(other) is fo.MiniBatches and repr(other) == repr(batches)
    assert other.state_dict() == batches.state_dict()
    assert all(getattr(other, name) == getattr(batches, name) for name in OPTIONS)
    before = batches.state_dict()
    taken = list(other)
    assert batches.state_dict() == before != other.state_dict()
    for a, b in zip(taken, batches, strict=True):
        assert all(map(np.array_equal, a, b))
    X += 100
    shared = how == "copy"
    assert (next(iter(other))[0].min() >= 100) == shared


def test_copies_of_a_dict_and_of_a_subclass():
    class Mine(fo.MiniBatches):
        pass

    batches = Mine({"x": np.arange(5)}, batch_size=2, axis=(0,))
    batches.note = "kept"
    for make in (copy.copy, copy.deepcopy):
        other = make(batches)
        assert type(other) is Mine and other.note == "kept" and other.axis == (0,)
        assert [list(x) for x in other] == [["x"]] * 3


def test_a_map_of_a_file_is_not_pickled_in_whole(tmp_path):
    path = tmp_path / "rows"
    np.arange(10.0).tofile(path)
    X = np.memmap(path, np.float64, "r")
    batches = fo.MiniBatches(np.arange(9), np.asarray(X)[1:], batch_size=2)
    for make in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="arrays must lie in memory to be pickled or copied "
                                            "deeply, got a map of .*rows, .* load_state_dict"):
            make(batches)
    assert np.array_equal(rows(x for _, x in copy.copy(batches)), X[1:][order(9)])


# What can be read, and not set

OPTIONS = {"batch_size": 4, "seed": 9, "shuffle": True, "drop_last": False, "axis": 0,
           "shard": (1, 3), "prefetch": 2, "block_rows": 5, "window_blocks": 7, "min_batch": 3}


def test_options_can_be_read_and_not_set():
    batches = fo.MiniBatches(np.arange(10), **OPTIONS)
    assert {name: getattr(batches, name) for name in OPTIONS} == OPTIONS
    before = batches.state_dict()
    for name in [*OPTIONS, "n"]:
        with pytest.raises(AttributeError, match=f"{name} can be read but not set: make a new"):
            setattr(batches, name, 5)
        with pytest.raises(AttributeError, match=f"{name} can be read but not set: make a new"):
            delattr(batches, name)
    for name in ("epoch", "position", "remaining"):
        with pytest.raises(AttributeError, match=f"{name} can be read but not set: call seek"):
            setattr(batches, name, 5)
    assert batches.state_dict() == before
    assert fo.MiniBatches(np.arange(5), batch_size=2, drop_last=True).min_batch == 2


def test_an_unknown_attribute_suggests_the_nearest():
    batches = fo.MiniBatches(np.arange(10), batch_size=4)
    for use in (lambda: batches.batchsize, lambda: setattr(batches, "batchsize", 3)):
        with pytest.raises(AttributeError, match="MiniBatches has no attribute 'batchsize'; did "
                                                 "you mean 'batch_size'?"):
            use()
    with pytest.raises(AttributeError, match="MiniBatches has no attribute 'xyz'$"):
        batches.xyz = 1


def test_window_blocks_without_blocks_are_refused():
    with pytest.raises(ValueError, match="window_blocks must be left out without block_rows, got"):
        fo.MiniBatches(np.arange(10), batch_size=4, window_blocks=3)
