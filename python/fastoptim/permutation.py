"""The order of an epoch, as a function of (n, seed, epoch)."""

import operator

import numpy as np

from fastoptim import _core, checks

__all__ = ["Permutation"]

MAX_ROWS = _core.Permutation.max_rows
ITERATION_BLOCK = 4096  # rows made at a time: 32 KiB, nothing beside the loop that takes them


def split_seed(seed: int) -> tuple[int, "_core.Seed"]:
    """The seed, checked, and as the core takes it."""
    seed = checks.integer("seed", seed, low=0, high=(1 << 128) - 1)
    return seed, _core.Seed(seed & (1 << 64) - 1, seed >> 64)


def check_epoch(epoch: int) -> int:
    return checks.integer("epoch", epoch, low=0, high=(1 << 64) - 1)


class Fixed:
    """An object whose public attributes can be read but not set, which a message says."""

    __slots__ = ()
    _instead: dict[str, str] = {}  # attribute, or "" for any -> what to do

    def __setattr__(self, name, value):
        try:
            super().__setattr__(name, value)
        except AttributeError:
            raise AttributeError(self._refusal(name)) from None

    def __delattr__(self, name):
        try:
            super().__delattr__(name)
        except AttributeError:
            raise AttributeError(self._refusal(name)) from None

    def __getattr__(self, name):
        raise AttributeError(self._unknown(name))

    def _refusal(self, name):
        if not hasattr(type(self), name):
            return self._unknown(name)
        instead = self._instead.get(name, self._instead[""])
        return f"{name} can be read but not set: {instead}"

    def _unknown(self, name):
        known = [public for public in dir(type(self)) if not public.startswith("_")]
        return (f"{type(self).__name__} has no attribute {name!r}"
                f"{checks.suggestion(name, known)}")


class Permutation(Fixed):
    """The rows 0 .. n-1 in the order of one epoch, any of them in O(1) time and memory.

    `p[k]` is the row at position k of the order named perm-v1: a function of (n, seed, epoch)
    that is frozen, the same on every platform, instruction set and number of threads and in every
    release. docs/permutation.md defines it.

    Index it with an integer, a slice, or an array of integers of any shape; negative positions
    count from the end. Iteration makes the order in blocks.

    Args:
        n: number of rows, from 0 to 2**48.
        seed: integer from 0 to 2**128 - 1.
        epoch: integer from 0 to 2**64 - 1; hashed together with n and the seed.

    Raises:
        TypeError: n, seed, epoch or a position is not an integer. ValueError: n, seed or epoch is
        out of range. IndexError: a position is.

    Example:
        >>> import fastoptim as fo
        >>> p = fo.Permutation(10, seed=1)
        >>> p[:].tolist()
        [6, 0, 9, 3, 7, 2, 4, 8, 5, 1]
        >>> p.index_of(p[3])
        3
        >>> fo.Permutation(10**12)[10**12 - 1]
        635810082401

    Source: up to 65536 rows, the shuffle of Fisher and Yates, 1938, with the bounds of Lemire,
    "Fast random integer generation in an interval", 2019. Above, a Feistel network of 8 rounds:
    Luby and Rackoff, "How to construct pseudorandom permutations", 1988, with the cycle walking
    of Black and Rogaway, "Ciphers with arbitrary finite domains", 2002.
    """

    __slots__ = ("_core", "_epoch", "_n", "_seed")
    _instead = {"": "make a new Permutation(n, seed, epoch)"}

    def __init__(self, n, seed=0, epoch=0):
        n = checks.integer("n", n, low=0, high=MAX_ROWS)
        seed, words = split_seed(seed)
        epoch = check_epoch(epoch)
        self._core = _core.Permutation(n, words, epoch)
        self._n, self._seed, self._epoch = n, seed, epoch

    @property
    def n(self) -> int:
        """Number of rows."""
        return self._n

    @property
    def seed(self) -> int:
        return self._seed

    @property
    def epoch(self) -> int:
        return self._epoch

    def __len__(self):
        return self._n

    def __repr__(self):
        return f"Permutation(n={self._n}, seed={self._seed}, epoch={self._epoch})"

    def __reduce__(self):
        return Permutation, (self._n, self._seed, self._epoch)

    def __getitem__(self, position):
        if isinstance(position, slice):
            start, stop, step = position.indices(self._n)
            if step == 1:
                return self._core.rows(start, max(stop - start, 0))
            return self._core.rows_at(np.arange(start, stop, step, dtype=np.int64))
        if _is_index(position):
            return self._core.row_at(self._scalar(position, "position"))
        positions, shape = self._array(position, "positions")
        return self._core.rows_at(positions).reshape(shape)

    def __iter__(self):
        for block in self.blocks(ITERATION_BLOCK):
            yield from block.tolist()

    def blocks(self, size=65536):
        """The order as consecutive int64 arrays of `size` rows, the last one perhaps shorter.

        Raises:
            TypeError, ValueError: size is not an integer >= 1.

        Example:
            >>> import fastoptim as fo
            >>> [len(block) for block in fo.Permutation(10).blocks(4)]
            [4, 4, 2]
        """
        size = checks.integer("size", size, low=1)
        return (self[start : start + size] for start in range(0, self._n, size))

    def index_of(self, row):
        """The position of a row, or an int64 array of those of an array of rows.

        The inverse of indexing, but for negative numbers, which no row has.

        Raises:
            TypeError: not integers. IndexError: not in [0, n).

        Example:
            >>> import fastoptim as fo
            >>> p = fo.Permutation(10**9, seed=7)
            >>> p.index_of(p[[5, 6]]).tolist()
            [5, 6]
        """
        if _is_index(row):
            return self._core.position_of(self._scalar(row, "row", low=0))
        rows, shape = self._array(row, "rows", low=0)
        return self._core.positions_of(rows).reshape(shape)

    def _scalar(self, value, name, low=None):
        number = operator.index(value)
        low = -self._n if low is None else low
        if not low <= number < self._n:
            raise IndexError(f"{name} must be in [{low}, {self._n}), got {number}")
        return number + self._n if number < 0 else number

    def _array(self, values, name, low=None):
        """A flat int64 copy, which the core checks, and the shape of the values.

        Copied before anything is checked: another thread may be writing to the caller's array.
        """
        values = np.array(values, order="C", subok=False)
        if values.size == 0 and values.dtype == float:
            values = values.astype(np.int64)  # what an empty list becomes
        if values.dtype.kind not in "iu":
            raise TypeError(f"{name} must be integers, got dtype {values.dtype}")
        if values.dtype == np.uint64 and values.size and (worst := int(values.max())) >= self._n:
            low = -self._n if low is None else low  # as an int64 it could be below 0
            raise IndexError(f"{name} must be in [{low}, {self._n}), got {worst}")
        return values.astype(np.int64, copy=False).ravel(), values.shape


def _is_index(value):
    return hasattr(value, "__index__") and np.ndim(value) == 0 and not isinstance(value, bool)
