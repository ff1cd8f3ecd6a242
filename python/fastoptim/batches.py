"""Mini-batches of arrays, in a new order each epoch."""

from collections.abc import Mapping

import numpy as np

from fastoptim import _core, checks
from fastoptim.permutation import MAX_ROWS, Permutation, check_epoch, split_seed

__all__ = ["MiniBatches", "shuffle_"]

VERSION = "perm-v1"
MAX_WORLD = 2**31 - 1


def check_arrays(arrays, axis):
    """The arrays, the axis counted from the front, and their common length along it."""
    if not arrays:
        raise ValueError("arrays must be at least one, got none")
    arrays = [_core.as_array(x, f"array {k}") for k, x in enumerate(arrays)]
    axes = min(x.ndim for x in arrays)
    for k, x in enumerate(arrays):
        if x.ndim == 0:
            raise ValueError(f"array {k} must have an axis of samples, got shape ()")
        if x.dtype.hasobject:
            raise TypeError(f"array {k} must not hold Python objects, got dtype {x.dtype}")
    axis = checks.integer("axis", axis, low=-axes, high=axes - 1)
    if axis < 0:
        if any(x.ndim != axes for x in arrays):
            raise ValueError("axis must be >= 0 for arrays that differ in their number of axes, "
                             f"got {axis}")
        axis += axes
    lengths = [x.shape[axis] for x in arrays]
    if any(n != lengths[0] for n in lengths):
        each = ", ".join(f"{n} for array {k}" for k, n in enumerate(lengths))
        raise ValueError(f"arrays must have the same length along axis {axis}, got {each}")
    return arrays, axis, checks.integer("the length of the arrays", lengths[0], low=0,
                                        high=MAX_ROWS)


def check_shard(shard, batch_size):
    try:
        rank, world = shard
    except (TypeError, ValueError):
        raise ValueError(f"shard must be (rank, world), got {shard!r}") from None
    world = checks.integer("world", world, low=1)
    rank = checks.integer("rank", rank, low=0, high=world - 1)
    if world > batch_size:
        raise ValueError("batch_size must be at least the world's size, a row for each rank, got "
                         f"{batch_size} for a world of {world}")
    if world > MAX_WORLD:
        raise ValueError(f"world must be <= {MAX_WORLD}, got {world}")
    return rank, world


def maps_a_file(array):
    """Whether the array's pages are a file's own: let go of, they are read again, never lost."""
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    return array is not None and array.mode in ("r", "r+", "w+")


