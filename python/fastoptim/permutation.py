"""The order of an epoch, as a function of (n, seed, epoch)."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from fastoptim import _core, checks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import NoReturn, SupportsIndex, TypeAlias

    from numpy.typing import NDArray

    Index: TypeAlias = int | np.integer[Any]
    Indices: TypeAlias = (NDArray[np.integer[Any]] | Sequence[SupportsIndex] |
                          Sequence[Sequence[SupportsIndex]])

__all__ = ["Permutation"]

MAX_ROWS = _core.Permutation.max_rows
ITERATION_BLOCK = 4096  # rows made at a time: 32 KiB, nothing beside the loop that takes them


def split_seed(seed: int) -> tuple[int, _core.Seed]:
    """Return the seed, checked, and as the core takes it."""
    seed = checks.integer("seed", seed, low=0, high=(1 << 128) - 1)
    return seed, _core.Seed(seed & (1 << 64) - 1, seed >> 64)


def check_epoch(epoch: int) -> int:
    """Return the epoch as an int in [0, 2**64); TypeError or ValueError otherwise."""
    return checks.integer("epoch", epoch, low=0, high=(1 << 64) - 1)


class Fixed:
    """An object whose public attributes can be read but not set, which a message says."""

    __slots__ = ()
    _instead: dict[str, str] = {}  # attribute, or "" for any -> what to do

    if not TYPE_CHECKING:  # a type checker would take every attribute for one that is there

        def __setattr__(self, name: str, value: object) -> None:
            try:
                super().__setattr__(name, value)
            except AttributeError:
                raise AttributeError(self._refusal(name)) from None

        def __delattr__(self, name: str) -> None:
            try:
                super().__delattr__(name)
            except AttributeError:
                raise AttributeError(self._refusal(name)) from None

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(self._unknown(name))

    def _refusal(self, name: str) -> str:
        """Return the message for an attribute that cannot be set."""
        if not hasattr(type(self), name):
            return self._unknown(name)
        instead = self._instead.get(name, self._instead[""])
        return f"{name} can be read but not set: {instead}"

    def _unknown(self, name: str) -> str:
        """Return the message for an attribute that there is not."""
        known = [public for public in dir(type(self)) if not public.startswith("_")]
        return (f"{type(self).__name__} has no attribute {name!r}"
                f"{checks.suggestion(name, known)}")


class Permutation(Fixed):
    """The rows 0 .. n-1 in the order of one epoch, each in O(1) time and memory.

    ``p[k]`` is the row at position k of the order named perm-v1. It is a
    function of (n, seed, epoch) that is frozen: the same on every platform,
    instruction set and number of threads and in every release.
    docs/permutation.md defines it.

    Index it with an integer, which gives an int, or with a slice or an array
    of integers of any shape, which give an int64 array; negative positions
    count from the end. Iteration makes the order in blocks.

    Parameters
    ----------
    n : int
        Number of rows, from 0 to ``2**48``.
    seed : int, default 0
        From 0 to ``2**128 - 1``.
    epoch : int, default 0
        From 0 to ``2**64 - 1``; hashed together with `n` and `seed`.

    Raises
    ------
    TypeError
        If `n`, `seed`, `epoch` or a position is not an integer.
    ValueError
        If `n`, `seed` or `epoch` is out of range.
    IndexError
        If a position is out of range.

    See Also
    --------
    MiniBatches : Batches of arrays in that order.
    shuffle_ : Puts arrays into that order, in place.

    Notes
    -----
    Up to 65536 rows it is the shuffle of Fisher and Yates [1]_ with the bounds
    of Lemire [2]_. Above, it is a Feistel network of 8 rounds [3]_ with the
    cycle walking of Black and Rogaway [4]_.

    References
    ----------
    .. [1] R. A. Fisher and F. Yates, "Statistical tables for biological,
       agricultural and medical research", 1938.
    .. [2] D. Lemire, "Fast random integer generation in an interval", 2019.
    .. [3] M. Luby and C. Rackoff, "How to construct pseudorandom permutations
       from pseudorandom functions", 1988.
    .. [4] J. Black and P. Rogaway, "Ciphers with arbitrary finite domains",
       2002.

    Examples
    --------
    >>> import fastoptim as fo
    >>> p = fo.Permutation(10, seed=1)
    >>> p[:].tolist()
    [6, 0, 9, 3, 7, 2, 4, 8, 5, 1]
    >>> p.index_of(p[3])
    3
    >>> fo.Permutation(10**12)[10**12 - 1]
    635810082401
    """

    __slots__ = ("_core", "_epoch", "_n", "_seed")
    _instead = {"": "make a new Permutation(n, seed, epoch)"}

    def __init__(self, n: int, seed: int = 0, epoch: int = 0) -> None:
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
        """The seed of the order."""
        return self._seed

    @property
    def epoch(self) -> int:
        """The epoch whose order it is."""
        return self._epoch

    def __len__(self) -> int:
        return self._n

    def __repr__(self) -> str:
        return f"Permutation(n={self._n}, seed={self._seed}, epoch={self._epoch})"

    def __reduce__(self) -> tuple[type[Permutation], tuple[int, int, int]]:
        return Permutation, (self._n, self._seed, self._epoch)

    @overload
    def __getitem__(self, position: slice | Indices) -> NDArray[np.int64]: ...

    @overload
    def __getitem__(self, position: Index) -> int: ...

    def __getitem__(self, position: slice | Indices | Index) -> NDArray[np.int64] | int:
        if isinstance(position, slice):
            start, stop, step = position.indices(self._n)
            if step == 1:
                return self._core.rows(start, max(stop - start, 0))
            return self._core.rows_at(np.arange(start, stop, step, dtype=np.int64))
        if _is_index(position):
            return self._core.row_at(self._scalar(position, "position"))
        positions, shape = self._array(position, "positions")
        return self._core.rows_at(positions).reshape(shape)

    def __iter__(self) -> Iterator[int]:
        for block in self.blocks(ITERATION_BLOCK):
            yield from block.tolist()

    def blocks(self, size: int = 65536) -> Iterator[NDArray[np.int64]]:
        """Yield the order as consecutive arrays of rows.

        Parameters
        ----------
        size : int, default 65536
            Rows in an array, at least 1. The last one may be shorter.

        Returns
        -------
        iterator of arrays
            int64 arrays of shape (size,).

        Raises
        ------
        TypeError
            If `size` is not an integer.
        ValueError
            If `size` is below 1.

        Examples
        --------
        >>> import fastoptim as fo
        >>> [len(block) for block in fo.Permutation(10).blocks(4)]
        [4, 4, 2]
        """
        size = checks.integer("size", size, low=1)
        return (self[start : start + size] for start in range(0, self._n, size))

    @overload
    def index_of(self, row: Indices) -> NDArray[np.int64]: ...

    @overload
    def index_of(self, row: Index) -> int: ...

    def index_of(self, row: Indices | Index) -> NDArray[np.int64] | int:
        """Return the position of a row, or of each of an array of rows.

        It is the inverse of indexing, but for negative numbers, which no row
        has.

        Parameters
        ----------
        row : int or array of int
            Rows, from 0 to ``n - 1``; an array of any shape.

        Returns
        -------
        int or array
            The position, or an int64 array of the shape of `row`.

        Raises
        ------
        TypeError
            If `row` is not of integers.
        IndexError
            If a row is out of range.

        Examples
        --------
        >>> import fastoptim as fo
        >>> p = fo.Permutation(10**9, seed=7)
        >>> p.index_of(p[[5, 6]]).tolist()
        [5, 6]
        """
        if _is_index(row):
            return self._core.position_of(self._scalar(row, "row", low=0))
        rows, shape = self._array(row, "rows", low=0)
        return self._core.positions_of(rows).reshape(shape)

    def _scalar(self, value: Any, name: str, low: int | None = None) -> int:
        """Return an index, counted from the front; IndexError if it is out of [low, n)."""
        number = operator.index(value)
        low = -self._n if low is None else low
        if not low <= number < self._n:
            raise IndexError(f"{name} must be in [{low}, {self._n}), got {number}")
        return number + self._n if number < 0 else number

    def _array(self, values: Any, name: str, low: int | None = None) -> tuple[
            NDArray[np.int64], tuple[int, ...]]:
        """Return a flat int64 copy, which the core checks, and the shape of the values.

        Copied before anything is checked: another thread may be writing to the caller's array.
        """
        values = np.array(values, order="C", subok=False)
        if values.size == 0 and values.dtype == float:
            values = values.astype(np.int64)  # np.array([]) is of float64
        if values.dtype.kind not in "iu":
            raise TypeError(f"{name} must be integers, got dtype {values.dtype}")
        if values.dtype == np.uint64 and values.size and (worst := int(values.max())) >= self._n:
            low = -self._n if low is None else low  # as an int64 it could be below 0
            raise IndexError(f"{name} must be in [{low}, {self._n}), got {worst}")
        return values.astype(np.int64, copy=False).ravel(), values.shape


def _is_index(value: Any) -> bool:
    """Return whether `value` is one integer, of Python or NumPy, or an array without axes."""
    return hasattr(value, "__index__") and np.ndim(value) == 0 and not isinstance(value, bool)
