"""perm-v1: equal to its definition, a bijection for every n, the same everywhere."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastoptim as fo

from support import child
from support import reference_permutation as reference
from support.orders import VECTORS

MAX = 1 << 48
LARGE = [(1 << 30) + 1, 10**12, MAX - 1, MAX]


def is_bijection(rows, n):
    seen = np.zeros(n, bool)
    seen[rows] = True
    return len(rows) == n and seen.all()


def case_id(case):
    return f"{case['n']}-{case['seed']}-{case['epoch']}"


def test_the_vectors_are_the_references():
    assert VECTORS == reference.vectors()


@pytest.mark.parametrize("case", VECTORS["small"] + VECTORS["large"], ids=case_id)
def test_vectors(case):
    p = fo.Permutation(case["n"], seed=case["seed"], epoch=case["epoch"])
    positions = np.array(case.get("positions", range(case["n"])), np.int64)
    assert p[positions].tolist() == case["rows"]
    assert [p[int(k)] for k in positions] == case["rows"]
    assert p.index_of(case["rows"]).tolist() == positions.tolist()


def test_every_small_n_is_a_bijection_equal_to_the_reference():
    for n in range(301):
        rows = fo.Permutation(n, seed=n, epoch=5)[:]
        assert is_bijection(rows, n)
        assert np.array_equal(rows, reference.permutation(n, n, 5))


SIZES = sorted({2**k + d for k in range(9, 27) for d in (-1, 0, 1)}
               | {4**k + 1 for k in range(5, 14)})


@pytest.mark.parametrize("n", SIZES)
def test_powers_of_two_and_their_neighbours_are_bijections(n):
    p = fo.Permutation(n, seed=n)
    rows = p[:]
    assert is_bijection(rows, n)
    some = rows[:100_000]
    assert np.array_equal(p.index_of(some), np.arange(len(some)))
    assert np.array_equal(some, reference.rows_at(np.arange(len(some)), n, n))


@pytest.mark.parametrize("n", LARGE)
def test_large_n_goes_there_and_back(n):
    p = fo.Permutation(n, seed=2**100 + 3, epoch=2**64 - 1)
    edges = np.r_[0:1000, n - 1000 : n]
    positions = np.r_[edges, np.random.default_rng(0).integers(0, n, 100_000)]
    rows = p[positions]
    assert rows.min() >= 0 and rows.max() < n
    assert np.array_equal(p.index_of(rows), positions)
    assert np.array_equal(p[p.index_of(positions)], positions)
    assert np.array_equal(rows, reference.rows_at(positions, n, 2**100 + 3, 2**64 - 1))
    assert len(np.unique(p[10**6 : 2 * 10**6])) == 10**6


@given(n=st.integers(1, MAX), seed=st.integers(0, 2**128 - 1), epoch=st.integers(0, 2**64 - 1),
       data=st.data())
def test_any_order_is_the_references(n, seed, epoch, data):
    p = fo.Permutation(n, seed, epoch)
    positions = data.draw(st.lists(st.integers(0, n - 1), max_size=20))
    rows = p[np.array(positions, np.int64)]
    if n > reference.TABLE_LIMIT:  # the reference's table is slow
        assert rows.tolist() == reference.rows_at(np.array(positions, np.int64), n, seed,
                                                  epoch).tolist()
    assert p.index_of(rows).tolist() == positions
    assert [p[k] for k in positions] == rows.tolist()


@given(n=st.integers(0, 300_000), start=st.none() | st.integers(-400_000, 400_000),
       stop=st.none() | st.integers(-400_000, 400_000),
       step=st.none() | st.integers(-1000, 1000).filter(bool))
def test_slices(n, start, stop, step):
    p = fo.Permutation(n, seed=1)
    s = slice(start, stop, step)
    positions = range(n)[s]
    rows = p[s]
    assert rows.dtype == np.int64 and len(rows) == len(positions)
    some = list(positions)[:: max(1, len(positions) // 10)]
    assert rows[:: max(1, len(positions) // 10)].tolist() == [p[k] for k in some]


@pytest.mark.parametrize("n", [10, 70_000])
def test_indexing_like_an_array(n):
    p = fo.Permutation(n, seed=4)
    rows = p[:]
    assert type(p[0]) is int and type(p[np.int64(3)]) is int
    assert p[-1] == rows[-1] and p[-n] == rows[0]
    assert np.array_equal(p[[0, -1, 3]], rows[[0, -1, 3]])
    grid = np.array([[1, 2], [-3, 4]], np.int16)
    assert np.array_equal(p[grid], rows[grid])
    assert np.array_equal(p[np.array([1, 2], np.uint64)], rows[[1, 2]])
    assert p[[]].shape == (0,)
    assert np.array_equal(p.index_of(rows[grid]), np.array([[1, 2], [n - 3, 4]]))
    assert type(p.index_of(0)) is int
    assert list(p) == rows.tolist()
    assert np.array_equal(np.concatenate(list(p.blocks(7))), rows)
    assert len(p) == n
    assert repr(p) == f"Permutation(n={n}, seed=4, epoch=0)"
    assert np.array_equal(pickle.loads(pickle.dumps(p))[:], rows)


def test_seed_and_epoch_are_hashed_together():
    n = 1000
    orders = {(s, e): tuple(fo.Permutation(n, s, e)) for s in (0, 1, 2, 2**64) for e in range(4)}
    assert len(set(orders.values())) == len(orders)


@pytest.mark.parametrize(("arguments", "error", "message"), [
    (dict(n=-1), ValueError, "n must be in [0, 281474976710656], got -1"),
    (dict(n=MAX + 1), ValueError, f"n must be in [0, 281474976710656], got {MAX + 1}"),
    (dict(n=5.0), TypeError, "n must be an integer, got 5.0"),
    (dict(n=5, seed=-1), ValueError, "seed must be in [0, 2**128 - 1], got -1"),
    (dict(n=5, seed=1 << 128), ValueError, "seed must be in [0, 2**128 - 1], got 3402"),
    (dict(n=5, seed="a"), TypeError, "seed must be an integer, got 'a'"),
    (dict(n=5, epoch=1 << 64), ValueError, "epoch must be in [0, 2**64 - 1], got 1844"),
    (dict(n=5, epoch=None), TypeError, "epoch must be an integer, got None"),
    (dict(n=True), TypeError, "n must be an integer, got True"),
])
def test_refused_arguments(arguments, error, message):
    with pytest.raises(error) as caught:
        fo.Permutation(**arguments)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(("use", "error", "message"), [
    (lambda p: p[10], IndexError, "position must be in [-10, 10), got 10"),
    (lambda p: p[-11], IndexError, "position must be in [-10, 10), got -11"),
    (lambda p: p[[1, 12]], IndexError, "positions must be in [-10, 10), got 12"),
    (lambda p: p[np.array([2**63], np.uint64)], IndexError, "positions must be in [-10, 10)"),
    (lambda p: p[[1.5]], TypeError, "positions must be integers, got dtype float64"),
    (lambda p: p[np.ones(10, bool)], TypeError, "positions must be integers, got dtype bool"),
    (lambda p: p.index_of(-1), IndexError, "row must be in [0, 10), got -1"),
    (lambda p: p.index_of([0, 10]), IndexError, "rows must be in [0, 10), got 10"),
    (lambda p: list(p.blocks(0)), ValueError, "size must be >= 1, got 0"),
])
def test_refused_positions(use, error, message):
    with pytest.raises(error) as caught:
        use(fo.Permutation(10))
    assert str(caught.value).startswith(message)


SAME = """
import hashlib, fastoptim as fo
for threads in (1, 2, 5):
    fo.set_num_threads(threads)
    h = hashlib.sha256()
    for n in (1000, 65537, 10**6, 2**48):
        p = fo.Permutation(n, seed=11, epoch=3)
        rows = p[: 300_000]
        h.update(rows.tobytes())
        h.update(p.index_of(rows).tobytes())
    print(fo.build_info()["isa"], h.hexdigest())
