"""A program that a type checker finds nothing in, and that says what types it must see."""

from collections.abc import Iterator
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import fastoptim as fo

X, Y, Z = np.zeros((10, 4), np.float32), np.zeros(10), np.zeros(10, np.int64)


def batches_of_arrays() -> None:
    one = fo.MiniBatches(X, batch_size=4)
    assert_type(one, fo.MiniBatches[np.ndarray])
    for x in one:
        assert_type(x, np.ndarray)

    two = fo.MiniBatches(X, Y, batch_size=4, seed=3, shuffle=False, axis=(0, 0), prefetch=0)
    for x, y in two:
        assert_type(x, np.ndarray)
        assert_type(y, np.ndarray)
    assert_type(two.peek(), tuple[np.ndarray, np.ndarray])

    for x, y, z in fo.MiniBatches(X, Y, Z, batch_size=4, drop_last=True, shard=(0, 2)):
        assert_type(z, np.ndarray)

    for many in fo.MiniBatches(X, Y, Z, X, batch_size=4):
        assert_type(many, tuple[np.ndarray, ...])

    for named in fo.MiniBatches({"x": X, "y": Y}, batch_size=4, min_batch=2, start=(1, 0)):
        assert_type(named, dict[str, np.ndarray])
        assert_type(named["x"], np.ndarray)

    for _ in fo.MiniBatches(memoryview(bytes(10)), batch_size=4, block_rows=2, window_blocks=3):
        pass


def places() -> None:
    batches = fo.MiniBatches(X, batch_size=4)
    assert_type(batches.batch_size, int)
    assert_type(batches.block_rows, int | None)
    assert_type(batches.shard, tuple[int, int])
    assert_type(batches.epoch + batches.position + batches.remaining + len(batches), int)
    one_pass = iter(batches)
    assert_type(one_pass.remaining, int)
    assert_type(next(one_pass), np.ndarray)
    batches.seek(2, 5)
    batches.load_state_dict(batches.state_dict())


def order() -> None:
    p = fo.Permutation(10, seed=1, epoch=2)
    assert_type(p[3], int)
    assert_type(p[np.int64(3)], int)
    assert_type(p[2:5], NDArray[np.int64])
    assert_type(p[[1, 2]], NDArray[np.int64])
    assert_type(p[Z], NDArray[np.int64])
    assert_type(p.index_of(3), int)
    assert_type(p.index_of(Z), NDArray[np.int64])
    assert_type(iter(p), Iterator[int])
    for block in p.blocks(4):
        assert_type(block, NDArray[np.int64])
    fo.shuffle_(X, Y, seed=1, epoch=0, axis=0)
    fo.shuffle_({"x": X, "y": Y})


def averages() -> None:
    assert_type(fo.ewma(Y, beta=0.5), NDArray[np.float64])
    assert_type(fo.ewma(memoryview(bytearray(80)), 0.5, bias_correction=False), NDArray[Any])
    in_place: NDArray[np.float32] = fo.ewma(X, axis=1, out=X)
    assert in_place is X


def rates() -> None:
    decay = fo.schedules.inverse_time(0.1, decay_rate=1.0, steps_per_epoch=10)
    assert_type(decay, fo.schedules.inverse_time)
    assert_type(decay(3), float)
    assert_type(decay(Z), NDArray[np.float64])
    assert_type(decay.at_epoch(3), float)
    assert_type(decay.lr, float)
    fo.schedules.constant(0.1)
    fo.schedules.piecewise({0: 0.1, 10: 0.01})
    fo.schedules.staircase(0.1, every=10, factor=0.1)


def steps() -> None:
    params = {"W": np.zeros((4, 3)), "b": np.zeros(3)}
    grads = {name: np.ones_like(p) for name, p in params.items()}
    opt = fo.Adam(params, grads, lr=fo.schedules.inverse_sqrt(0.1), betas=(0.9, 0.99), eps=1e-6,
                  weight_decay=0.1, amsgrad=True, state_dtype="bfloat16", rounding="nearest")
    opt.step()
    fo.AdamW([X, Y], lr=lambda step: 0.1 / (step + 1)).step([X, Y])
    fo.RMSProp(X, beta=0.9, centered=True, state_dtype=None).step(X)
    fo.Momentum(X, dampening=0.0, nesterov=True, state_dtype="q8").step(X)
    sgd = fo.SGD([{"params": [X], "lr": 0.1}, {"params": [Y]}], lr=0.2, maximize=True)
    sgd.step([X, Y])
    sgd.lr = 0.1
    sgd.weight_decay = 0.01
    assert_type(sgd.t, int)
    sgd.load_state_dict(sgd.state_dict(), lr=0.3)
    fo.adam_(Y, Y + 1, Y + 2, Y + 3, t=1, lr=0.1)
    fo.reference.adam(Y, Y, {}, 1, lr=0.1, weight_decay=0.1, decoupled=True)


def rest() -> None:
    info = fo.build_info()
    assert_type(info["isa"], str)
    assert_type(info["isa_available"], list[str])
    assert_type(info["threading_reason"], str)
    fo.set_num_threads(fo.get_num_threads())
    fo.set_threading(fo.get_threading())
    assert_type(fo.__version__, str)