class MiniBatches:
    """Shuffled mini-batches of one or more arrays, in unison; each iteration is one epoch.

    Batch k of an epoch holds rows `Permutation(n, seed, epoch)[k*batch_size:(k+1)*batch_size]` of
    every array, copied straight from them by several threads, without an array of indices. The
    epoch advances by itself. `batch_size=1` is stochastic, `batch_size=len(X)` batch gradient
    descent.

    A batch is a tuple of arrays, or the array itself if there is one. It stays as it is for as
    long as anything refers to it or to a view of it; then its memory serves another batch.

    An iteration that was left early goes on where it was: epoch and position belong to this
    object, not to its iterators. `seek`, `state_dict` and `load_state_dict` move and keep them.

    Args:
        arrays: arrays of any dtype without objects and any layout, with the same number of
            samples along `axis`.
        batch_size: samples in a batch over all ranks, >= 1. The last batch may be shorter.
        seed: integer from 0 to 2**128 - 1.
        shuffle: False keeps the arrays' order, and yields views rather than copies.
        drop_last: leave out a last batch that is shorter.
        axis: the axis of the samples: 0 for rows, 1 for X of shape (n_x, m).
        shard: (rank, world): each of `world` processes gets its even part of every batch. A part
            of a short last batch may be empty: all ranks get the same number of batches.
        start: (epoch, position): where to begin; `position` samples of that epoch are taken.
        prefetch: batches that a background thread makes while the caller computes, 0 to 1024.
        block_rows: for memory-mapped arrays larger than memory: shuffle blocks of that many
            samples, and samples only within a window of `window_blocks` such blocks. The file is
            read a block at a time, a window ahead, and two windows of it stay in memory.
        window_blocks: >= 1.

    Raises:
        TypeError, ValueError: no arrays, arrays of different lengths or with objects, a bad
        option; before anything starts.

    Example:
        >>> import numpy as np, fastoptim as fo
        >>> X, Y = np.arange(10).reshape(5, 2), np.arange(5)
        >>> for x, y in fo.MiniBatches(X, Y, batch_size=2, shuffle=False):
        ...     print(x.tolist(), y.tolist())
        [[0, 1], [2, 3]] [0, 1]
        [[4, 5], [6, 7]] [2, 3]
        [[8, 9]] [4]

        >>> batches = fo.MiniBatches(X, Y, batch_size=2, seed=1)
        >>> for epoch in range(2):
        ...     print([y.tolist() for x, y in batches])
        [[3, 1], [0, 2], [4]]
        [[2, 0], [1, 3], [4]]
    """

    def __init__(self, *arrays, batch_size, seed=0, shuffle=True, drop_last=False, axis=0,
                 shard=(0, 1), start=(0, 0), prefetch=0, block_rows=None, window_blocks=32):
        self._arrays, axis, self._n = check_arrays(arrays, axis)
        self._batch_size = checks.integer("batch_size", batch_size, low=1)
        self._seed, self._seed_words = split_seed(seed)
        self._shuffle = checks.flag("shuffle", shuffle)
        self._drop_last = checks.flag("drop_last", drop_last)
        rank, world = check_shard(shard, self._batch_size)
        prefetch = checks.integer("prefetch", prefetch, low=0, high=1024)
        self._block_rows = self._window_blocks = 0
        if block_rows is not None:
            if not shuffle:
                raise ValueError(f"block_rows must be None with shuffle=False, got {block_rows}")
            self._block_rows = checks.integer("block_rows", block_rows, low=1, high=MAX_ROWS)
            self._window_blocks = checks.integer("window_blocks", window_blocks, low=1,
                                                 high=MAX_ROWS)
        try:
            epoch, position = start
        except (TypeError, ValueError):
            raise ValueError(f"start must be (epoch, position), got {start!r}") from None
        epoch, position = self._check_place(epoch, position)
        self._core = _core.Batches(
            arrays=self._arrays, axis=axis,
            batch_size=min(self._batch_size, self._n + 1),  # as good as any that is longer
            drop_last=self._drop_last, rank=rank, world=world, shuffle=self._shuffle,
            prefetch=prefetch, block_rows=self._block_rows, window_blocks=self._window_blocks,
            read_ahead=block_rows is not None and all(map(maps_a_file, self._arrays)))
        self._core.seek(self._seed_words, epoch, position)

    @property
    def epoch(self) -> int:
        """The epoch of the next batch."""
        return self._core.place()[0]

    @property
    def position(self) -> int:
        """How many samples of that epoch are taken, over all ranks."""
        return self._core.place()[1]

    def __len__(self) -> int:
        """Batches in a whole epoch."""
        if self._drop_last:
            return self._n // self._batch_size
        return -(-self._n // self._batch_size)

    def __repr__(self) -> str:
        arrays = ", ".join(f"{x.dtype}{list(x.shape)}" for x in self._arrays)
        epoch, position = self._core.place()
        return (f"MiniBatches({arrays}, batch_size={self._batch_size}, seed={self._seed}, "
                f"epoch={epoch}, position={position} of {self._n})")

    def __iter__(self):
        next_batch, epoch = self._core.next, self.epoch
        while (batch := next_batch(epoch)) is not None:
            yield batch
            del batch  # else its memory would be taken while the next batch is made

    def seek(self, epoch, position=0):
        """Moves to where `position` samples of an epoch are taken, in O(1).

        Raises:
            TypeError, ValueError: epoch is not an integer from 0 to 2**64 - 1, or position not
            one from 0 to the number of samples.
        """
        self._core.seek(self._seed_words, *self._check_place(epoch, position))

    def _check_place(self, epoch, position):
        return check_epoch(epoch), checks.integer("position", position, low=0, high=self._n)

    def state_dict(self) -> dict:
        """A few numbers that say where the next batch begins, whatever its size and the world's.

        Example:
            >>> import numpy as np, fastoptim as fo
            >>> batches = fo.MiniBatches(np.arange(100), batch_size=10, seed=3)
            >>> taken = next(iter(batches))
            >>> rest = fo.MiniBatches(np.arange(100), batch_size=30)
            >>> rest.load_state_dict(batches.state_dict())
            >>> sum(len(x) for x in rest)
            90
        """
        epoch, position = self._core.place()
        return {"version": VERSION, "n": self._n, "shuffle": self._shuffle,
                "block_rows": self._block_rows, "window_blocks": self._window_blocks,
                "seed": self._seed, "epoch": epoch, "position": position}

    def load_state_dict(self, state):
        """Goes on where the object that gave the state was: what follows is what it had left.

        Raises:
            TypeError, ValueError: not a mapping, an entry is missing, or it is of another
            version, number of samples or way to shuffle; nothing has changed then.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state must be a mapping, got {state!r}")
        mine = self.state_dict()
        for name, value in mine.items():
            if name not in state:
                raise ValueError(f"state must have an entry {name!r}, got {sorted(state)}")
            if name not in ("seed", "epoch", "position") and state[name] != value:
                raise ValueError(f"state must have {name} {value!r} like these batches, got "
                                 f"{state[name]!r}")
        seed, words = split_seed(state["seed"])
        self._core.seek(words, *self._check_place(state["epoch"], state["position"]))
        self._seed, self._seed_words = seed, words


def shuffle_(*arrays, seed=0, epoch=0, axis=0):
    """Puts arrays into the order of an epoch, in place.

        x = x[Permutation(n, seed, epoch)[:]]

    It follows the cycles of the order, with a bit a sample, and one sample, as its memory.

    Args:
        arrays: writable arrays of any dtype without objects and any layout, with the same number
            of samples along `axis`.
        seed: integer from 0 to 2**128 - 1.
        epoch: integer from 0 to 2**64 - 1.
        axis: the axis of the samples.

    Raises:
        TypeError, ValueError: arrays of different lengths, with objects, read-only, or
        overlapping; a bad seed, epoch or axis; before anything moves.

    Example:
        >>> import numpy as np, fastoptim as fo
        >>> X, Y = np.arange(10).reshape(5, 2), np.arange(5)
        >>> fo.shuffle_(X, Y, seed=1)
        >>> Y
        array([3, 1, 0, 2, 4])
    """
    arrays, axis, n = check_arrays(arrays, axis)
    _core.shuffle(arrays, axis, Permutation(n, seed, epoch)._core)