"""

def test_the_same_on_every_instruction_set_and_number_of_threads():
    digests = set()
    for isa in fo.build_info()["isa_available"]:
        used, digest = zip(*map(str.split, child.run(SAME, FASTOPTIM_ISA=isa).splitlines()))
        assert used == (isa,) * 3
        digests.update(digest)
    assert len(digests) == 1


def test_the_first_row_of_a_huge_order_needs_no_memory():
    import tracemalloc

    tracemalloc.start()
    try:
        p = fo.Permutation(MAX)
        p[0], p[: 1000]
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


# What can be read, and not set


@pytest.mark.parametrize("name", ["n", "seed", "epoch"])
def test_what_an_order_was_made_of_cannot_be_set(name):
    p = fo.Permutation(10, seed=1)
    for use in (lambda: setattr(p, name, 10**9), lambda: delattr(p, name)):
        with pytest.raises(AttributeError) as caught:
            use()
        assert str(caught.value) == (f"{name} can be read but not set: make a new "
                                     "Permutation(n, seed, epoch)")
    assert repr(p) == "Permutation(n=10, seed=1, epoch=0)"
    with pytest.raises(IndexError, match=r"position must be in \[-10, 10\), got 100000000"):
        p[10**8]


def test_an_unknown_attribute_suggests_the_nearest():
    p = fo.Permutation(10)
    for use in (lambda: p.index_off, lambda: setattr(p, "index_off", 1)):
        with pytest.raises(AttributeError, match="Permutation has no attribute 'index_off'; did "
                                                 "you mean 'index_of'?"):
            use()


# Positions that change while they are used


CHANGING = """
import threading, time, numpy as np, fastoptim as fo
n = {n}
p = fo.Permutation(n, seed=3)
rows = p[:]
a = np.zeros(200_000, {dtype!r})
over = False
def work():
    while not over:
        a[:] = {bad}
        a[:] = 0
thread = threading.Thread(target=work)
thread.start()
end = time.monotonic() + 2
given = refused = 0
while time.monotonic() < end:
    for use in (p.__getitem__, p.index_of):
        try:
            use(a)
            given += 1
        except IndexError:
            refused += 1
over = True
thread.join()
print(given + refused > 0)
"""


@pytest.mark.parametrize("dtype", ["i8", "u8", "i4"])
@pytest.mark.parametrize("n", [1000, 100_000])
def test_positions_that_another_thread_writes_to(n, dtype):
    code = CHANGING.format(n=n, dtype=dtype, bad=2**62 if dtype != "i4" else 2**31 - 1)
    assert child.run(code).strip() == "True"


def test_positions_are_taken_once():
    class Grows:
        """Another array each time it is asked."""

        def __init__(self):
            self.size = 0

        def __array__(self, dtype=None, copy=None):
            self.size += 1
            return np.arange(self.size)

    p = fo.Permutation(10)
    assert p[Grows()].tolist() == [p[0]]
    assert p.index_of(Grows()).tolist() == [p.index_of(0)]


@pytest.mark.parametrize("n", [10, 70_000])
def test_unsigned_positions_do_not_wrap_around(n):
    p = fo.Permutation(n)
    for value in (n, 2**63, 2**64 - 1):
        for use in (p.__getitem__, p.index_of):
            with pytest.raises(IndexError, match=rf", {n}\), got {value}"):
                use(np.array([0, value], np.uint64))


def test_the_callers_positions_stay_as_they_are():
    p = fo.Permutation(10)
    positions = np.array([-1, 3])
    p[positions], p.index_of(np.array([2, 1]))
    assert positions.tolist() == [-1, 3]


@pytest.mark.parametrize("n", [1000, 100_000])
def test_the_first_position_out_of_range_is_named(n):
    p = fo.Permutation(n)
    positions = np.arange(n).repeat(100_000 // n)
    positions[[5000, 5, 90_000]] = [n + 1, -n - 7, -n - 3]
    with pytest.raises(IndexError, match=rf"positions must be in \[-{n}, {n}\), got -{n + 7}"):
        p[positions]
    with pytest.raises(IndexError, match=rf"rows must be in \[0, {n}\), got -{n + 7}"):
        p.index_of(positions)
